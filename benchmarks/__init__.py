"""How fast pyvae is, beside the loops that a user would write and the machine's own limits.

`make benchmark`, or `python -m benchmarks [--quick]` in the project's folder.
"""
