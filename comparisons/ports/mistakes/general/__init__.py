"""Mistakes of any layer: its options, its parameters."""
