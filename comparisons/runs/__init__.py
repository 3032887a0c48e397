"""Two engines through the same run."""
