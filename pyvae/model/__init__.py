"""The parts that networks and objectives are made of."""
