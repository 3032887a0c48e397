"""Stages derived from a network: its layers, their order, and what each takes."""
