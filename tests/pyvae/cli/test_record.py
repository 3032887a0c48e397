"""`pyvae record`, as it is typed."""

from __future__ import annotations

import pytest

from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
import torch
from torch import nn

model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[2]))
for _ in range(6):
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
print("trained", sys.argv[1:])
sys.exit(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
"""


@pytest.mark.parametrize("dashes", [("--",), ()])
def test_a_script_is_recorded(pyvae, tmp_path, dashes):
    (tmp_path / "train.py").write_text(SCRIPT)
    words = ("record", "--out", "python", "--steps", "2", "--every", "3", *dashes)
    done = pyvae(*words, "train.py", "--lr", "0.5")
    assert (done.returncode, done.stdout) == (0, "trained ['--lr', '0.5']\n")
    assert done.stderr.startswith("pyvae: recording 2 steps of 4 parameters to 'python': about")
    trace = ProgramTrace.load(tmp_path / "python")
    assert [one.step for one in trace.steps] == [1, 4]
    assert trace.steps[0].optimiser.groups[0].settings["lr"] == 0.5
    done = pyvae(*words, "train.py", "--lr", "0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pyvae: folder 'python' holds a trace already. Choose a new folder, or replace the trace "
        "with --overwrite.\n"
    )
    words = ("record", "--quiet", "--out", "other", "--start", "python")
    done = pyvae(*words, "train.py", "--lr", "0.5", "7")
    assert (done.returncode, done.stderr) == (7, "")
    first, other = (ProgramTrace.load(tmp_path / name).arrays(1) for name in ("python", "other"))
    assert (first["start/weight"] == other["start/weight"]).all()


@pytest.mark.parametrize("option", ["--steps", "--every"])
def test_what_is_out_of_range_is_named_as_it_is_typed(command, tmp_path, option):
    (tmp_path / "train.py").write_text(SCRIPT)
    code, _, said = command("record", "--out", "python", option, "0", "train.py")
    assert (code, said) == (2, f"pyvae: {option} 0: expected 1 or more\n")
    assert not (tmp_path / "python").exists()


ENDS = """
import sys
import torch

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    if step == int(sys.argv[1]):
        exec(sys.argv[2])
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("9", ""), 0, "recorded 3 steps to 'python'"),
        (("3", "1 / 0"), 1, "recorded 3 steps to 'python'"),
        (("2", "1 / 0"), 1, "recorded 2 of 3 steps to 'python'"),
        (("1", "sys.exit(7)"), 7, "recorded 1 of 3 steps to 'python'"),
        (("1", "sys.exit()"), 0, "recorded 1 of 3 steps to 'python'"),
        (("2", "raise KeyboardInterrupt"), 130, "recorded 2 of 3 steps to 'python'"),
        (
            ("0", "sys.exit(7)"),
            7,
            "no step was recorded to 'python': 'ends.py' ended before the first step() of its "
            "optimizer",
        ),
    ],
)
def test_how_many_steps_were_recorded_is_said(pyvae, tmp_path, arguments, code, said):
    (tmp_path / "ends.py").write_text(ENDS)
    done = pyvae("record", "--out", "python", "--", "ends.py", *arguments)
    assert done.returncode == code
    lines = [line for line in done.stderr.splitlines() if line.startswith("pyvae: ")]
    assert lines.count(f"pyvae: {said}") == 1
    assert ("no step" in said) != (tmp_path / "python" / "trace.json").exists()
