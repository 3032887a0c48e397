"""What every side of a benchmark is given: a recipe with its settings, and images."""
