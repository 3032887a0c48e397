"""docs/explanation/planted-mistakes.md: two tests write a section each, and hold the code to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "planted-mistakes.md"
THE_LAYER = "*the layer*"
IN_PLACE = f" where it is {THE_LAYER}"
UPDATED = bool(os.environ.get("PYVAE_UPDATE_DOCS"))


def section(heading: str) -> str:
    """The text of the page's section with a heading."""
    return _parts(heading)[1]


def write_section(heading: str, text: str) -> None:
    before, _, after = _parts(heading)
    PAGE.write_text(before + text + after)


def table_of_rooms(rooms: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> str:
    """A list of contents, and a table for each kind of layers: what the mistakes are, those that
    differ in the layer's own name or in a number alone as one, and of which layers.

    Arguments:
        rooms: For each the title, and its mistakes: words and the layer.
    """
    contents, tables = "", ""
    for title, mistakes in rooms:
        layers: dict[str, dict[str, None]] = {}
        others: dict[str, None] = {}  # that stand in a layer's place
        for words, layer in mistakes:
            kind = _kind(words, layer)
            if kind.endswith(IN_PLACE):
                others[kind.removesuffix(IN_PLACE).rstrip(",")] = None
                kind = IN_PLACE
            layers.setdefault(kind, {})[layer] = None
        names = "; ".join(one for one in others if THE_LAYER not in one)
        layers = {kind if kind != IN_PLACE else names + kind: of for kind, of in layers.items()}
        contents += f"- [{title}](#{_anchor(title)}): {len(layers)} kinds\n"
        tables += f"\n### {title}\n\n| mistake | layers |\n|---|---|\n"
        for kind, of in layers.items():
            tables += f"| {kind} | {', '.join(sorted(of))} |\n"
    return f"\n{contents}{tables}"


def _kind(words: str, layer: str) -> str:
    """What a mistake is, whatever the layer and the numbers."""
    words = re.sub(r"^(\w+) = .* where it is .*", r"another `\1`", words)
    words = re.sub(rf"(?<!\w){re.escape(layer)}(?!\w)", THE_LAYER, words)
    return re.sub(r"\b\d+(\.\d+)?e-\d+\b", "*c*", words)


def _anchor(title: str) -> str:
    """The address of a heading within the page."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _parts(heading: str) -> tuple[str, str, str]:
    """What stands before a section, the section, and what stands after it."""
    text = PAGE.read_text()
    start = text.index(f"## {heading}\n")
    end = text.find("\n## ", start)
    end = len(text) if end < 0 else end + 1
    return text[:start], text[start:end], text[end:]
