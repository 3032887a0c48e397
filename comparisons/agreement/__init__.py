"""How far two arrays may differ."""
