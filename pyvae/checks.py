"""One line of pyvae doctor, which other packages can add to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """One line of the screen.

    Attributes:
        name: What was looked for.
        found: What was found.
        remedy: What to do, if something is missing.
        needed: Whether pyvae cannot do its main job without it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False
