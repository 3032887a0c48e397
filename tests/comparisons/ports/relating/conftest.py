from __future__ import annotations

import pytest

from comparisons.ports import compare_programs


@pytest.fixture
def parted(tmp_path, monkeypatch):
    """Records two programs as `python` and `r`, and returns the words of where they part."""
    monkeypatch.chdir(tmp_path)

    def record(a, b) -> tuple[str, ...]:
        a.record(tmp_path / "python")
        b.record(tmp_path / "r")
        found = compare_programs("python", "r").first
        return () if found is None else found.words

    return record
