"""Loads images and points to train on."""
