"""A bar with a line below it."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import TextColumn

from pyvae.terminal.bar import Bar


def shown(**options):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=40)
    with Bar(TextColumn("{task.description}"), console=console, **options) as bar:
        bar.add_task("the bar")
    return file.getvalue()


def test_the_line_is_below_the_bar_as_it_is_and_never_longer_than_the_terminal():
    text = shown(below=lambda: "all [red]runs[/red], " + 40 * "x")
    assert "the bar\nall [red]runs[/red], x" in text
    assert "…" in text
    assert 20 * "x" not in text


def test_without_a_line_there_is_the_bar_alone():
    assert shown() == shown(below=lambda: "")
