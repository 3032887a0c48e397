"""The sides that are measured, each in a process of its own, and how they take turns."""
