from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd

from pyvae.files.html import notebook_html

EVIL = "<script>alert(1)</script> & \x1b[2J $x$ \"'"


class Seen(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_text_from_elsewhere_stays_text():
    page = notebook_html(EVIL, [EVIL], pd.DataFrame({EVIL: [EVIL, "b"], "n": [0.1234567, 2]}))
    seen = Seen(page)
    assert set(seen.tags) == {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert seen.text.count("<script>alert(1)</script> & ") == 4
    assert seen.text.count("\\x1b[2J") == 4
    assert "0.12346" in seen.text
    assert "mathjax_ignore" in page.splitlines()[0]  # a dollar sign is no mathematics


def test_of_a_long_table_the_first_rows_are_shown_and_the_others_counted():
    seen = Seen(notebook_html("t", ["", "a line"], pd.DataFrame({"n": range(1000, 1015)})))
    assert [number for number in range(1000, 1015) if str(number) in seen.text] == [
        *range(1000, 1012)
    ]
    assert "and 3 more rows" in seen.text
    assert seen.tags.count("p") == 3  # the title, one line, and what is left out


def test_without_a_table_there_is_none():
    for table in (None, pd.DataFrame()):
        assert Seen(notebook_html("t", table=table)).tags == ["div", "p", "b"]
