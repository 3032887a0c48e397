"""Layers that take each number by itself, or all of an axis: activations, softmax, dropout."""
