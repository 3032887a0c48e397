"""Figures, drawn from arrays or traces."""
