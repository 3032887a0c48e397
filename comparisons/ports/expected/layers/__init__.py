"""Layers by name, as functions of their inputs, weights and options."""
