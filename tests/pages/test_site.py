"""The site that `make site` builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from pages.pages import DOCS, ROOT

pytestmark = pytest.mark.slow

# what a page would fetch while it is shown; links to other sites are not fetched
FETCHED = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:)?//|<link[^>]*rel=\"?stylesheet[^>]*href=\"?(https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built without a network: every connection would fail."""
    pytest.importorskip("mkdocs", reason="needs the extra docs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    environment = os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_every_page_is_on_the_site(site):
    expected = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert expected <= {page.relative_to(site) for page in site.rglob("*.html")}
    for name in ("index", "contributing", "changelog"):
        assert (site / f"{name}.html").is_file()


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [page.name for page in pages if FETCHED.search(page.read_text())] == []


def test_links_on_the_site_lead_to_its_files(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links start at the root of a server
            continue
        for link in re.findall(r"(?:href|src)=\"?([^\s\">]+)", page.read_text()):
            path = link.partition("#")[0]
            if path and not re.match(r"\w+:", path):
                assert (page.parent / path).exists(), f"{page.relative_to(site)}: {link}"


def test_the_python_reference_has_all_that_is_exported(site):
    import comparisons
    import pyvae

    text = (site / "reference" / "python.html").read_text()
    anchors = set(re.findall(r"id=\"?([\w.]+)", text))
    for package in (pyvae, comparisons):
        for name in package.__all__:
            if name not in ("RECIPES", "__version__"):  # a table that get_recipe reads
                assert f"{package.__name__}.{name}" in anchors


def test_sources_that_pages_link_to_are_there(site):
    text = (site / "source" / "benchmarks" / "plain_loops" / "plain_loop.py.txt").read_text()
    assert text == (ROOT / "benchmarks" / "plain_loops" / "plain_loop.py").read_text()


def test_notebooks_are_pages_with_what_they_print(site):
    page = (site / "source" / "examples" / "own_port.html").read_text()
    assert "its gradient passes as if it were not there" in page
    assert (site / "source" / "examples" / "original.py.txt").is_file()
    figures = (site / "source" / "examples" / "article_figures.html").read_text()
    assert figures.count("data:image/png;base64,") == 4
