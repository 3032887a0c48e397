"""A run and its folder: training, keeping, going on, repeating, verifying."""
