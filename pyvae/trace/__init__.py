"""Traces: what happened in a run, saved to be compared later."""
