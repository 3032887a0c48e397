"""Trains published VAEs in PyTorch, to compare them with their R originals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.data.images import load_data
    from pyvae.engines.pytorch import PyTorchEngine
    from pyvae.errors import UserError
    from pyvae.model.draws import Draws
    from pyvae.model.run import Run
    from pyvae.model.settings import Settings
    from pyvae.recipes import RECIPES, get_recipe
    from pyvae.recording.record import record
    from pyvae.recording.recording import Recording
    from pyvae.reproduction.plan import Plan
    from pyvae.reproduction.reproduce import reproduce
    from pyvae.runs.record import record_traces
    from pyvae.runs.train import train_into
    from pyvae.runs.trained.generated import interpolate, sample
    from pyvae.runs.trained.posterior import encode, reconstruct
    from pyvae.runs.verify import verify
    from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStage, ProgramTrace
    from pyvae.trace.trace import Trace
    from pyvae.trace.write_program import write_program_trace
    from pyvae.training.callbacks import Callback, Progress, StopTraining
    from pyvae.training.loop import train
    from pyvae.training.validation import StopEarly, Validate
    from pyvae.version import __version__
    from pyvae.weights.convert import convert_weights

__all__ = [
    "RECIPES",
    "Callback",
    "Draws",
    "Optimiser",
    "OptimiserGroup",
    "Plan",
    "ProgramStage",
    "ProgramTrace",
    "Progress",
    "PyTorchEngine",
    "Recording",
    "Run",
    "Settings",
    "StopEarly",
    "StopTraining",
    "Trace",
    "UserError",
    "Validate",
    "__version__",
    "convert_weights",
    "encode",
    "get_recipe",
    "interpolate",
    "load_data",
    "reconstruct",
    "record",
    "record_traces",
    "reproduce",
    "sample",
    "train",
    "train_into",
    "verify",
    "write_program_trace",
]

_HOMES = {
    "RECIPES": "pyvae.recipes",
    "Callback": "pyvae.training.callbacks",
    "Draws": "pyvae.model.draws",
    "Optimiser": "pyvae.trace.program",
    "OptimiserGroup": "pyvae.trace.program",
    "Plan": "pyvae.reproduction.plan",
    "ProgramStage": "pyvae.trace.program",
    "ProgramTrace": "pyvae.trace.program",
    "Progress": "pyvae.training.callbacks",
    "PyTorchEngine": "pyvae.engines.pytorch",
    "Recording": "pyvae.recording.recording",
    "Run": "pyvae.model.run",
    "StopEarly": "pyvae.training.validation",
    "StopTraining": "pyvae.training.callbacks",
    "Settings": "pyvae.model.settings",
    "Trace": "pyvae.trace.trace",
    "UserError": "pyvae.errors",
    "Validate": "pyvae.training.validation",
    "__version__": "pyvae.version",
    "convert_weights": "pyvae.weights.convert",
    "encode": "pyvae.runs.trained.posterior",
    "get_recipe": "pyvae.recipes",
    "interpolate": "pyvae.runs.trained.generated",
    "load_data": "pyvae.data.images",
    "reconstruct": "pyvae.runs.trained.posterior",
    "record": "pyvae.recording.record",
    "record_traces": "pyvae.runs.record",
    "reproduce": "pyvae.reproduction.reproduce",
    "sample": "pyvae.runs.trained.generated",
    "train": "pyvae.training.loop",
    "train_into": "pyvae.runs.train",
    "verify": "pyvae.runs.verify",
    "write_program_trace": "pyvae.trace.write_program",
}

__getattr__ = lazy_exports(__name__, _HOMES)
