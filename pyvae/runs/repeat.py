"""Doing again, in another engine, what a trace says was run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyvae.data.images import DATA_NAMES
from pyvae.engines.registry import get_abilities
from pyvae.errors import UserError
from pyvae.model.settings import Settings
from pyvae.recipes import Recipe, get_recipe
from pyvae.runs.trained import load_traces
from pyvae.trace.trace import Trace

__all__ = ["Repeat", "repeat_of"]


@dataclass(frozen=True)
class Repeat:
    """What is to be done again.

    Attributes:
        recipe, runs: What was run, a run for each objective.
        data: The images' name, for `pyvae.data.images.load_data`; empty if the trace names a file.
        adam: Whose order of operations Adam had, one of `pyvae.engines.adam.ADAMS`.
        threads: On how many threads, if the trace says so.
    """

    recipe: Recipe
    runs: list[Settings]
    data: str
    adam: str
    threads: int | None


def repeat_of(folder: Path) -> Repeat:
    """Reads what to do again from a trace, or a folder with a trace for each objective.

    Raises:
        UserError: If there is none that is complete, or they are of different runs.
    """
    traces = load_traces(folder)
    first = traces[0]
    for trace in traces:
        alike = trace.settings.as_dict() | {"objective": ""}
        if alike != first.settings.as_dict() | {"objective": ""} or trace.recipe != first.recipe:
            raise UserError(
                f"the traces in '{folder}' are of different runs",
                f"name one of them: {trace.folder}",
                expected="traces that differ in nothing but the objective",
            )
    threads = first.environment.get("threads", "")
    name = first.data["name"]
    return Repeat(
        get_recipe(first.recipe),
        [trace.settings for trace in traces],
        name if name in DATA_NAMES else "",
        _adam_of(first),
        int(threads) if threads.isdecimal() and int(threads) > 0 else None,
    )


def _adam_of(trace: Trace) -> str:
    """The order of operations of a run's Adam, as its trace or its engine says; else PyTorch's."""
    own = get_abilities(trace.engine).adams
    return trace.environment.get("adam") or (own[0] if own else "torch")
