"""Which options were given."""

from __future__ import annotations

import typer

__all__ = []


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")
