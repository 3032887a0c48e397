"""Layers that act on the pixels of an image, and functions that lay out elements another way."""
