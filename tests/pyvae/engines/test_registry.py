"""Engines by name, what they are opened with, and the best one to compare with."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch
from stand_ins.patched_r import add_engine

from pyvae.engines.abilities import Abilities
from pyvae.engines.adam import ADAMS
from pyvae.engines.errors import EngineError, EngineMissingError
from pyvae.engines.registry import (
    best_reference,
    check_engine,
    engine_names,
    get_abilities,
    open_engine,
    resolve_rng,
)
from pyvae.errors import UserError


@pytest.fixture
def entries(monkeypatch):
    """Replaces the engines that packages add; each is a class, or what loading it raises."""

    def add(**classes):
        about = {"group": "pyvae.engines", "value": "x:y", "dist": None}

        def load(kind):
            if isinstance(kind, Exception):
                raise kind
            return kind

        def entry_points(group, name=None):
            assert group == "pyvae.engines"
            return [
                SimpleNamespace(name=key, load=lambda kind=kind: load(kind), **about)
                for key, kind in classes.items()
                if name in (None, key)
            ]

        monkeypatch.setattr("pyvae.plugins.metadata", SimpleNamespace(entry_points=entry_points))

    return add


def declared(error=None, **abilities):
    """An engine's class that declares something; `error` is why it cannot be used."""

    class Declared:
        def __init__(self, **options):
            self.options = options

        @classmethod
        def check_available(cls):
            if error is not None:
                raise error

    Declared.abilities = Abilities(**abilities)
    return Declared


# Names


def test_the_installed_engines_are_pytorch_and_two_of_r():
    assert engine_names() == ["pytorch", "base-r", "r-torch"]


def test_engines_of_other_packages_are_listed_after_pytorch(entries):
    entries(zeta=object, alpha=object)
    assert engine_names() == ["pytorch", "alpha", "zeta"]


