"""The network of a comparison: its stages in the order of computation, and where they differ."""
