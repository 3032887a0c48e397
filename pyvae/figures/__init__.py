"""Every figure, drawn from arrays or traces."""
