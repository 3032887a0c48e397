"""Repeating the first steps of a recorded run: are the bits still the same?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvae.data.images import DATA_NAMES, ImageData
from pyvae.engines.engine import Engine
from pyvae.engines.registry import get_abilities, open_engine
from pyvae.errors import UserError
from pyvae.files.reading import is_array_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.runs.starts import start_of_trace
from pyvae.trace.recipe import recipe_of
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress, StopTraining
from pyvae.training.inputs import load_for
from pyvae.training.loop import train

__all__ = ["Verification", "data_name", "find_traces", "verify", "verify_trace"]


@dataclass(frozen=True)
class Verification:
    """What came out when a run was repeated.

    Attributes:
        trace: What was recorded.
        steps: Steps that were repeated.
        whole: Whether that was all of them: then parameters, latent means and samples were
            compared, too.
        first: The first difference, in words; empty if every bit is the same.
        changed: Versions and threads that differ from those of the run, in words.
    """

    trace: Trace
    steps: int
    whole: bool
    first: str
    changed: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether every bit is the same."""
        return not self.first

    def __str__(self) -> str:
        what = "losses, parameters, latent means and samples" if self.whole else "losses"
        steps = f"{self.steps} of {self.trace.steps} steps run again"
        if self.same:
            return f"{steps}: every bit of the {what} is the same"
        return f"{steps}: not the same bits, {self.first}"


def verify(
    folder: Path | str,
    steps: int = 10,
    *,
    data: str | None = None,
    threads: int | None = None,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    log: Callable[[str], object] = lambda line: None,
) -> list[Verification]:
    """Repeats the first steps of every run in a folder, and compares bit by bit.

    Arguments:
        folder: A folder that `pyvae train`, `trace`, `compare` or `reproduce` wrote.
        steps: Steps to repeat; at most those that a run has. If that is all of them, parameters,
            latent means and samples are compared, too.
        data: The data's name or file, where a run does not name it.
        threads: For PyTorch and the engines; by default as many as the run had.
        callbacks: As for `pyvae.train`, for every run that is repeated.
        log: Called with a line about what is compared, and what came out.

    Returns:
        What came out, for each run.

    Raises:
        UserError: If there is no run, or one cannot be repeated.

    Example:
        >>> all(done.same for done in verify(Path("runs/conv")))  # doctest: +SKIP
        True
    """
    if steps < 1:
        raise UserError(f"--steps {steps}", expected="1 or more")
    return [_verify(one, steps, data, threads, callbacks, log) for one in find_traces(Path(folder))]


def _verify(
    trace: Trace,
    steps: int,
    data: str | None,
    threads: int | None,
    callbacks: Sequence[Callback | Callable[[Progress], object]],
    log: Callable[[str], object],
) -> Verification:
    about = trace.environment
    had = about.get("threads", "")
    threads = threads or (int(had) if had.isdecimal() else None)
    images = load_for(recipe_of(trace), data or data_name(trace), log=log)
    objective = OBJECTIVES[trace.settings.objective]
    log(f"{objective.title}: {objective.formula}")
    adam = about.get("adam") if "adam" in get_abilities(trace.engine).options else None
    device, precision = about.get("device", "cpu"), about.get("precision", "full")
    kernels = about.get("kernels", "torch")
    with open_engine(
        trace.engine, device, adam, precision, threads=threads, kernels=kernels
    ) as engine:
        done = verify_trace(trace, engine, images, steps, callbacks)
    title = f"{objective.title} in {trace.engine}"
    if done.changed:
        log(f"{title}: {'; '.join(done.changed)}")
    log(f"{title}: {done}")
    return done


def find_traces(folder: Path) -> list[Trace]:
    """The traces of a run, complete or not, in the order of the objectives.

    Arguments:
        folder: Of `pyvae train`, `trace`, `compare`, or one run of `reproduce`.

    Raises:
        UserError: If there are none, or one cannot be read.
    """
    if folder.is_file():
        raise UserError(
            f"'{folder}' is a file", "give the folder that pyvae train, trace or compare wrote"
        )
    places = [folder, *sorted(folder.glob("*")), *sorted(folder.glob("traces/*"))]
    traces = [Trace.load(path) for path in places if (path / "trace.json").is_file()]
    order = list(OBJECTIVES)
    traces.sort(key=lambda trace: order.index(trace.settings.objective))  # else as they were found
    if not traces:
        raise UserError(
            f"'{folder}' holds no run", "give a folder that pyvae train, trace or compare wrote"
        )
    return traces


