"""A program in base R that is no recipe (`classifier.R`), against the same network in PyTorch."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from comparisons.ports.judging.own import Own
from comparisons.ports.result import PortComparison
from comparisons.report.ports.lines import one_sided
from pyvae import record
from pyvae.cli.main import main
from pyvae.trace.program import ProgramTrace
from r_bridge.rpy2_fit import find_r

pytestmark = pytest.mark.r

PROGRAM = Path(__file__).with_name("classifier.R")
ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "r_bridge" / "rpackage"
DOCUMENT = ROOT / "docs" / "reference" / "trace-of-a-program.md"
STEPS = 4


EACH = """for (folder in dir()) {
  program <- new.env()
  program$commandArgs <- function(...) c(commandArgs(TRUE)[[1]], file.path(folder, "r"))
  sys.source(file.path(folder, "classifier.R"), program)
}"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[Path]:
    """What the program writes with each of the changes: of all of them in one R."""
    root = tmp_path_factory.mktemp("programs")
    for number, changes in enumerate(CHANGES):
        text = PROGRAM.read_text()
        for old, new in changes.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (root / str(number)).mkdir()
        (root / str(number) / "classifier.R").write_text(text)
    program = find_r()
    assert program is not None
    done = subprocess.run(
        [program, "--vanilla", "--no-echo", "-e", EACH, "--args", PACKAGE],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [root / str(number) / "r" for number in range(len(CHANGES))]


def run_python(folder: Path, dtype: torch.dtype) -> None:
    """Trains the same network from the start and on the batches of R's, into `python`."""
    batches = ProgramTrace.load(folder / "r")
    layers = OrderedDict(hidden=nn.Linear(2, 8), tanh=nn.Tanh(), out=nn.Linear(8, 3))
    network = nn.Sequential(layers).to(dtype)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    with record(network, optimizer, folder / "python", steps=STEPS, start=folder / "r"):
        for step in range(1, STEPS + 1):
            arrays = batches.arrays(step)
            x = torch.from_numpy(arrays["forward/x"].copy()).to(dtype)
            y = torch.from_numpy(arrays["forward/y"].astype("int64")) - 1
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()


@pytest.fixture
def both(written, tmp_path, monkeypatch) -> Callable[..., PortComparison]:
    monkeypatch.chdir(tmp_path)

    def compare(changes: dict[str, str], dtype: torch.dtype = torch.float64) -> PortComparison:
        shutil.copytree(written[CHANGES.index(changes)], "r")
        run_python(tmp_path, dtype)
        return compare_programs("python", "r")

    return compare


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_two_agree(both, dtype):
    found = both({}, dtype)
    assert found.agrees, found.verdict
    assert found.steps == (1, 2, 3, 4)
    assert len(found.judged) >= 100
    assert len(found.networks[0].pairs) == 6
    assert found.networks[0].only == ((), ())
    assert found.lacking == (STEPS, 0)  # the loss's own gradient, 1
    without = f"gradient/{found.networks[0].pairs[-1].a.name}"
    said = f"{STEPS} recorded values of python have no partner in r, such as {without}"
    assert list(one_sided(found)) == [said]
    # they part where the rounding of one side is not the other's
    largest = max(one.difference.needed for one in found.judged)
    assert 0 < largest < (1e-13 if dtype == torch.float64 else 1e-5)


@dataclass
class Mistake:
    """A change of the program's text, and where it is found.

    Attributes:
        changes: Old and new text.
        place: Where the two part.
        words: What it looks like; empty where nothing is said.
    """

    changes: dict[str, str]
    place: str
    words: str = ""


MISTAKES = {
    "the derivative of tanh": Mistake(
        {"dh * (1 - h^2)": "dh * (1 - h)"},
        "step 1, tanh (tanh), backward (gradient of hidden)",
    ),
    "softmax over the wrong axis": Mistake(
        {"exp(z) / rowSums(exp(z))": 'sweep(exp(z), 2, colSums(exp(z)), "/")'},
        "step 1, cross_entropy_loss (cross_entropy_loss; in r loss, cross_entropy_loss), forward",
    ),
    "the mean is not in the gradient": Mistake(
        {"  dout <- dout / length(y)\n": ""},
        "step 1, cross_entropy_loss (cross_entropy_loss; in r loss, cross_entropy_loss), backward "
        "(gradient of out)",
        "python is r times 1/batch size (1/15)",
    ),
    "the mean of a bias's gradient": Mistake(
        {"hidden.bias = colSums(dhidden)": "hidden.bias = colMeans(dhidden)"},
        "step 1, hidden (linear), backward (gradient of hidden.bias)",
        "r: its bias's gradient is averaged over the batch, not summed",
    ),
    "a gradient that is turned": Mistake(
        {"t(dout) %*% h": "matrix(t(h) %*% dout, 3)"},
        "step 1, out (linear), backward (gradient of out.weight)",
        "r: its weight's gradient is filled column by column",
    ),
    "dampening": Mistake(
        {"momentum * v + g": "momentum * v + (1 - momentum) * g"},
        "step 1, optimizer (sgd), update of out.weight (momentum_buffer)",
    ),
    "momentum in the place of Nesterov's": Mistake(
        {"function(p, v) p - lr * v, parameters, velocity": "function(p, v, g) p - lr * "
         "(g + momentum * v), parameters, velocity, gradient"},
        "step 1, optimizer (sgd), update of out.weight (parameter)",
    ),
    "another learning rate": Mistake(
        {"lr <- 0.1\n": "lr <- 0.1001\n"},
        "step 1, optimizer (sgd), update of out.weight (parameter)",
    ),
    "momentum that grows": Mistake(
        {"  list(start = start,": "  momentum <<- momentum + 0.03\n  list(start = start,"},
        "step 2, optimizer (sgd), update of out.weight (momentum_buffer)",
    ),
}  # fmt: skip


FROM_0 = {"steps = steps,": "steps = steps, index_base = 0,"}
CHANGES = [{}, FROM_0, *(one.changes for one in MISTAKES.values())]


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_placed_and_the_right_side_named(both, name):
    mistake = MISTAKES[name]
    found = both(mistake.changes)
    assert not found.agrees
    assert found.first.place == mistake.place
    assert found.first.wrong == "r"
    if mistake.words:
        assert found.first.words[0].startswith(mistake.words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax over the wrong axis", "dampening"])
def test_a_mistake_is_seen_through_the_rounding_of_float32(both, name):
    found = both(MISTAKES[name].changes, torch.float32)
    assert (found.first.place, found.first.wrong) == (MISTAKES[name].place, "r")


@pytest.mark.slow
def test_classes_that_are_counted_from_0_are_told(both):
    found = both(FROM_0)
    assert found.first.place == "step 1, input#2 (input; in r y, input), input"
    assert found.first.words[0].startswith("indices are off by 1: r's are 1 more")


@pytest.mark.slow
def test_the_command_says_who_is_right(both, capsys):
    both(MISTAKES["the derivative of tanh"].changes)
    assert main(["compare", "python", "r", "--out", "out"]) == 1
    said = capsys.readouterr().out
    assert "r does not return what it should for its own inputs" in said
    assert "verdict: part at step 1, tanh (tanh), backward (gradient of hidden)" in said


@pytest.mark.slow
def test_the_documents_examples_agree(tmp_path, monkeypatch):
    """Those of docs/reference/trace-of-a-program.md."""
    monkeypatch.chdir(tmp_path)
    page = DOCUMENT.read_text()
    for language in ("python", "r"):
        (example,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
        if language == "python":
            exec(compile(example, DOCUMENT, "exec"), {})  # noqa: S102 (our own page)
        else:
            program = find_r()
            assert program is not None
            code = example.replace("r_bridge/rpackage", str(PACKAGE))
            subprocess.run([program, "--vanilla", "--no-echo", "-e", code], check=True)
    found = compare_programs("python", "r")
    assert found.agrees, found.verdict
    assert found.lacking == (0, 0)
    assert [pair.how for pair in found.networks[0].pairs] == ["name"] * 4
    assert found.steps == (1, 2, 3)
    for one in found.sides:  # each computes what its stages say
        step = one.step(2)
        assert Own(step, 1e-12, "float64").forward("fc").is_right
