"""Comparing two traces that were saved before."""
