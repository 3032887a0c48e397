"""Files as other programs write them: MNIST's, and R's lists of tensors."""
