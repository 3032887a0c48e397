"""The folder that a trace is read from: what is said where there is none."""

from __future__ import annotations

import re

import pytest

from pyvae.errors import UserError
from pyvae.trace.trace_folder import header_of


def test_what_is_missing_is_said(tmp_path):
    folder = tmp_path / "trace"
    said = [f"there is no folder '{folder}'", f"'{folder}' is a file"]
    said.append(f"'{folder}' holds no trace: there is no trace.json in it. Record one.")
    steps = (lambda: None, folder.touch, lambda: (folder.unlink(), folder.mkdir()))
    for words, make in zip(said, steps, strict=True):
        make()
        with pytest.raises(UserError, match=re.escape(words)):
            header_of(folder, "record one")
    (folder / "trace.json").touch()
    assert header_of(folder, "record one") == folder / "trace.json"
