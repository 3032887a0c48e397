from __future__ import annotations

import pytest
from recorded.ported import Program


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Records two programs into the folders `python` and `r` of the working directory."""
    monkeypatch.chdir(tmp_path)

    def record(a: Program, b: Program) -> tuple[str, str]:
        a.record(tmp_path / "python")
        b.record(tmp_path / "r")
        return "python", "r"

    return record
