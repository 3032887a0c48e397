"""The R package's vignettes are kept with their results: what is kept belongs to its source.

`make vignettes` writes both files again.
"""

from __future__ import annotations

import html
import re
import subprocess

import pytest
from processes.r_package import PACKAGE, r_with_the_package

FOLDER = PACKAGE / "vignettes"
NAMES = sorted(path.name.removesuffix(".Rmd.orig") for path in FOLDER.glob("*.Rmd.orig"))
CHUNK = re.compile(r"^```\{(\w+)(.*?)\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # no language: printed
FIGURE = re.compile(r"^<img .*$", re.MULTILINE)
COMPUTED = re.compile(r"`r [^`]+`")  # within a line
LARGEST = 80_000  # bytes of a figure


def of_source(text: str) -> list[str]:
    """The lines of a source that a reader sees: its prose, and the code that is shown."""

    def shown(chunk: re.Match[str]) -> str:
        hidden = re.search(r"(?:include|echo) *= *FALSE", chunk[2])
        return "" if hidden else chunk[3]

    return [line for line in CHUNK.sub(shown, text).splitlines() if line.strip()]


def of_page(text: str) -> list[str]:
    """The lines of a page that are not results."""
    text = FIGURE.sub("", BLOCK.sub(lambda block: block[2] if block[1] else "", text))
    return [line for line in text.splitlines() if line.strip()]


def differing(source: str, page: str) -> str:
    """The first line in which a page is not that of its source; empty if there is none."""
    expected, found = of_source(source), of_page(page)
    for line, one in zip(expected, found, strict=False):
        pattern = ".+".join(map(re.escape, COMPUTED.split(line)))
        if not re.fullmatch(pattern, one):
            return line
    longer = max(expected, found, key=len)
    return "" if len(expected) == len(found) else longer[min(len(expected), len(found))]


def text_of(page: str) -> str:
    """What an HTML page shows, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.partition("<body")[2]))


@pytest.mark.parametrize("name", NAMES)
def test_a_vignette_is_that_of_its_source(name):
    page = (FOLDER / f"{name}.Rmd").read_text()
    source = (FOLDER / f"{name}.Rmd.orig").read_text()
    assert differing(source, page) == "", f"make vignettes: {name}.Rmd is older than its source"
    figures = re.findall(r"[\w-]+\.png", page)
    assert sorted(figures) == sorted(path.name for path in FOLDER.glob(f"{name}-*.png"))
    assert all((FOLDER / figure).stat().st_size < LARGEST for figure in figures)

    installed = (PACKAGE / "inst" / "doc" / f"{name}.html").read_text()
    assert installed.count("<img") == len(figures)
    seen = text_of(installed)
    for _, block in BLOCK.findall(page):
        assert block.rstrip() in seen, f"make vignettes: {name}.html is older than {name}.Rmd"


def test_an_older_vignette_is_seen():
    source = (
        "# Title\n\n```{r a, include = FALSE}\nhidden\n```\n\nIn `r n` steps.\n\n"
        "```{r b}\nx <- 1\nx\n```\n\nAnd on.\n"
    )
    page = (
        "# Title\n\n\n\nIn 2,100 steps.\n\n\n```r\nx <- 1\nx\n```\n\n```\n[1] 1\n```\n\nAnd on.\n"
    )
    assert differing(source, page) == ""
    assert differing(source, page.replace("x <- 1", "x <- 2")) == "x <- 1"
    assert differing(source + "\nMore.\n", page) == "More."
    assert differing(source, page + "\nLeft over.\n") == "Left over."


def test_what_the_vignettes_show():
    pages = {name: (FOLDER / f"{name}.Rmd").read_text() for name in NAMES}
    assert list(pages) == ["check-your-code", "pyvae"]
    article, own = pages["pyvae"], pages["check-your-code"]
    assert re.findall(r"^ +(\w+) +loss ", article, re.MULTILINE) == ["vae", "emae"]
    assert article.count(".png") == 5
    assert "verdict: agree" in article
    assert "looks like: r: its derivative 1 - y, not 1 - y^2" in own
    assert own.count("verdict: agree") == 1
    assert "Error" not in article + own


@pytest.mark.r
@pytest.mark.slow
def test_vignettes_are_installed_with_the_package(tmp_path):
    """By the line of README, `R CMD INSTALL r_bridge/rpackage`."""
    environment = r_with_the_package(tmp_path, docs=True)
    shown = (
        "found <- vignette(package = 'pyvae')$results; cat(sprintf('%s: %s\\n', found[, 'Item'], "
        "found[, 'Title']), sep = ''); for (name in found[, 'Item']) { page <- vignette(name, "
        "package = 'pyvae'); cat(file.exists(file.path(page$Dir, 'doc', page$PDF)), '\\n') }"
    )
    done = subprocess.run(
        ["Rscript", "-e", shown], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(line.strip() for line in done.stdout.splitlines())
    assert [line for line in lines if line != "TRUE"] == [
        "check-your-code: Check your own R code (source, html)",
        "pyvae: The article: VAE and EMAE from R (source, html)",
    ]
    assert lines.count("TRUE") == 2
