from __future__ import annotations

import shutil

import pytest
from recorded.trained import Training


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The plain program, which most tests compare with, recorded once for each type of number."""
    return tmp_path_factory.mktemp("known"), {}


@pytest.fixture
def pair(tmp_path, monkeypatch, known):
    """Records two programs into the folders `python` and `r` of the working directory."""
    monkeypatch.chdir(tmp_path)
    root, recorded = known

    def make(program: Training, name: str) -> None:
        if program != Training(dtype=program.dtype):
            program.record(tmp_path / name)
            return
        if program.dtype not in recorded:
            recorded[program.dtype] = root / str(len(recorded))
            program.record(recorded[program.dtype])
        shutil.copytree(recorded[program.dtype], tmp_path / name, dirs_exist_ok=True)

    def record(a: Training, b: Training) -> tuple[str, str]:
        make(a, "python")
        make(b, "r")
        return "python", "r"

    return record
