"""Layers point one way: pyvae <- r_bridge <- comparisons."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "pyvae": {"pyvae"},
    "r_bridge": {"pyvae", "r_bridge"},
    "comparisons": {"pyvae", "r_bridge", "comparisons"},
}


def imports(source: Path) -> set[str]:
    """The packages that a file imports, at the top or within functions."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_layer_looks_up(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert imports(file) & set(MAY_IMPORT) <= MAY_IMPORT[package], file


def test_only_the_r_process_imports_rpy2():
    for package in MAY_IMPORT:
        for file in (ROOT / package).rglob("*.py"):
            if file.name not in {"process.py", "conversion.py"}:
                assert "rpy2" not in imports(file), file
