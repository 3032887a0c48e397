"""Engines in R with R code evaluated after their sources: a change without editing them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyvae import plugins
from r_bridge.engines.base import REngine
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine

__all__ = ["PatchedBaseR", "PatchedRTorch", "add_engine", "replace_engine"]


class PatchedBaseR(BaseREngine):
    """Base R, changed by R code; without any, as it is."""

    def __init__(self, patch: str | None, threads: int | None = 1) -> None:
        super().__init__(threads)
        _evaluate(self, patch)


class PatchedRTorch(RTorchEngine):
    """R's torch, changed by R code."""

    def __init__(self, patch: str | None, threads: int | None = None) -> None:
        super().__init__(threads)
        _evaluate(self, patch)


def _evaluate(engine: REngine, patch: str | None) -> None:
    if patch:
        engine.process.evaluate(f"{patch}\nNULL")


def add_engine(monkeypatch: pytest.MonkeyPatch, name: str, kind: Callable[..., Any]) -> None:
    """Makes this process find one more engine, as if a package had been installed that has it."""
    before = plugins.metadata.entry_points

    def entry_points(group: str, **chosen: str) -> list:
        found = list(before(group=group, **chosen))
        if group == "pyvae.engines" and chosen.get("name", name) == name:
            others = [entry for entry in found if entry.name != name]
            return [*others, SimpleNamespace(name=name, load=lambda: kind)]
        return found

    monkeypatch.setattr(plugins, "metadata", SimpleNamespace(entry_points=entry_points))


def replace_engine(monkeypatch: pytest.MonkeyPatch, patch: str) -> None:
    """Makes this process open a base R changed by R code in place of the engine `base-r`."""

    class Replaced(PatchedBaseR):
        def __init__(self, threads: int | None = 1) -> None:
            super().__init__(patch, threads)

    add_engine(monkeypatch, "base-r", Replaced)
