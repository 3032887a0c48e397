"""Comparing two programs of a user's own, from what each recorded while it trained."""
