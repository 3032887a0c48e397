"""Layers with weights: linear and convolutions."""
