"""The page of a comparison of two recorded programs."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ported import Classifier, Program, rewrite

from comparisons.ports import compare_programs
from comparisons.report.ports.page import strips, write_page

VOID = {"meta", "link", "br", "img"}


class Checked(HTMLParser):
    """Tags that are closed in the order in which they were opened, and what is loaded."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded = [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [v for k, v in attributes if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def parted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Program().record(Path("python"))
    Program(network=lambda: Classifier(relu=False)).record(Path("r"))
    rewrite(Path("r"), lambda name: name.replace("hidden", "dense<b>"))
    return compare_programs("python", "r")


def test_it_stands_alone_and_says_what_was_found(parted):
    write_page(parted, Path("report.html"), "pyvae compare python r --report")
    page = Path("report.html").read_text()
    checked = Checked()
    checked.feed(page)
    assert not checked.open
    assert all(one.startswith("data:") for one in checked.loaded)
    assert "They part first at step 1, second (conv2d), forward." in page
    assert "only python has act (relu) between norm and second" in page
    assert "dense&lt;b&gt;.weight" in page
    assert "<b>.weight" not in page
    pictures = re.findall('data:image/png;base64,([^"]+)', page)
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
    assert len(pictures) == 2


def test_every_quantity_has_a_cell(parted):
    cells = [cell for _, parts in strips(parted) for _, cells in parts for cell in cells]
    assert len(cells) == len({one.quantity.key for one in parted.judged})
    (first,) = [cell for cell in cells if cell.first]
    assert first.label == "second"
    parted_keys = {one.quantity.key for one in parted.judged if one.verdict == "parted"}
    assert sum(not cell.agrees for cell in cells) == len(parted_keys)


def test_without_pictures_it_says_the_same(parted, monkeypatch, capsys):
    def broken(found):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("comparisons.report.ports.page.differences_figure", broken)
    write_page(parted, Path("report.html"), "pyvae compare")
    assert "They part first at" in Path("report.html").read_text()
    assert "the report is without pictures" in capsys.readouterr().err
