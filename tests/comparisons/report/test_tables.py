"""Tables on terminals of any width."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from comparisons.report.tables import libtorch_line, print_comparison, print_table
from comparisons.steps.comparison import compare_whole_runs
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train

HEADS = ("", "max abs", "needed", "verdict")
NAME = "> gradient/encoder.conv1.weight"
ROWS = [("loss", "1.0e-12", "3.0e-16", Text("agree", "green"))]
ROWS.append((NAME, "2.0e-01", "4.0e-01", Text("disagree", "red")))


def printed(width):
    console = Console(file=io.StringIO(), width=width)
    print_table(console, "", "", HEADS, ROWS, spare=(1, 2), styles=["", "bold"])
    return console.file.getvalue()


def test_a_title_is_one_line_above_a_narrower_table():
    file = io.StringIO()
    title = "VAE from a trained run: BCE + KL, summed over pixels and images, weights 1 and 1"
    print_table(Console(file=file, width=80), title, "", ("", "needed"), [("loss", "1e-16")], ())
    assert file.getvalue().splitlines()[0] == title


@pytest.mark.parametrize(
    ("width", "shown"), [(100, HEADS), (52, ("needed", "verdict")), (40, ("verdict",)), (24, ())]
)
def test_the_verdict_is_read_at_any_width(width, shown):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for head in HEADS[:-1]:
        assert (head in text) is (head in shown or not head)
    loss, *rest = text.splitlines()[3:]
    assert loss.split()[-1] == "agree"
    assert rest[0].split()[-1] == "disagree"
    names = "".join(line.replace("disagree", "").strip() for line in rest)
    assert "".join(names.split()).startswith("".join(NAME.split())) or width > 40


def two_runs(name, versions, digits, difference=1e-15):
    """Two traces that differ by rounding, each by another LibTorch."""
    recipe = get_recipe(name)
    settings = recipe.settings(batch_size=6, steps=1, dtype="float64")
    one = train(Run(recipe, settings, digits), PyTorchEngine("cpu"))
    other = copy.deepcopy(one)
    other.losses = other.losses * (1 + difference)
    one.environment = {"torch": versions[0]}
    other.environment = {"R torch": "0.17", "LibTorch": versions[1]}
    return one, other


class Rounded:
    """Of a divergence what is printed."""

    words = ("rounding: 1 of 2 elements differ, by at most 1 ULP",)
    around = ()

    def sentence(self):
        return "step 1"

    def element(self):
        return "[0]"


@pytest.mark.parametrize(
    ("name", "versions", "exact", "said"),
    [
        ("mlp", ("2.15.0+cu132", "2.8.0"), True, True),
        ("mlp", ("2.15.0+cu132", "2.8.0"), False, False),
        ("mlp", ("2.8.0+cpu", "2.8.0"), True, False),
        ("mlp", ("2.15.0", ""), True, False),  # base R has none
        ("beta", ("2.15.0", "2.8.0"), True, False),  # no batch norm
    ],
)
def test_another_libtorch_is_named_where_batch_norm_may_differ_by_it(
    name, versions, exact, said, digits
):
    comparison = compare_whole_runs(*two_runs(name, versions, digits), exact=exact)
    comparison = replace(comparison, divergence=Rounded())
    console = Console(file=io.StringIO(), width=100)
    print_comparison(comparison, console)
    line = "LibTorch: 2.15.0 against 2.8.0; batch norm's gradients in training may differ"
    assert (line in console.file.getvalue()) is said
    assert bool(libtorch_line(comparison)) is said


def test_a_mistake_is_not_laid_at_libtorchs_door(digits):
    pair = two_runs("mlp", ("2.15.0", "2.8.0"), digits)
    comparison = compare_whole_runs(*pair, exact=True)

    class Apart:
        words = ("r-torch: eps = 0.001",)

    assert libtorch_line(replace(comparison, divergence=Apart())) == ""
    assert libtorch_line(replace(comparison, divergence=Rounded()))
    pair[0].environment["kernels"] = "fast"  # which round otherwise with any LibTorch
    assert libtorch_line(replace(comparison, divergence=Rounded())) == ""
    pair[1].environment["kernels"] = "fast"
    assert libtorch_line(replace(comparison, divergence=Rounded()))
    assert libtorch_line(compare_whole_runs(pair[0], pair[0], exact=True)) == ""


@pytest.mark.parametrize("difference", [1e-15, 1e-3])
def test_where_no_step_was_looked_into_nobody_is_told_that_it_is_no_mistake(difference, digits):
    """Such as a learning rate twice as large: without a probe nobody knows."""
    pair = two_runs("mlp", ("2.15.0", "2.8.0"), digits, difference)
    console = Console(file=io.StringIO(), width=100)
    print_comparison(compare_whole_runs(*pair, exact=True), console)
    assert "disagree" in console.file.getvalue()
    assert "LibTorch" not in console.file.getvalue()