def test_an_unknown_engine_is_told_the_nearest_name():
    expected = (
        f"unknown engine 'pytroch': expected one of {', '.join(engine_names())}. "
        "Did you mean 'pytorch'?"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"), open_engine("pytroch"):
        pass
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check_engine("pytroch")


# Opening


def test_pytorch_opens_on_the_device_asked_for():
    with open_engine("pytorch", device="cpu") as engine:
        assert (engine.name, engine.device.type) == ("pytorch", "cpu")
    with (
        pytest.raises(UserError, match="unknown device 'abacus'"),
        open_engine("pytorch", "abacus"),
    ):
        pass


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_an_opened_engine_is_closed_whatever_happens(entries, error):
    class Closing:
        closed = 0

        def close(self):
            self.closed += 1

    entries(other=Closing)
    if error is None:
        with open_engine("other") as engine:
            assert engine.closed == 0
    else:
        with pytest.raises(error), open_engine("other") as engine:
            raise error
    assert isinstance(engine, Closing)
    assert engine.closed == 1


def test_an_engine_without_close_opens_too(entries):
    entries(plain=SimpleNamespace)
    with open_engine("plain") as engine:
        assert isinstance(engine, SimpleNamespace)


def test_threads_are_the_engines_and_pytorchs_until_it_is_closed(entries):
    before = torch.get_num_threads()
    entries(takes=declared(options=("threads",)), plain=SimpleNamespace)
    with open_engine("takes", threads=3) as engine:
        assert engine.options == {"threads": 3}
        with open_engine("plain", threads=2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    with open_engine("takes") as engine:
        assert engine.options == {"threads": None}
    with open_engine("pytorch", "cpu", threads=3) as engine:
        assert engine.environment()["threads"] == "3"
    with pytest.raises(UserError, match="--threads 0: expected 1"), open_engine("takes", threads=0):
        pass
    assert torch.get_num_threads() == before


def test_an_engine_gets_the_options_that_it_declares(entries):
    entries(takes=declared(options=("device", "precision", "adam"), adams=("torch", "r-torch")))
    with open_engine("takes", "cpu", "r-torch", "tf32") as engine:
        assert engine.options == {"device": "cpu", "precision": "tf32", "adam": "r-torch"}


@pytest.mark.parametrize("adam", ADAMS)
def test_whose_adam_it_is_is_in_the_environment(adam):
    with open_engine("pytorch", "cpu", adam) as engine:
        assert engine.environment()["adam"] == adam
    with open_engine("pytorch", "cpu") as engine:
        assert engine.environment()["adam"] == "torch"


def test_an_unknown_adam_is_told_the_nearest_name():
    with (
        pytest.raises(UserError, match=r"unknown adam 'rtorch': .*Did you mean 'r-torch'"),
        open_engine("pytorch", "cpu", "rtorch"),
    ):
        pass


def test_another_engine_has_an_adam_of_its_own(entries):
    entries(other=SimpleNamespace)
    with (
        pytest.raises(UserError, match=r"--adam r-torch with --engine other, .*Leave out --adam."),
        open_engine("other", adam="r-torch"),
    ):
        pass
    with open_engine("other") as engine:
        assert isinstance(engine, SimpleNamespace)


def test_nothing_is_started_that_cannot_run_the_recipe_or_be_used(entries):
    """Neither by declaration, nor by `recipes` alone, as engines declared it before."""

    def never(**options):
        raise AssertionError

    never.recipes = ("mlp",)
    missing = declared(EngineMissingError("no abacus"))
    missing.__init__ = never
    entries(old=never, missing=missing, new=declared(recipes=("mlp",)))
    for name in ("old", "new"):
        with (
            pytest.raises(
                UserError, match=f"^engine {name} cannot run recipe 'conv': expected mlp"
            ),
            open_engine(name, recipe="conv"),
        ):
            pass
    with pytest.raises(EngineMissingError, match="no abacus"), open_engine("missing"):
        pass


# Declarations


def test_an_engine_that_declares_nothing_can_be_used(entries):
    entries(plain=SimpleNamespace)
    assert get_abilities("plain") == Abilities()
    check_engine("plain", "any recipe")


def test_of_an_engine_that_is_not_here_or_broken_nothing_is_known(entries):
    entries(broken=ImportError("no"))
    assert get_abilities("of another machine") == Abilities()
    assert get_abilities("broken") == Abilities()
    with pytest.raises(UserError, match="plug-in 'broken'"):
        check_engine("broken")


def test_a_recipe_that_an_engine_does_not_run_is_told_with_engines_that_do(entries):
    entries(some=declared(recipes=("conv",)), all=declared())
    with pytest.raises(UserError) as caught:
        check_engine("some", "mlp")
    assert str(caught.value) == (
        "engine some cannot run recipe 'mlp': expected conv. Use --engine pytorch or all."
    )


def test_auto_is_the_engine_of_the_highest_rank_that_can_be_used(entries):
    broken, missing = EngineError("its abacus is broken"), EngineMissingError("no abacus")
    engines = {
        "never": declared(), "low": declared(rank=1), "high": declared(rank=3),
        "other": declared(rank=9, recipes=("mlp",)),
    }  # fmt: skip
    entries(**engines)
    assert best_reference("conv") == ("high", [])
    assert best_reference("mlp") == ("other", [])
    entries(**engines | {"high": declared(missing, rank=3), "middle": declared(broken, rank=2)})
    assert best_reference("conv") == ("low", [broken])  # what is not installed is not missed
    entries(**engines | {"high": declared(missing, rank=3), "low": declared(broken, rank=1)})
    with pytest.raises(EngineError, match="its abacus is broken"):
        best_reference("conv")
    entries(never=declared())
    with pytest.raises(UserError, match="a reference for recipe 'conv'"):
        best_reference("conv")


# Generators


def test_an_unknown_generator_is_told_with_all_names():
    words = "unknown rng 'nativ': expected one of injected, native, torch, r. Did you mean 'native'"
    with pytest.raises(UserError, match=re.escape(words)):
        resolve_rng("nativ", "pytorch")


@pytest.mark.parametrize(
    ("rng", "engine", "resolved"),
    [
        ("injected", "base-r", "injected"), ("native", "pytorch", "torch"),
        ("native", "base-r", "r"), ("native", "r-torch", "torch"),
        ("torch", "pytorch", "torch"), ("r", "pytorch", "r"),
    ],
)  # fmt: skip
def test_native_is_the_engines_own_generator(rng, engine, resolved):
    assert resolve_rng(rng, engine) == resolved


def test_an_engine_without_a_generator_is_told(monkeypatch):
    add_engine(monkeypatch, "plain", SimpleNamespace)
    with pytest.raises(UserError, match=r"engine plain has no generator .*Use --rng injected\."):
        resolve_rng("native", "plain")


# The package


def test_the_package_shows_its_main_nouns():
    import pyvae.engines as package

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        package.Motor  # noqa: B018
