"""Engines compute the steps of a run: PyTorch here, others by entry point."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyvae.engines.abilities import Abilities
    from pyvae.engines.engine import Engine, EngineClass
    from pyvae.engines.errors import EngineError, EngineMissingError
    from pyvae.engines.pytorch import PyTorchEngine
    from pyvae.engines.registry import engine_names, get_abilities, open_engine

__all__ = [
    "Abilities",
    "Engine",
    "EngineClass",
    "EngineError",
    "EngineMissingError",
    "PyTorchEngine",
    "engine_names",
    "get_abilities",
    "open_engine",
]

_HOMES = {
    "Abilities": "abilities",
    "Engine": "engine",
    "EngineClass": "engine",
    "EngineError": "errors",
    "EngineMissingError": "errors",
    "PyTorchEngine": "pytorch",
    "engine_names": "registry",
    "get_abilities": "registry",
    "open_engine": "registry",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: PyTorch takes seconds, and `pyvae --help` needs none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pyvae.engines' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pyvae.engines.{_HOMES[name]}"), name)
