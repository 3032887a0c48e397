"""Engines compute the steps of a run: PyTorch here, others by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

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

__getattr__ = lazy_exports(
    __name__,
    {
        "Abilities": "pyvae.engines.abilities",
        "Engine": "pyvae.engines.engine",
        "EngineClass": "pyvae.engines.engine",
        "EngineError": "pyvae.engines.errors",
        "EngineMissingError": "pyvae.engines.errors",
        "PyTorchEngine": "pyvae.engines.pytorch",
        "engine_names": "pyvae.engines.registry",
        "get_abilities": "pyvae.engines.registry",
        "open_engine": "pyvae.engines.registry",
    },
)
