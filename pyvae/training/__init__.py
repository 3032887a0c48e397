"""The one training loop, for every engine, and its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.training.callbacks import Callback, Progress, StopTraining
    from pyvae.training.checkpoint import Checkpoint
    from pyvae.training.inputs import load_for
    from pyvae.training.loop import train, training_steps
    from pyvae.training.validation import StopEarly, Validate

__all__ = [
    "Callback",
    "Checkpoint",
    "Progress",
    "StopEarly",
    "StopTraining",
    "Validate",
    "load_for",
    "train",
    "training_steps",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "Callback": "pyvae.training.callbacks",
        "Checkpoint": "pyvae.training.checkpoint",
        "Progress": "pyvae.training.callbacks",
        "StopEarly": "pyvae.training.validation",
        "StopTraining": "pyvae.training.callbacks",
        "Validate": "pyvae.training.validation",
        "load_for": "pyvae.training.inputs",
        "train": "pyvae.training.loop",
        "training_steps": "pyvae.training.loop",
    },
)
