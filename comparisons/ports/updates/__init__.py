"""What an optimiser did that it should not have: which of its usual mistakes explains an update."""
