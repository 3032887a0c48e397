"""Recipes and engines that stand in for the real ones: smaller, waiting, changed or mistaken."""
