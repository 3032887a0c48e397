"""One name for pip and one version, wherever they are written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pyvae.version import DISTRIBUTION, __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "r_bridge" / "rpackage"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def found(pattern: str, path: Path) -> str:
    match = re.search(pattern, path.read_text(), re.MULTILINE)
    assert match, f"{path} has no {pattern}"
    return match[1]


def test_every_file_names_the_same_version():
    written = {
        "installed": __version__,
        "R package": found(r"^Version: (.*)$", PACKAGE / "DESCRIPTION"),
        "R package's news": found(r"^# pyvae (\S+)$", PACKAGE / "NEWS.md"),
        "citation": found(r'is.null\(meta\$Version\)\) "(.*?)"', PACKAGE / "inst" / "CITATION"),
        "changelog": found(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", ROOT / "CHANGELOG.md"),
    }
    assert written == dict.fromkeys(written, PROJECT["version"])


def test_every_file_names_the_same_distribution():
    assert PROJECT["name"] == DISTRIBUTION
    assert found(r'^python_package <- "(.*?)"', PACKAGE / "R" / "install.R") == DISTRIBUTION
    for path in (PACKAGE / "DESCRIPTION", ROOT / "README.md"):
        assert DISTRIBUTION in path.read_text(), path
