from __future__ import annotations

from functools import cache

import pytest
from recorded.teachers import Learning

from comparisons.ports import compare_programs


@pytest.fixture(scope="session")
def paper(tmp_path_factory):
    """The programs that others are held against, each recorded once."""
    folder = tmp_path_factory.mktemp("papers")

    @cache
    def record(**about):
        name = "-".join(f"{key}-{value}" for key, value in about.items()) or "paper"
        return Learning(**about).record(str(folder / name.replace("/", "_")))

    return record


@pytest.fixture
def compared(paper, tmp_path, monkeypatch):
    """Compares a program with the paper's, which is the same but for what it is given."""
    monkeypatch.chdir(tmp_path)

    def compare(port, reverse=False, **about):
        (tmp_path / "paper").unlink(missing_ok=True)
        (tmp_path / "paper").symlink_to(paper(**about))
        pair = "paper", port.record("port")
        return compare_programs(*(pair[::-1] if reverse else pair))

    return compare
