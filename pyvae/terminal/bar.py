"""A bar on a terminal, with a line below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import RenderableType
from rich.progress import Progress, ProgressColumn
from rich.text import Text

__all__ = ["Bar", "nothing"]


def nothing() -> str:
    """No line."""
    return ""


class Bar(Progress):
    """Bars, and below them a line of text that is asked for each time they are drawn.

    Arguments:
        columns, options: As for `rich.progress.Progress`.
        below: Gives the line; empty: none.
    """

    def __init__(
        self, *columns: ProgressColumn, below: Callable[[], str] = nothing, **options: Any
    ) -> None:
        self._below = below  # before the first drawing
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        line = "" if self.disable else self._below()
        if line:
            yield Text(line, overflow="ellipsis", no_wrap=True)
