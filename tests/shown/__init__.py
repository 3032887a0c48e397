"""What is shown of a run or a comparison, made by hand, and whether it can be read."""
