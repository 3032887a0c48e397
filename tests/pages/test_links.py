"""No link of a page leads nowhere, and no name of a page in code and messages is stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages.pages import DOCS, README, ROOT, anchors, every_page, links


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_what_leads_nowhere_is_seen(tmp_path):
    (tmp_path / "there.md").write_text("# A `head`, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n[a](there.md#a-head-here) [b](there.md#other) [c](#page) [d](gone.md)\n"
        "[e](https://example.org/x)\n\n| ![f](gone.png) |\n|---|\n\n```\n[g](gone.md)\n```\n"
    )
    assert broken(page) == ["there.md#other", "gone.md", "gone.png"]


@pytest.mark.slow
def test_every_page_is_found_from_the_readme():
    seen, new = set(), {README}
    while new:
        page = new.pop()
        seen.add(page)
        targets = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
        new |= {one for one in targets if one.suffix == ".md" and one.exists()} - seen
    assert set(DOCS.rglob("*.md")) <= seen


def test_pages_that_code_and_messages_name_are_there():
    named = set()
    for folder in ("pyvae", "comparisons", "r_bridge", "tests"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".R", ".Rd", ".j2"):
                named |= set(re.findall(r"docs/[a-z/-]+\.md", file.read_text()))
    assert "docs/how-to/write-a-recipe.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
