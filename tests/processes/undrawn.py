"""Figures that are made and not drawn: to draw them takes longer than most runs of tests."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import IO, Any

from matplotlib.figure import Figure

__all__ = ["UNDRAWN", "leave_undrawn", "save_a_pixel"]

UNDRAWN = {"PYVAE_TESTS_UNDRAWN": "1"}  # of the environment of a program (tests/processes/warm.py)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def save_a_pixel(figure: Figure, file: str | Path | IO[bytes], **options: Any) -> None:
    """Stands for `Figure.savefig`."""
    if isinstance(file, str | Path):
        Path(file).write_bytes(PIXEL)
    else:
        file.write(PIXEL)


def leave_undrawn() -> None:
    """Draws no figure from now on in this process."""
    Figure.savefig = save_a_pixel  # type: ignore[method-assign]
