"""Comparing runs of two engines: agreement, figures, the `compare` command."""
