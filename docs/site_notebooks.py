"""Notebooks as pages of the site: their text, their code, and what is kept of its output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["notebook_page"]


def notebook_page(text: str) -> str:
    """The Markdown of a notebook, given the text of its file."""
    parts: list[str] = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            parts += _shown(output)
    return "\n\n".join(parts) + "\n"


def _shown(output: Any) -> Iterator[str]:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"].split())
        yield f"![figure](data:image/png;base64,{picture})"
    elif text := "".join(output.get("text", data.get("text/plain", []))):
        yield f"```text\n{text.rstrip()}\n```"
