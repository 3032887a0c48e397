"""What a recorded stage or update should have returned, in float64, from its own declaration."""
