"""The two sides of one step, stage by stage."""
