"""Many seeds with independent randomness: equivalence."""
