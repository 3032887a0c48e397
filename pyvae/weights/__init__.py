"""Weights travel: between PyTorch, R's torch and luz, safetensors, and from Keras.

Every file is read as numbers and names. Nothing that it holds is executed.
"""
