"""Rows of an embedding that one language counts from 0 and the other one from 1."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from comparisons.ports import compare_programs
from pyvae import Optimiser, OptimiserGroup, ProgramStage, write_program_trace

ROWS, FEATURES, RATE = 9, 4, 0.1


def embedded(folder, base, added=None, given=None):
    """A step of a program that takes rows of an embedding.

    Arguments:
        folder: Where to.
        base: From where its language counts rows.
        added: What the program adds to the data before it takes the rows.
        given: From where the data counts; from `base` if nothing is said.
    """
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(ROWS - 2, (6, 3), generator=draw)
    x = rows + (base if given is None else given)
    taken = x if added is None else x + added
    weight = torch.randn(ROWS, FEATURES, generator=draw, requires_grad=True)
    emb = F.embedding(taken - base, weight)
    loss = emb.square().mean()
    emb.retain_grad()
    loss.backward()
    forward = {"x": x, "emb": emb, "loss": loss} | ({} if added is None else {"add": taken})
    stages = [
        ProgramStage("x", "input"),
        *([ProgramStage("add", "add", ("x",), {"other": added})] if added is not None else []),
        ProgramStage(
            "emb", "embedding", ("x" if added is None else "add",), parameters={"weight": "weight"}
        ),
        ProgramStage("loss", "mse_loss", ("emb", "zero"), {"reduction": "mean"}),
    ]
    stages.insert(0, ProgramStage("zero", "input"))
    forward["zero"] = torch.zeros_like(emb)
    return written(folder, base, stages, forward, weight)


def positions(folder, base, off=0, first=False):
    """A step of a program that counts its rows itself: in R as numbers, of which it makes integers.
    R's weights are off by a rounding.

    Arguments:
        folder: Where to.
        base: From where its language counts rows.
        off: By how much it takes other rows.
        first: Whether they are the first that it makes.
    """
    rows = torch.arange(ROWS - 2) + base + off
    weight = torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(1))
    weight = torch.nextafter(weight, torch.tensor(float(base))).requires_grad_()
    emb = F.embedding(rows[None] - base, weight)
    loss = emb.square().mean()
    emb.retain_grad()
    loss.backward()
    forward = {
        "target": torch.zeros_like(emb), "rows": rows.float() if base else rows,
        **({"to": rows} if base else {}), "unsqueeze": rows[None], "emb": emb, "loss": loss,
    }  # fmt: skip
    counted = [
        ProgramStage("rows", "input"),
        *([ProgramStage("to", "to", ("rows",), {"dtype": "long"})] if base else []),
        ProgramStage("unsqueeze", "unsqueeze", ("to" if base else "rows",), {"dim": 0}),
    ]
    target = [ProgramStage("target", "input")]
    stages = [
        *([*counted, *target] if first else [*target, *counted]),
        ProgramStage("emb", "embedding", ("unsqueeze",), parameters={"weight": "weight"}),
        ProgramStage("loss", "mse_loss", ("emb", "target"), {"reduction": "mean"}),
    ]
    return written(folder, base, stages, forward, weight)


def written(folder, base, stages, forward, weight):
    write_program_trace(
        folder, "numpy" if base == 0 else "base-r", stages,
        steps=[{
            "start": {"weight": weight.detach().numpy()},
            "forward": {name: value.detach().numpy() for name, value in forward.items()},
            "loss": forward["loss"].item(),
            "gradient": {"weight": weight.grad.numpy(), "emb": forward["emb"].grad.numpy()},
            "parameter": {"weight": (weight - RATE * weight.grad).detach().numpy()},
        }],
        optimiser=Optimiser("optimizer", "sgd", (OptimiserGroup(("weight",), {"lr": RATE}),)),
        language="r" if base else "python", index_base=base,
    )  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def both_ways(port, paper):
    return [compare_programs(port, paper), compare_programs(paper, port)]


def test_rows_of_r_that_a_port_takes_one_further():
    """`emb(x)` in R, and `emb(x + 1)` in Python: the numbers are the same, the rows are not."""
    pair = embedded("python", 0, added=1), embedded("r", 1)
    for found in both_ways(*pair):
        assert found.first is not None, found.verdict
        assert found.first.place == "step 1, emb (embedding), forward"
        assert "only python has add (add) between x and emb" in found.first.words


def test_data_that_counts_from_0_in_both():
    """`emb(x + 1L)` in R, where data counts from 0, and `emb(x)` in Python."""
    pair = embedded("python", 0), embedded("r", 1, added=1, given=0)
    for found in both_ways(*pair):
        assert found.agrees, found.verdict


def test_data_that_counts_from_1_and_is_counted_on_in_r():
    """`emb(x + 1L)` in R, where data counts from 1 already."""
    pair = embedded("python", 0), embedded("r", 1, added=1, given=1)
    for found in both_ways(*pair):
        assert found.first is not None, found.verdict
        assert found.first.place == "step 1, emb (embedding), forward"


def test_data_that_counts_from_1_in_both():
    """`emb(x)` in R, and `emb(x - 1)` in Python."""
    pair = embedded("python", 0, added=-1, given=1), embedded("r", 1)
    for found in both_ways(*pair):
        assert found.agrees, found.verdict


def test_data_that_counts_from_1_and_is_not_counted_back():
    pair = embedded("python", 0, given=1), embedded("r", 1)
    for found in both_ways(*pair):
        assert found.first is not None, found.verdict
        assert found.first.words[0].startswith("indices are off by 1")


@pytest.mark.parametrize("first", [False, True])
def test_rows_that_each_program_counts_itself(first):
    """`arange(n)[None]` in Python, and `torch_arange(1, n)` in R, which is a float: they are the
    same rows, whatever is rounded in the weights, and whether they are paired or not."""
    for found in both_ways(positions("python", 0, first=first), positions("r", 1)):
        assert found.agrees, found.verdict
    for found in both_ways("python", positions("wrong", 1, off=1)):
        assert found.first is not None, found.verdict
        assert found.first.place in (
            "step 1, emb (embedding), forward",
            "step 1, rows (input), input",
        )
