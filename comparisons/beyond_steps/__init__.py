"""What the steps of a run do not show: evaluation mode, free steps, rounding."""
