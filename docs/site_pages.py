"""What the site has beside docs/: README as its front page, CONTRIBUTING, CHANGELOG, and files that
a page links to, such as a source file. MkDocs calls the functions `on_...` (mkdocs.yml)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from site_notebooks import notebook_page

ROOT = Path(__file__).parents[1]
PAGES = {  # of the repository's folder: what they are in docs/
    "README.md": "docs/index.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "CHANGELOG.md": "docs/changelog.md",
}
CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
CELL = re.compile(r"(?<=<td>)[^<]+(?=</td>)")
NUMBER = re.compile(r"[\d.]+e[-+]?\d+")
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that stand outside of docs/, and the files that any page links to."""
    texts = {page.src_uri: page.content_string for page in files.documentation_pages()}
    named = {path for uri, text in texts.items() for path in _linked(text, _folder(f"docs/{uri}"))}
    for name, place in PAGES.items():
        text = (ROOT / name).read_text()
        named |= set(_linked(text, ""))
        text = _relinked(text, "", _folder(place))
        files.append(File.generated(config, place.removeprefix("docs/"), content=text))
    notebooks = {path: _notebook(path) for path in named if path.endswith(".ipynb")}
    for path, text in notebooks.items():
        named |= set(_linked(text, _folder(path)))
    for path in sorted(named):
        place = _place(path)
        if place != path and path not in PAGES:
            if path in notebooks:
                text = _relinked(notebooks[path], _folder(path), _folder(place))
            else:
                text = (ROOT / path).read_text()
            files.append(File.generated(config, place.removeprefix("docs/"), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links that leave docs/ to the copies of what they name."""
    place = f"docs/{page.file.src_uri}"
    if place in PAGES.values() or place.startswith("docs/source/"):
        return markdown
    return _relinked(markdown, _folder(place), _folder(place))


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Keeps a browser from breaking the numbers of a table, 1e-12, behind their hyphen."""
    return CELL.sub(lambda cell: NUMBER.sub(r'<span class="number">\g<0></span>', cell[0]), html)


def _place(path: str) -> str:
    """Where the site has a file of the repository; notebooks as pages, sources as text that a
    browser shows."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path
    if path.endswith(".ipynb"):
        return f"docs/source/{path.removesuffix('.ipynb')}.md"
    return f"docs/source/{path}.txt"


def _notebook(path: str) -> str:
    return notebook_page((ROOT / path).read_text())


def _folder(path: str) -> str:
    return posixpath.dirname(path)


def _target(link: str, folder: str) -> str:
    """The file that a relative link names; empty for an anchor of the page and another site."""
    path = link.partition("#")[0]
    if not path or re.match(r"\w+:", path):
        return ""
    return posixpath.normpath(posixpath.join(folder, path))


def _linked(text: str, folder: str) -> Iterator[str]:
    """The files that a page links to."""
    for part in CODE.split(text)[::2]:
        for _, link, _ in LINK.findall(part):
            if target := _target(link, folder):
                yield target


def _relinked(text: str, folder: str, place: str) -> str:
    """A page's text whose links lead from `place` to where the site has what they name."""

    def change(found: re.Match[str]) -> str:
        target = _target(found[2], folder)
        if not target:
            return found[0]
        anchor = "".join(found[2].partition("#")[1:])
        return f"{found[1]}{posixpath.relpath(_place(target), place or '.')}{anchor}{found[3]}"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(change, part) for part in parts[::2]]
    return "".join(parts)
