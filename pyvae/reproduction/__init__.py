"""Reproduces published write-ups: their runs, their figures, and their claims as numbers."""
