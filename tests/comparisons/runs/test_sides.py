"""Which two engines, and where their chance comes from."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from comparisons.runs import sides
from comparisons.runs.sides import OWN, RANDOMNESS, choose_sides, open_engine, open_sides
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError


@pytest.fixture(autouse=True)
def r_engines(monkeypatch):
    """Both R engines are there; auto takes R's torch."""
    best = {"auto": "r-torch", "base-r": "base-r", "r-torch": "r-torch"}
    monkeypatch.setattr(sides, "check_r_engine", best.__getitem__)


def chosen(under_test="pytorch", reference="base-r", randomness="injected", exact=None, adam=None):
    return choose_sides(under_test, reference, randomness, exact, adam)


def test_auto_is_what_the_bridge_says(monkeypatch):
    assert chosen(reference="auto").reference == "r-torch"
    monkeypatch.setattr(sides, "check_r_engine", {"auto": "base-r"}.__getitem__)
    assert chosen(reference="auto").reference == "base-r"


@pytest.mark.parametrize(
    ("pair", "randomness", "rngs"),
    [
        (("pytorch", "base-r"), "injected", ("injected", "injected")),
        (("base-r", "r-torch"), "injected", ("injected", "injected")),
        (("pytorch", "base-r"), "seeded", ("r", "r")),
        (("base-r", "pytorch"), "seeded", ("r", "r")),
        (("pytorch", "r-torch"), "seeded", ("torch", "torch")),
        (("pytorch", "base-r"), "native", ("torch", "r")),
        (("pytorch", "r-torch"), "native", ("torch", "torch")),
        (("base-r", "r-torch"), "native", ("r", "torch")),
        (("pytorch", "pytorch"), "native", ("torch", "torch")),
    ],
)
def test_generators_follow_from_the_engines(pair, randomness, rngs):
    both = chosen(*pair, randomness=randomness)
    assert (both.under_test, both.reference) == pair
    assert tuple(both.rng(engine) for engine in pair) == rngs


def test_every_bit_is_asked_for_where_it_can_be_equal():
    pairs = [(a, b) for a in OWN for b in OWN if a != b]
    for pair in pairs:
        for randomness in RANDOMNESS:
            if randomness == "seeded" and "pytorch" not in pair:
                continue
            both = chosen(*pair, randomness=randomness)
            assert both.exact == (randomness == "seeded" and "r-torch" in pair)
            assert both.adam == ("r-torch" if both.exact else "torch")


@pytest.mark.parametrize(
    ("reference", "randomness", "exact", "adam", "expected"),
    [
        ("r-torch", "seeded", False, None, (False, "torch")),
        ("r-torch", "seeded", None, "torch", (True, "torch")),
        ("r-torch", "seeded", True, "r-torch", (True, "r-torch")),
        ("r-torch", "injected", True, None, (True, "r-torch")),
        ("r-torch", "injected", None, "r-torch", (False, "r-torch")),
        ("base-r", "injected", True, None, (True, "torch")),
        ("base-r", "native", False, "r-torch", (False, "r-torch")),
    ],
)
def test_what_is_said_is_taken(reference, randomness, exact, adam, expected):
    both = chosen("pytorch", reference, randomness, exact, adam)
    assert (both.exact, both.adam) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"randomness": "nativ"}, "unknown rng 'nativ'; expected one of injected, seeded, native; "
         "did you mean 'native'?"),
        ({"under_test": "pytorhc"}, "unknown engine under test 'pytorhc'; expected one of pytorch, "
         "r-torch, base-r; did you mean 'pytorch'?"),
        ({"under_test": "auto"}, "unknown engine under test 'auto'"),
        ({"reference": "r"}, "unknown engine 'r'; expected one of pytorch, auto, base-r, r-torch"),
        ({"adam": "adamw"}, "unknown adam 'adamw'; expected one of torch, r-torch"),
        ({"under_test": "base-r", "reference": "r-torch", "randomness": "seeded"},
         "--rng seeded with base-r and r-torch; expected two engines that can draw with the same "
         "generator; use --rng injected or native, or hold one of them against pytorch"),
        ({"under_test": "r-torch", "reference": "base-r", "randomness": "seeded"},
         "--rng seeded with base-r and r-torch"),
        ({"under_test": "base-r"}, "base-r against itself; expected two engines; only --rng native "
         "compares an engine with itself"),
        ({"reference": "pytorch", "randomness": "seeded"}, "pytorch against itself"),
        ({"under_test": "r-torch", "reference": "auto"}, "r-torch against itself"),
        ({"under_test": "base-r", "reference": "r-torch", "adam": "torch"},
         "--adam torch with base-r and r-torch; expected pytorch on one side; leave it out"),
        ({"randomness": "native", "exact": True},
         "--exact with --rng native; expected --rng injected or seeded"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(arguments, words):
    with pytest.raises(UserError) as caught:
        chosen(**arguments)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("side", ["under_test", "reference"])
def test_an_engine_that_cannot_be_used_is_said(monkeypatch, side):
    def refuse(name):
        if name == "r-torch":
            raise UserError("engine r-torch: R has no package torch")
        return name

    monkeypatch.setattr(sides, "check_r_engine", refuse)
    with pytest.raises(UserError, match="R has no package torch"):
        chosen(**{"under_test": "pytorch", "reference": "base-r"} | {side: "r-torch"})


def test_auto_is_base_r_for_a_recipe_that_r_torch_has_not():
    assert choose_sides("pytorch", "auto", "injected", None, None, "mlp").reference == "base-r"


def test_sides_are_named():
    assert str(chosen()) == "PyTorch against base-r"
    assert str(chosen("base-r", "r-torch")) == "base-r against r-torch"


@pytest.fixture
def made(monkeypatch):
    """R engines are names alone; collects how they were made and whether they were closed."""
    seen: list = []

    class Made(nullcontext):
        def __exit__(self, *error):
            seen.append("closed")

    def make(name, threads):
        seen.append((name, threads))
        return Made(name)

    monkeypatch.setattr(sides, "make_r_engine", make)
    return seen


def test_both_engines_get_the_same_threads_and_are_closed(made):
    with open_sides(chosen(reference="r-torch", randomness="seeded"), 3) as (a, b):
        assert isinstance(a, PyTorchEngine)
        assert (a.device.type, a.adam, torch.get_num_threads()) == ("cpu", "r-torch", 3)
        assert b == "r-torch"
        assert made == [("r-torch", 3)]
    assert made == [("r-torch", 3), "closed"]


def test_without_a_number_the_threads_are_pytorchs(made):
    torch.set_num_threads(2)
    with open_sides(chosen("r-torch", "base-r")):
        assert made == [("r-torch", 2), ("base-r", 2)]


def test_the_first_is_closed_where_the_second_fails(made, monkeypatch):
    make = sides.make_r_engine

    def failing(name, threads):
        if name == "r-torch":
            raise UserError("no")
        return make(name, threads)

    monkeypatch.setattr(sides, "make_r_engine", failing)
    with pytest.raises(UserError, match="no"), open_sides(chosen("base-r", "r-torch")):
        pass
    assert made[-1] == "closed"


def test_threads_that_are_none_are_refused_before_anything_is_made(made):
    with pytest.raises(UserError, match="--threads 0"), open_engine("base-r", threads=0):
        pass
    assert made == []
