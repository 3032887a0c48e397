"""Runs and their folders: training, keeping, recording, repeating and verifying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.runs.callbacks.held_out_history import EvaluateEpochs
    from pyvae.runs.callbacks.keep import Keep, KeepParameters, train_kept
    from pyvae.runs.callbacks.stop_on_signal import StopOnSignal
    from pyvae.runs.kept_run import KeptRun
    from pyvae.runs.record import record_traces
    from pyvae.runs.repeat import read_repeat
    from pyvae.runs.run_folder import RunFolder
    from pyvae.runs.train import train_into
    from pyvae.runs.trained import load_network, load_traces, sample
    from pyvae.runs.verify import Verification

__all__ = [
    "EvaluateEpochs",
    "Keep",
    "KeepParameters",
    "KeptRun",
    "RunFolder",
    "StopOnSignal",
    "Verification",
    "load_network",
    "load_traces",
    "read_repeat",
    "record_traces",
    "sample",
    "train_into",
    "train_kept",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "EvaluateEpochs": "pyvae.runs.callbacks.held_out_history",
        "Keep": "pyvae.runs.callbacks.keep",
        "KeepParameters": "pyvae.runs.callbacks.keep",
        "KeptRun": "pyvae.runs.kept_run",
        "RunFolder": "pyvae.runs.run_folder",
        "StopOnSignal": "pyvae.runs.callbacks.stop_on_signal",
        "Verification": "pyvae.runs.verify",
        "load_network": "pyvae.runs.trained",
        "load_traces": "pyvae.runs.trained",
        "read_repeat": "pyvae.runs.repeat",
        "record_traces": "pyvae.runs.record",
        "sample": "pyvae.runs.trained",
        "train_into": "pyvae.runs.train",
        "train_kept": "pyvae.runs.callbacks.keep",
    },
)
