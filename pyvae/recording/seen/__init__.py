"""What is seen of a step: values, calls of layers and functions, and their names."""
