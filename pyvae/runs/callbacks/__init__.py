"""Callbacks that keep a run and end it on a signal."""
