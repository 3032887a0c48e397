"""Who computes a step: PyTorch here, others by entry point."""
