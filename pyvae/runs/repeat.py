"""Repeating in another engine what a trace records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyvae.data.images import DATA_NAMES
from pyvae.engines.registry import get_abilities
from pyvae.errors import UserError
from pyvae.model.settings import Settings
from pyvae.model.start import Start
from pyvae.recipes import Recipe
from pyvae.runs.starts import start_of_trace
from pyvae.runs.trained import load_traces
from pyvae.trace.recipe import recipe_of
from pyvae.trace.trace import Trace

__all__ = ["Repeat", "read_repeat"]


@dataclass(frozen=True)
class Repeat:
    """What is to be repeated.

    Attributes:
        recipe, runs: What was run: its recipe, and the settings for each objective.
        data: The data's name, for `pyvae.data.images.load_data`; empty if the trace names a file.
        adam: The order of operations in Adam, one of `pyvae.engines.adam.ADAMS`.
        threads: The number of threads, if the trace names it.
        starts: What each run started from.
        kernels: Which PyTorch computed with, one of `pyvae.model.kernels.choice.KERNELS`.
    """

    recipe: Recipe
    runs: list[Settings]
    data: str
    adam: str
    threads: int | None
    starts: list[Start | None]
    kernels: str = "torch"


def read_repeat(folder: Path) -> Repeat:
    """Reads what to repeat from a trace, or from a folder with a trace for each objective.

    Raises:
        UserError: If there is none that is complete, or they are of different runs.
    """
    traces = load_traces(folder)
    first = traces[0]
    for trace in traces:
        alike = trace.settings.as_dict() | {"objective": ""}
        if alike != first.settings.as_dict() | {"objective": ""} or trace.recipe != first.recipe:
            raise UserError(
                f"the traces in '{folder}' differ in more than their objective",
                f"name one of them, such as '{trace.folder}'",
            )
    threads = first.environment.get("threads", "")
    name = first.data["name"]
    return Repeat(
        recipe_of(first),
        [trace.settings for trace in traces],
        name if name in DATA_NAMES else "",
        _adam_of(first),
        int(threads) if threads.isdecimal() and int(threads) > 0 else None,
        [start_of_trace(trace) for trace in traces],
        first.environment.get("kernels", "torch"),
    )


def _adam_of(trace: Trace) -> str:
    """The order of operations of a run's Adam, as its trace or its engine says; else PyTorch's."""
    own = get_abilities(trace.engine).adams
    return trace.environment.get("adam") or (own[0] if own else "torch")
