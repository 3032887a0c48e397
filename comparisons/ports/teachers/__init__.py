"""Networks that are used and not trained: which belong together, and how they follow the model."""
