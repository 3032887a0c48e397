"""What one side alone has: stages, and what it does to parameters."""
