"""Whether two runs, or what is kept of them, are the same or close."""
