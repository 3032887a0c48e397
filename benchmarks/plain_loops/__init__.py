"""The loops that a user would write, in PyTorch and in R's torch: what pyvae is held against."""
