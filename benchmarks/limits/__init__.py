"""What the machine can do, and how many operations a training step needs of it."""
