"""A console that is safe for text from files of other people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pyvae.errors import printable

__all__ = ["Terminal", "progress_console"]


class Terminal(Console):
    """A console that prints text literally.

    It has no markup, and writes control characters out (`\\x1b`) instead of obeying them: a name in
    a file from elsewhere may hold some. A string is one line.

    Arguments:
        progress: Whether the progress of what takes long is shown on it, beside results.
        options: Options of `rich.console.Console`.
    """

    def __init__(self, progress: bool = True, **options: Any) -> None:
        self.progress = progress
        super().__init__(**{"markup": False, "highlight": False} | options)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                shown = "\n".join(printable(line) for line in text.split("\n"))
                yield Segment(shown, segment.style)

    def on_broken_pipe(self) -> None:
        """Raises the error: Rich would exit with code 1, which is a verdict."""
        raise


def progress_console(console: Console) -> Console:
    """The console for progress: the same one, or one that shows nothing, if none is wanted."""
    return console if getattr(console, "progress", True) else Terminal(quiet=True)
