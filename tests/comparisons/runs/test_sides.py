"""Which two engines, and where their chance comes from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from stand_ins.patched_r import add_engine

from comparisons.runs.sides import RANDOMNESS, choose_sides, open_side, open_sides
from pyvae.engines.abilities import Abilities
from pyvae.engines.errors import EngineError, EngineMissingError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine

pytestmark = pytest.mark.slow

ENGINES = ("pytorch", "base-r", "r-torch")


def refuse(error):
    def check():
        raise error

    return check


@pytest.fixture(autouse=True)
def r_engines(monkeypatch):
    """Both R engines can be used."""
    for kind in (BaseREngine, RTorchEngine):
        monkeypatch.setattr(kind, "check_available", lambda: None)


def chosen(under_test="pytorch", reference="base-r", randomness="injected", exact=None, adam=None):
    return choose_sides(under_test, reference, randomness, exact, adam, "conv")


@pytest.mark.parametrize("kind", [EngineError, EngineMissingError])
def test_auto_is_the_best_reference_and_says_what_is_broken(monkeypatch, kind):
    assert chosen(reference="auto").reference == "r-torch"
    assert chosen(reference="auto").passed_over == ()
    error = kind("R torch has no LibTorch")
    monkeypatch.setattr(RTorchEngine, "check_available", refuse(error))
    both = chosen(reference="auto")
    assert both.reference == "base-r"
    assert both.passed_over == ((error,) if kind is EngineError else ())


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
    pairs = [(a, b) for a in ENGINES for b in ENGINES if a != b]
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
        ({"randomness": "nativ"}, "unknown rng 'nativ': expected one of injected, seeded, native. "
         "Did you mean 'native'?"),
        ({"under_test": "pytorhc"}, "unknown engine under test 'pytorhc': expected one of pytorch, "
         "base-r, r-torch. Did you mean 'pytorch'?"),
        ({"under_test": "auto"}, "unknown engine under test 'auto'"),
        ({"reference": "r"}, "unknown engine 'r': expected one of auto, pytorch, base-r, r-torch"),
        ({"adam": "adamw"}, "unknown adam 'adamw': expected one of torch, r-torch"),
        ({"under_test": "base-r", "reference": "r-torch", "randomness": "seeded"},
         "--rng seeded: base-r and r-torch cannot draw with the same generator. Use --rng injected "
         "or native, or compare one of them with pytorch."),
        ({"under_test": "r-torch", "reference": "base-r", "randomness": "seeded"},
         "--rng seeded: r-torch and base-r cannot draw"),
        ({"under_test": "base-r"}, "base-r against itself. Choose another --engine or "
         "--under-test; only --rng native compares an engine with itself, over different seeds."),
        ({"reference": "pytorch", "randomness": "seeded"}, "pytorch against itself"),
        ({"under_test": "r-torch", "reference": "auto"}, "r-torch against itself"),
        ({"under_test": "base-r", "reference": "r-torch", "adam": "torch"},
         "--adam torch with base-r and r-torch, neither of which lets you choose it. Leave out "
         "--adam, or compare with pytorch."),
        ({"randomness": "native", "exact": True},
         "--exact with --rng native. Use --rng injected or seeded."),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(arguments, words):
    with pytest.raises(UserError) as caught:
        chosen(**arguments)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("side", ["under_test", "reference"])
def test_an_engine_that_cannot_be_used_is_said(monkeypatch, side):
    monkeypatch.setattr(RTorchEngine, "check_available", refuse(EngineError("no package torch")))
    with pytest.raises(UserError, match="no package torch"):
        chosen(**{"under_test": "pytorch", "reference": "base-r"} | {side: "r-torch"})


def test_auto_is_an_engine_that_runs_the_recipe(monkeypatch):
    one = type("One", (), {"abilities": Abilities(recipes=("conv",), rank=9)})
    add_engine(monkeypatch, "one", one)
    for recipe, reference in (("conv", "one"), ("mlp", "r-torch")):
        sides = choose_sides("pytorch", "auto", "injected", None, None, recipe)
        assert sides.reference == reference


def test_sides_are_named():
    assert str(chosen()) == "PyTorch against base-r"
    assert str(chosen("base-r", "r-torch")) == "base-r against r-torch"


def test_an_engine_that_declares_nothing_is_compared_on_injected_draws(monkeypatch):
    add_engine(monkeypatch, "stranger", SimpleNamespace)
    both = chosen(reference="stranger")
    assert (both.reference, both.exact, both.adam) == ("stranger", False, "torch")
    assert both.rng("stranger") == "injected"
    assert str(both) == "PyTorch against stranger"
    with pytest.raises(UserError, match="pytorch and stranger cannot draw with the same generator"):
        chosen(reference="stranger", randomness="seeded")
    with pytest.raises(UserError, match="engine stranger has no generator of its own"):
        chosen(reference="stranger", randomness="native")


@pytest.fixture
def made(monkeypatch):
    """R engines are names alone; collects how they were made and whether they were closed."""
    seen: list = []

    def add(name, abilities, error=None):
        class Made:
            def __init__(self, threads):
                if error is not None:
                    raise error
                self.name = name
                seen.append((name, threads, torch.get_num_threads()))

            def close(self):
                seen.append(f"{name} closed")

        Made.abilities = abilities
        add_engine(monkeypatch, name, Made)

    seen_and_add = SimpleNamespace(seen=seen, add=add)
    add("r-torch", RTorchEngine.abilities)
    return seen_and_add


def test_both_engines_get_the_same_threads_and_are_closed(made):
    before = torch.get_num_threads()
    with open_sides(chosen(reference="r-torch", randomness="seeded"), 3) as (a, b):
        assert isinstance(a, PyTorchEngine)
        assert (a.device.type, a.adam, torch.get_num_threads()) == ("cpu", "r-torch", 3)
        assert b.name == "r-torch"
        assert made.seen == [("r-torch", 3, 3)]
    assert made.seen[1:] == ["r-torch closed"]
    assert torch.get_num_threads() == before


def test_without_a_number_the_threads_are_pytorchs(made):
    with open_side("r-torch"):
        assert made.seen == [("r-torch", None, torch.get_num_threads())]


def test_the_first_is_closed_where_the_second_fails(made, monkeypatch):
    sides = chosen("r-torch", "base-r")
    made.add("base-r", Abilities(options=("threads",)), EngineError("no"))
    with pytest.raises(UserError, match="no"), open_sides(sides):
        pass
    assert made.seen[-1] == "r-torch closed"


def test_threads_that_are_none_are_refused_before_anything_is_made(made):
    with pytest.raises(UserError, match="--threads 0"), open_side("r-torch", threads=0):
        pass
    assert made.seen == []
