"""What a comparison over seeds says on the terminal."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from comparisons.seeds.equivalence import UNITS, Side, compare_measure
from comparisons.seeds.table import print_equivalence

MARGINS = {"active_units": 2.0, "latent_spread": 0.05}


def results(shift=0.0, scale=1.0, engines=("pytorch", "base-r"), bad=None, margin=1.0):
    made = []
    for measure, centre in zip(UNITS, (166.4, 151.9, 14.5, 28.0, 0.94), strict=True):
        spread = MARGINS.get(measure, margin) * scale
        a = [centre + shift * spread + spread * x for x in (-0.3, -0.1, 0.0, 0.2, 0.4)]
        b = [centre + spread * x for x in (-0.4, -0.2, 0.1, 0.15, 0.2)]
        if bad is not None:
            b[3] = bad
        sides = [
            Side(engine, (1, 2, 3, 4, 5), tuple(v))
            for engine, v in zip(engines, (a, b), strict=True)
        ]
        made.append(compare_measure(measure, *sides, MARGINS.get(measure, margin)))
    return made


def printed(found, width=100):
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    print_equivalence("VAE", found, console)
    return console.file.getvalue()


def test_every_number_of_the_test_is_there():
    found = results()
    text = printed(found)
    assert text.startswith("VAE: pytorch against base-r, 5 seeds each")
    tests, medians = text.split("losses: mean")[0], text.split("range")[-1]
    for result in found:
        name = result.measure.replace("_", " ")
        (line,) = [line for line in tests.splitlines() if line.startswith(name)]
        for number in (result.a.mean, result.b.mean):
            assert result.text(number) in line
        assert result.text(result.difference, "+") in line
        assert f" {result.margin:g} " in line
        assert line.rstrip().endswith(result.verdict)
        below = tests.splitlines()[tests.splitlines().index(line) + 1]
        assert below.startswith(result.unit)
        assert f"± {result.text(result.a.sd)}" in below
        low, high = (result.text(end, "+") for end in result.interval)
        assert f"{low} to {high}" in below
        (line,) = [line for line in medians.splitlines() if line.startswith(name)]
        for side in (result.a, result.b):
            assert result.text(side.median) in line
            assert " to ".join(result.text(end) for end in side.range) in line
    assert text.rstrip().endswith("VAE: equivalent")


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    ("shift", "scale", "verdict"), [(0, 1, "equivalent"), (9, 1, "different"), (0, 7, "inconc")]
)
def test_nothing_is_cut_off(width, shift, scale, verdict):
    text = printed(results(shift, scale), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert f"VAE: {verdict}" in text


@pytest.mark.parametrize(
    "options",
    [
        {"bad": 1e30},
        {"bad": math.nan},
        {"margin": 0.01},
        {"engines": ("pytorch (A)", "pytorch (B)")},
    ],
    ids=["huge", "nan", "fine", "names"],
)
def test_odd_numbers_and_names_fit_into_100_columns(options):
    text = printed(results(**options))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_seed_that_diverged_is_named_and_nan_is_not_printed_as_a_number():
    text = printed(results(bad=math.nan))
    assert "base-r, seed 4: loss is nan" in text
    assert text.count("nan") == len(UNITS)
    assert text.rstrip().endswith("VAE: different")


def test_unequal_numbers_of_seeds_are_told():
    (loss, *_) = results()
    fewer = Side("base-r", (1, 2, 3), loss.b.values[:3])
    text = printed([compare_measure("loss", loss.a, fewer, 1.0)])
    assert "VAE: pytorch against base-r, 5 and 3 seeds" in text


@pytest.mark.parametrize(
    ("values", "interval"), [((0.0, 0.0), "no spread: all 0.0"), ((3.0, 4.0), "no spread")]
)
def test_where_no_seed_varies_there_is_no_p_value(values, interval):
    sides = [
        Side(engine, (1, 2, 3), (value,) * 3)
        for engine, value in zip(("pytorch", "base-r"), values, strict=True)
    ]
    text = printed([compare_measure("active_units", *sides, 2.0)])
    line, below, *_ = text.splitlines()[4:]
    assert line.split()[-3:] == ["2", "–", "equivalent"]
    assert interval in below
    assert ("all" in below) is ("all" in interval)
    assert "<0.001" not in text


@pytest.mark.parametrize("width", [30, 40, 60])
def test_verdicts_are_read_on_narrow_terminals(width):
    text = printed(results(9), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("different") >= len(UNITS) + 1
