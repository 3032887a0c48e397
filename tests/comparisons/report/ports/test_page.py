"""The page of a comparison of two recorded programs."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded.ported import Classifier, Program, rewrite

from comparisons.ports import compare_programs
from comparisons.report.network.render import SCRIPT, script_hash
from comparisons.report.ports.page import write_page

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


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("two"))
        Program().record(Path("python"))
        Program(network=lambda: Classifier(relu=False)).record(Path("r"))
        rewrite(Path("r"), lambda name: name.replace("hidden", "dense<b>"))
        yield compare_programs("python", "r")


@pytest.fixture(scope="module")
def page(parted, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(parted, path, "pyvae compare python r --report")
    return path.read_text()


@pytest.mark.slow
def test_it_stands_alone_and_says_what_was_found(page):
    checked = Checked()
    checked.feed(page)
    assert not checked.open
    assert all(one.startswith(("data:", "#n1-")) for one in checked.loaded)
    assert "They part first at step 1, second (conv2d), forward." in page
    assert "only python has act (relu) between norm and second" in page
    assert "dense&lt;b&gt;.weight" in page
    assert "<b>.weight" not in page
    pictures = re.findall('data:image/png;base64,([^"]+)', page)
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
    assert page.count("<img ") == 2
    assert page.count("<image ") > 2


def test_nothing_runs_but_the_script_of_the_page(page):
    assert re.findall("<script>(.*?)</script>", page, re.DOTALL) == [SCRIPT]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert script_hash() == f"sha256-{digest}"
    assert f"script-src '{script_hash()}'" in page
    assert "default-src 'none'" in page


def test_every_stage_has_a_box_and_its_numbers(parted, page):
    boxes = re.findall('<a class="box [^"]*" href="#([^"]+)"', page)
    assert re.findall('<div class="stage[^"]*" id="([^"]+)"', page) == boxes
    keys = {one.quantity.key for one in parted.judged if one.step == 1}
    for key in keys:
        assert f"<code>{html.escape(key)}</code>" in page
    assert page.count("box s-first") == 1
    assert page.count("box s-only") == 1


def test_without_pictures_it_says_the_same(parted, tmp_path, monkeypatch, capsys):
    def broken(found):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("comparisons.report.ports.page.differences_figure", broken)
    write_page(parted, tmp_path / "report.html", "pyvae compare")
    assert "They part first at" in (tmp_path / "report.html").read_text()
    assert "the report is without pictures" in capsys.readouterr().err
