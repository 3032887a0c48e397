"""Which options a user gave, and how they are written."""

from __future__ import annotations

import typer

__all__ = ["option", "was_given"]


def was_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter of the command stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def option(name: str) -> str:
    """A parameter as a user writes it.

    Example:
        >>> option("batch_size"), option("set_")
        ('--batch-size', '--set')
    """
    return "--" + name.strip("_").replace("_", "-")
