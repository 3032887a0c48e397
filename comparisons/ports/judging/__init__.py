"""How far two sides of a step agree, quantity by quantity, and what explains a difference."""
