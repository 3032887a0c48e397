"""What R torch and Keras compute otherwise than PyTorch."""
