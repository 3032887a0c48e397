"""Records what a PyTorch program of the user's own does while it trains, or uses a network.

It changes no bit of the training, and never ends it. docs/reference/trace-of-a-program.md says
what is written.
"""
