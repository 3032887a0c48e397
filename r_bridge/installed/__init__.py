"""What is installed of R, rpy2 and torch."""
