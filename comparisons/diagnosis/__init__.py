"""Where two runs part, and which mistake it looks like."""
