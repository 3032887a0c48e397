"""The folder of a program's trace: what is removed, and what is refused."""

from __future__ import annotations

import pytest

from pyvae.errors import UserError
from pyvae.trace.program import ProgramStep, ProgramTrace
from pyvae.trace.program_folder import check_new_folder, remove_program


def test_a_trace_is_removed_and_nothing_else(tmp_path):
    trace = ProgramTrace("mine", networks=[()])
    trace.save_step(tmp_path, ProgramStep(1), {})
    trace.save(tmp_path)
    mine = [tmp_path / "notes.txt", tmp_path / "steps" / "step-by-step.txt"]
    for path in mine:
        path.write_text("mine")
    remove_program(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(mine)
    remove_program(tmp_path / "elsewhere")


def test_a_trace_is_replaced_only_if_that_is_asked_for(tmp_path):
    check_new_folder(tmp_path / "new", overwrite=False)
    check_new_folder(tmp_path, overwrite=False)
    ProgramTrace("mine", networks=[()]).save(tmp_path)
    with pytest.raises(UserError, match="holds a trace already"):
        check_new_folder(tmp_path, overwrite=False)
    check_new_folder(tmp_path, overwrite=True)
    (tmp_path / "trace.json").write_text('{"format": 4}')
    with pytest.raises(UserError, match="holds no trace of a program"):
        check_new_folder(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        check_new_folder(tmp_path / "trace.json", overwrite=True)
