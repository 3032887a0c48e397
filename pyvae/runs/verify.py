"""Running again the first steps of a run that was written down: do the bits still come out?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvae.data.images import DATA_NAMES, ImageData
from pyvae.engines.engine import Engine
from pyvae.errors import UserError
from pyvae.files.reading import is_array_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress, StopTraining
from pyvae.training.loop import train

__all__ = ["Verification", "data_of", "traces_of", "verify"]


@dataclass(frozen=True)
class Verification:
    """What came out.

    Attributes:
        trace: What was written down.
        steps: How many were run again.
        whole: Whether that was all of them: then parameters, latent means and samples were held
            against what was written, too.
        first: The first difference, in words; empty if every bit is the same.
        changed: In what versions and threads are others than they were, in words.
    """

    trace: Trace
    steps: int
    whole: bool
    first: str
    changed: Sequence[str]

    @property
    def same(self) -> bool:
        return not self.first

    def __str__(self) -> str:
        what = "losses, parameters, latent means and samples" if self.whole else "losses"
        steps = f"{self.steps} of {self.trace.steps} steps run again"
        if self.same:
            return f"{steps}: every bit of the {what} is the same"
        return f"{steps}: not the same bits, {self.first}"


def traces_of(run: Path) -> list[Trace]:
    """The traces of a run: of `pyvae train`, `trace`, `compare` or one run of `reproduce`, in the
    order of the objectives.

    Raises:
        UserError: If there are none, or one cannot be read.
    """
    if run.is_file():
        raise UserError(
            f"'{run}' is a file",
            "give the folder that pyvae train, trace or compare wrote",
        )
    places = [run, *(path for path in sorted(run.glob("*"))), *sorted(run.glob("traces/*"))]
    traces = [Trace.load(path) for path in places if (path / "trace.json").is_file()]
    order = list(OBJECTIVES)
    traces.sort(key=lambda trace: order.index(trace.settings.objective))  # else as they were found
    if not traces:
        raise UserError(
            f"'{run}' holds no run",
            "see pyvae verify --help",
            expected="a folder of pyvae train, trace or compare",
        )
    return traces


def data_of(trace: Trace, given: str | None) -> str:
    """The images' name, as `pyvae.data.images.load_data` takes it.

    Raises:
        UserError: If the trace does not say it, and it is not given.
    """
    if given is not None:
        return given
    name, source = trace.data["name"], str(trace.data.get("source", ""))
    if name in DATA_NAMES:
        return name
    path = source.removeprefix("file ")
    if is_array_file(path) and Path(path).is_file():
        return path
    raise UserError(
        f"the run was on '{name}', which is not there", "give it by --data", expected="its file"
    )


def verify(
    trace: Trace,
    engine: Engine,
    data: ImageData,
    steps: int,
    observe: Callable[[Progress], object] | None = None,
) -> Verification:
    """Runs the first steps of a trace again, and compares bit by bit.

    Arguments:
        trace: What was written down.
        engine: The one that computed it, as it is today.
        data: The images, as they are today.
        steps: How many; as many as there are, if they are fewer.
        observe: Called after every step.

    Raises:
        UserError: If the trace cannot be run again: it has no steps, followed another one, was
            computed by several processes, or the images are others.
    """
    if not trace.steps:
        raise UserError(f"the trace in '{trace.folder}' has no steps", expected="one step or more")
    if trace.mode != "free":
        raise UserError(
            f"the trace in '{trace.folder}' follows another one step by step (mode {trace.mode})",
            expected="a run of its own",
        )
    if "processes" in trace.environment:
        raise UserError(
            f"the run in '{trace.folder}' is of {trace.environment['processes']} processes",
            expected="a run of one process: over several, sums have another order",
        )
    found = data.describe()
    for name in ("images", "sha256"):
        if trace.data.get(name, found[name]) != found[name]:
            raise UserError(
                f"the images are others than those of the run ({name} {trace.data[name]}, now "
                f"{found[name]})",
                "give their file by --data",
                expected=f"the same {trace.data['name']}",
            )
    recipe = get_recipe(trace.recipe)
    again = Trace.of_run(Run(recipe, trace.settings, data), engine)
    steps = min(steps, trace.steps)

    def on_step(now: Progress) -> None:
        if observe is not None:
            observe(now)
        if now.step >= steps:
            raise StopTraining

    train(Run(recipe, trace.settings, data), engine, [on_step], trace=again)
    whole = trace.complete and steps == trace.steps
    first = _first_difference(trace, again, steps)
    if whole and not first:
        first = _difference_at_the_end(trace, again)
    return Verification(trace, steps, whole, first, _changed(trace, again))


def _first_difference(trace: Trace, again: Trace, steps: int) -> str:
    """The first loss with another bit."""
    for step in range(steps):
        for term, name in enumerate(trace.terms):
            old, new = trace.losses[step, term], again.losses[step, term]
            if old.tobytes() != new.tobytes():
                return f"{name} of step {step + 1} was {float(old)!r}, is {float(new)!r}"
    return ""


def _difference_at_the_end(trace: Trace, again: Trace) -> str:
    """The first of what is written after the last step with another bit."""
    for kind, old, new in (
        ("parameter", trace.parameters, again.parameters),
        ("latent means, mode", trace.latent_means, again.latent_means),
        ("samples", {"": trace.samples}, {"": again.samples}),
    ):
        for name in {**old, **new}:
            if not _same(old.get(name), new.get(name)):
                return f"{kind} {name}".strip()
    return ""


def _same(old: NDArray | None, new: NDArray | None) -> bool:
    if old is None or new is None:
        return old is new
    return (
        old.dtype == new.dtype
        and old.shape == new.shape
        and np.ascontiguousarray(old).tobytes() == np.ascontiguousarray(new).tobytes()
    )


def _changed(trace: Trace, again: Trace) -> list[str]:
    """Versions and threads that are others than they were."""
    names = {**trace.environment, **again.environment}
    return [
        f"{name} {trace.environment.get(name, '?')}, now {again.environment.get(name, '?')}"
        for name in names
        if trace.environment.get(name) != again.environment.get(name)
    ]
