"""What `pyvae doctor` checks; other packages can add checks of their own."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """One line of `pyvae doctor`.

    Attributes:
        name: What was checked.
        found: What was found.
        remedy: What to do, if something is missing.
        needed: Whether pyvae needs it for its main job.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False
