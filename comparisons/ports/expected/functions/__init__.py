"""Functions between layers by name: operators, reductions, views and indices."""
