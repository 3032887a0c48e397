"""The pages of the documentation: README, CONTRIBUTING, and what stands in docs/."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["DOCS", "README", "ROOT", "anchors", "blocks", "every_page", "links"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"


def every_page() -> list[Path]:
    """All pages that are ours: those that stand on the site, and the R package's own."""
    package = ("r_bridge/rpackage/README.md", "r_bridge/rpackage/NEWS.md")
    others = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *package)
    return [*(ROOT / name for name in others), *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead."""
    found = []
    for block in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for token in block.children or []:
            if target := token.attrGet("href") or token.attrGet("src"):
                found.append(str(target))
    return found


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    for opening, heading in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(one.content for one in heading.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found.add(slug if slug not in found else f"{slug}-1")
    return found
