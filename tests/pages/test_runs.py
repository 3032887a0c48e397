"""What the pages show happens: their scripts run, and their commands print what they say."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from processes.r_package import r_with_the_package

from pages.pages import DOCS, README, ROOT, blocks
from pages.reader import Reader, read_page

PORT = DOCS / "tutorials" / "your-own-port.md"
ALONE = {  # without R: how many commands are run
    "how-to/use-your-own-data": 2,
    "how-to/use-a-trained-run": 5,
    "how-to/use-the-command-line": 2,
    "how-to/verify-a-run": 2,
    "how-to/port-from-keras": 7,
    "how-to/resume-a-run": 4,
    "how-to/write-a-callback": 0,
    "reference/python": 0,
    "reference/settings": 1,
    "reference/messages": 1,
    "tutorials/examples": 0,
}
WITH_R = {
    "tutorials/base-r-network": 6,
    "tutorials/r-article": 6,
    "how-to/compare-two-machines": 3,
    "how-to/start-from-a-trained-state": 2,
    "how-to/use-it-from-python": 0,
    "reference/output-files": 2,
    "reference/recipes": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "commands"), ALONE.items())
def test_a_page_is_right(page, commands, tmp_path, warm):
    reader = Reader(tmp_path, warm, os.environ)
    assert len(read_page(DOCS / f"{page}.md", reader)) == commands


@pytest.mark.r
@pytest.mark.slow
@pytest.mark.parametrize(("page", "commands"), WITH_R.items())
def test_a_page_that_needs_r_is_right(page, commands, tmp_path, warm):
    reader = Reader(tmp_path, warm, os.environ)
    assert len(read_page(DOCS / f"{page}.md", reader)) == commands
    if page == "reference/output-files":
        shown = re.findall(r"^\| `([\w.]+)` \|", (DOCS / f"{page}.md").read_text(), re.MULTILINE)
        of_programs = {"differences.csv", "names.csv"}
        assert len(shown) > 8
        there = {
            *(path.name for path in (tmp_path / "small").iterdir()),
            *(path.name.replace("beta", "OBJECTIVE") for path in (tmp_path / "trained").iterdir()),
        }
        missing = set(shown) - there
        assert missing == of_programs


@pytest.mark.slow
def test_the_port_s_page_is_right_without_r(tmp_path, warm):
    ran = read_page(PORT, Reader(tmp_path, warm, None))
    assert sum(command.startswith("pyvae compare") for command in ran) == 2
    assert (tmp_path / "own" / "trace.json").is_file()


@pytest.mark.r_torch
@pytest.mark.slow
def test_the_port_s_page_is_right_in_both_languages(tmp_path, warm, tmp_path_factory):
    environment = r_with_the_package(tmp_path_factory.mktemp("library"))
    ran = read_page(PORT, Reader(tmp_path, warm, environment))
    assert sum(command.startswith("Rscript") for command in ran) == 4
    assert (tmp_path / "own-r" / "trace.json").is_file()


def test_the_r_package_shows_what_the_readme_does():
    of_r = {text for language, text in blocks(README) if language == "r"}
    package = ROOT / "r_bridge" / "rpackage" / "README.md"
    assert {text for language, text in blocks(package) if language == "r"} == of_r


@pytest.mark.slow
def test_the_readme_s_port_parts_where_it_says(tmp_path, warm):
    """Its three commands, as they can be pasted."""
    (at,) = [i for i, (_, block) in enumerate(blocks(README)) if "pyvae record" in block]
    (_, commands), (_, said) = blocks(README)[at : at + 2]
    activate, *rest = commands.splitlines()
    folder = README.parent / activate.rpartition("cd ")[2]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    reader = Reader(tmp_path, warm, os.environ)
    reader.read("", "\n".join(rest) + "\n", said)
    reader.read("text", said, "")
    assert len(reader.ran) == 3


def test_the_port_s_scripts_are_those_of_its_page():
    page = dict(block.split("\n", 1) for language, block in blocks(PORT) if language in "python r")
    folder = PORT.with_name("port")
    for name in ("train.R", "train.py"):
        assert (folder / name).read_text() == page[f"# {name}"]
    right = page["# train.py"].replace("BatchNorm1d(32)", "BatchNorm1d(32, eps=1e-3)")
    assert (folder / "original.py").read_text() == right


def test_every_tutorial_is_run():
    names = {f"tutorials/{page.stem}" for page in (DOCS / "tutorials").glob("*.md")}
    assert names - {"tutorials/your-own-port"} <= {*ALONE, *WITH_R}
