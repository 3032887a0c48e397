"""docs/explanation/planted-mistakes.md: two tests write a section each, and hold the code to it."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "planted-mistakes.md"
UPDATED = bool(os.environ.get("PYVAE_UPDATE_DOCS"))


def section(heading: str) -> str:
    """The text of the page's section with a heading."""
    return _parts(heading)[1]


def write_section(heading: str, text: str) -> None:
    before, _, after = _parts(heading)
    PAGE.write_text(before + text + after)


def _parts(heading: str) -> tuple[str, str, str]:
    """What stands before a section, the section, and what stands after it."""
    text = PAGE.read_text()
    start = text.index(f"## {heading}\n")
    end = text.find("\n## ", start)
    end = len(text) if end < 0 else end + 1
    return text[:start], text[start:end], text[end:]
