"""An R engine by name."""

from __future__ import annotations

from pyvae.errors import choose
from r_bridge.engines.base import REngine
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine
from r_bridge.installed.r_torch import check_r_torch, find_r_torch
from r_bridge.installed.rpy2 import check_r

__all__ = ["ENGINE_NAMES", "check_r_engine", "make_r_engine"]

ENGINE_NAMES = ("auto", "base-r", "r-torch")


def check_r_engine(name: str) -> str:
    """Asks, without starting a session, whether there is an R engine of that name.

    Returns:
        The engine's name; for `auto` the best one that is there.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    choose("engine", name, ENGINE_NAMES)
    check_r()
    if name == "auto":
        return "r-torch" if find_r_torch().usable else "base-r"
    if name == "r-torch":
        check_r_torch()
    return name


def make_r_engine(name: str, threads: int | None = None) -> REngine:
    """The R engine of that name; `auto` is the best one that is there.

    Raises:
        UserError: If there is no such engine, or R cannot be used.
    """
    engine = {"base-r": BaseREngine, "r-torch": RTorchEngine}[check_r_engine(name)]
    return engine(threads)
