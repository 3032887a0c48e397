"""What Keras declares, as PyTorch would."""
