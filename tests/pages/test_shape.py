"""What a reader may count on: a short README, and an example at the top of every page."""

from __future__ import annotations

import re

import pytest

from pages.pages import DOCS, README

PAGES = sorted(DOCS.rglob("*.md"))
KINDS = {"tutorials", "how-to", "reference", "explanation"}


def test_the_readme_is_a_screen_and_a_half():
    text = README.read_text()
    assert text.count("\n") <= 120
    assert max(map(len, text.splitlines())) <= 120


def test_pages_stand_by_what_a_reader_wants():
    assert {page.relative_to(DOCS).parts[0] for page in PAGES} == KINDS
    assert all(len(page.relative_to(DOCS).parts) == 2 for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_has_one_title_and_an_example_in_its_first_ten_lines(page):
    text = page.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^# .+", prose, re.MULTILINE) == [text.splitlines()[0]]
    if page.name != "planted-mistakes.md":  # a table of examples, whose head is long
        assert any(line.startswith("```") for line in text.splitlines()[:10])