def data_name(trace: Trace) -> str:
    """The name or file of a run's data, as `pyvae.data.images.load_data` takes it.

    Raises:
        UserError: If the trace names neither, or the file is gone.
    """
    name, source = trace.data["name"], str(trace.data.get("source", ""))
    if name in DATA_NAMES:
        return name
    path = source.removeprefix("file ")
    if is_array_file(path) and Path(path).is_file():
        return path
    raise UserError(f"the run's data, '{name}', is not there", "name its file with --data")


def load_run_data(trace: Trace, log: Callable[[str], object] = print) -> ImageData:
    """Loads the images that a run was trained on.

    Raises:
        UserError: If they are not there, or are others today.
    """
    data = load_for(recipe_of(trace), data_name(trace), log=log)
    _check_images(trace, data)
    return data


def verify_trace(
    trace: Trace,
    engine: Engine,
    data: ImageData,
    steps: int,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
) -> Verification:
    """Repeats the first steps of a trace, and compares bit by bit.

    Arguments:
        trace: What was recorded.
        engine: The one that computed it, as it is today.
        data: The images, as they are today.
        steps: How many; at most those that there are.
        callbacks: As for `pyvae.train`.

    Raises:
        UserError: If the trace cannot be repeated: it has no steps, followed another one, was
            computed by several processes, or the images are others.
    """
    _check(trace, data)
    run = Run(recipe_of(trace), trace.settings, data, start_of_trace(trace))
    again = Trace.of_run(run, engine)
    steps = min(steps, trace.steps)

    def stop(now: Progress) -> None:
        if now.step >= steps:
            raise StopTraining

    train(run, engine, [*callbacks, stop], trace=again)
    whole = trace.complete and steps == trace.steps
    first = _first_difference(trace, again, steps)
    if whole and not first:
        first = _difference_at_the_end(trace, again)
    return Verification(trace, steps, whole, first, _changed(trace, again))


def _check(trace: Trace, data: ImageData) -> None:
    """Raises UserError for a trace that cannot be repeated, or not on this data."""
    if not trace.steps:
        raise UserError(f"the trace in '{trace.folder}' has no steps", "choose another trace")
    if trace.mode != "free":
        raise UserError(
            f"the trace in '{trace.folder}' follows another trace step by step (mode {trace.mode})",
            "verify the trace that it follows",
        )
    if "processes" in trace.environment:
        raise UserError(
            f"the run in '{trace.folder}' was computed by {trace.environment['processes']} "
            "processes, which sum in another order than one",
            "verify a run of one process",
        )
    _check_images(trace, data)


def _check_images(trace: Trace, data: ImageData) -> None:
    """Raises UserError unless these are the images that a run was trained on."""
    found = data.describe()
    for name in ("images", "sha256"):
        if trace.data.get(name, found[name]) != found[name]:
            raise UserError(
                f"the images are not those of the run ({name} {trace.data[name]}, now "
                f"{found[name]})",
                "name the run's file with --data",
            )


def _first_difference(trace: Trace, again: Trace, steps: int) -> str:
    """The first loss that differs in a bit."""
    for step in range(steps):
        for term, name in enumerate(trace.terms):
            old, new = trace.losses[step, term], again.losses[step, term]
            if old.tobytes() != new.tobytes():
                return f"{name} of step {step + 1} was {float(old)!r}, is {float(new)!r}"
    return ""


def _difference_at_the_end(trace: Trace, again: Trace) -> str:
    """The first array of those written after the last step that differs in a bit."""
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
    """Versions and threads that differ from those of the run."""
    names = {**trace.environment, **again.environment}
    return [
        f"{name} {trace.environment.get(name, '?')}, now {again.environment.get(name, '?')}"
        for name in names
        if trace.environment.get(name) != again.environment.get(name)
    ]
