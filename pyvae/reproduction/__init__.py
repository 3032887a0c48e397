"""Doing a published write-up again: its runs, its figures, and what it claims as numbers."""
