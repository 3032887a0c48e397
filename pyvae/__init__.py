"""pyvae: VAEs of published write-ups in PyTorch, to be held against their R originals."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyvae.data.images import load_data
    from pyvae.engines.pytorch import PyTorchEngine
    from pyvae.errors import UserError
    from pyvae.model.draws import Draws
    from pyvae.model.run import Run
    from pyvae.model.settings import Settings
    from pyvae.recipes import RECIPES, get_recipe
    from pyvae.reproduction.plan import Plan
    from pyvae.reproduction.reproduce import reproduce
    from pyvae.trace.trace import Trace
    from pyvae.training.callbacks import Callback, Progress, StopTraining
    from pyvae.training.loop import train

__all__ = [
    "RECIPES",
    "Callback",
    "Draws",
    "Plan",
    "Progress",
    "PyTorchEngine",
    "Run",
    "Settings",
    "StopTraining",
    "Trace",
    "UserError",
    "get_recipe",
    "load_data",
    "reproduce",
    "train",
]

_HOMES = {
    "RECIPES": "pyvae.recipes",
    "Callback": "pyvae.training.callbacks",
    "Draws": "pyvae.model.draws",
    "Plan": "pyvae.reproduction.plan",
    "Progress": "pyvae.training.callbacks",
    "PyTorchEngine": "pyvae.engines.pytorch",
    "Run": "pyvae.model.run",
    "StopTraining": "pyvae.training.callbacks",
    "Settings": "pyvae.model.settings",
    "Trace": "pyvae.trace.trace",
    "UserError": "pyvae.errors",
    "get_recipe": "pyvae.recipes",
    "load_data": "pyvae.data.images",
    "reproduce": "pyvae.reproduction.reproduce",
    "train": "pyvae.training.loop",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: PyTorch takes seconds, `pyvae --help` and R's process need none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pyvae' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
