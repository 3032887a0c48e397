"""A whole step of either side, as a function of its parameters."""
