"""Processes of Python and R that serve many programs, and what the tests tell them."""
