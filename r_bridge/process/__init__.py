"""The R process and what is said to it."""
