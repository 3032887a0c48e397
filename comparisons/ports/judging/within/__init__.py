"""What is within the rule, and yet no rounding."""
