"""Two traces on disk, made anywhere, at any time: do they belong together, and do they agree?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import is_normalised, probe_rule
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.runs.after_training import AFTER_TRAINING, part_after_training
from comparisons.runs.comparison import Comparison, compare_traces
from comparisons.runs.rounding import Watcher, measure_rounding, rounding_note
from comparisons.stages.compare import compare_probes
from pyvae.data.images import DATA_NAMES, ImageData, load_data
from pyvae.engines.adam import ADAMS
from pyvae.errors import UserError, choose
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["compare_saved", "load_pairs"]

Watch = Callable[[str, Settings], AbstractContextManager[Watcher]]
MOST_STEPS = 2000  # of a run that is made again to measure rounding
RESYNCHRONISED = (
    "every step was begun from the same state: what an optimiser keeps to itself (AMSGrad's "
    "maximum) shows only in free runs; compare two of them as well"
)


def load_pairs(a: Path, b: Path) -> list[tuple[Trace, Trace]]:
    """Loads the traces of two folders (each a trace's own, or one with a trace per objective) and
    pairs them by objective, after checking that they are of the same run.

    Raises:
        UserError: If one cannot be read, is not complete, or they do not belong together.
    """
    traces = [{trace.settings.objective: trace for trace in _load(path)} for path in (a, b)]
    if traces[0].keys() != traces[1].keys():
        given = [
            f"'{path}' has {' and '.join(found)}"
            for path, found in zip((a, b), traces, strict=True)
        ]
        raise UserError(", ".join(given), expected="two traces of the same objectives")
    pairs = [(traces[0][objective], traces[1][objective]) for objective in traces[0]]
    for pair in pairs:
        _check(pair, (a, b))
    return [_told_apart(*pair) for pair in pairs]


def _load(path: Path) -> list[Trace]:
    if not path.is_dir():
        raise UserError(
            f"'{path}' is no folder", expected="a trace that pyvae trace or pyvae train wrote"
        )
    folders = [path]
    if not (path / "trace.json").is_file():
        folders = sorted((found.parent for found in path.glob("*/trace.json")), reverse=True)
    if not folders:
        raise UserError(
            f"'{path}' holds no trace",
            "see pyvae trace --help",
            expected="a folder with trace.json",
        )
    traces = [Trace.load(folder) for folder in folders]
    for trace, folder in zip(traces, folders, strict=True):
        if not trace.complete:
            raise UserError(
                f"trace '{folder}' was interrupted after {trace.steps} steps",
                "write it again",
                expected="a complete trace",
            )
    return traces


def _check(pair: tuple[Trace, Trace], paths: tuple[Path, Path]) -> None:
    """Raises UserError unless two traces are of the same run."""

    def differs(what: str, values: list[Any], remedy: str) -> None:
        if values[0] != values[1]:
            raise UserError(
                f"'{paths[0]}' has {what} {values[0]}, '{paths[1]}' has {values[1]}",
                remedy,
                expected="two traces of the same run",
            )

    again = "write one of them again with the other's"
    differs("recipe", [trace.recipe for trace in pair], f"{again} recipe")
    for name in ("dtype", "batch_size", "latent_dim", "learning_rate", "seed", "rng"):
        option = "--" + name.replace("_", "-")
        values = [getattr(trace.settings, name) for trace in pair]
        differs(option[2:].replace("-", " "), values, f"{again} {option}")
    for name in sorted({*pair[0].settings.hyper, *pair[1].settings.hyper}):
        values = [trace.settings.hyper.get(name) for trace in pair]
        differs(name.replace("_", " "), values, f"{again} --set {name}=...")
    differs("steps", [trace.steps for trace in pair], f"{again} --steps")
    for name in ("name", "images", "sha256"):
        if all(name in trace.data for trace in pair):
            what = {"name": "data", "images": "images", "sha256": "pixels with checksum"}[name]
            differs(what, [trace.data[name] for trace in pair], f"{again} --data")
    get_recipe(pair[0].recipe)
    for trace, path in zip(pair, paths, strict=True):
        absent = {"training", "evaluation"} - set(trace.latent_means)
        if absent:
            raise UserError(
                f"'{path}' has no latent means in {' and '.join(sorted(absent))} mode",
                expected="all that docs/trace-format.md lists",
            )


def _told_apart(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    """Two traces of one engine get names of their own."""
    if a.engine != b.engine:
        return a, b
    return replace(a, engine=f"{a.engine} (A)"), replace(b, engine=f"{b.engine} (B)")


def compare_saved(
    a: Trace, b: Trace, exact: bool = False, watch: Watch | None = None
) -> Comparison:
    """Compares two traces, step by step where both were probed.

    Where they disagree and no probed step says why, it is measured how far rounding alone drives
    such a run (PyTorch makes it again, three times), if its images can be had.

    Arguments:
        a, b: The traces.
        exact: Every bit has to be equal.
        watch: Gives a context manager that shows the progress of what is named; None: nothing
            is shown.

    Raises:
        UserError: If a probe cannot be read, or lacks a stage.
    """
    comparison = compare_traces(a, b, exact)
    stages: list[StageAgreement] = []
    divergence = None
    previous: tuple[int, tuple[Probe, Probe]] | None = None
    for step, probes in _probes(a, b):
        found = _compare_step(a, b, step, probes, previous, exact)
        stages += found[0]
        divergence = divergence or found[1]
        previous = (step, probes)
    comparison = replace(comparison, mode=_mode(a, b), stages=stages, divergence=divergence)
    if divergence is not None:
        return comparison
    if comparison.agrees:
        data = _images(a, b)
        recipe = get_recipe(a.recipe)
        after = None if data is None else part_after_training(a, b, recipe, data, exact, judge=True)
        note = RESYNCHRONISED if comparison.mode == "resync" and after is None else ""
        return replace(comparison, divergence=after, note=note)
    return _placed(comparison, watch or _unwatched, stages)


def _placed(comparison: Comparison, watch: Watch, stages: Sequence[StageAgreement]) -> Comparison:
    """What disagrees and no probed step says why: computed again from the traces' own parameters
    or held against what rounding makes, where the images can be had; else what to do."""
    a, b = comparison.under_test, comparison.reference
    recipe, data = get_recipe(a.recipe), _images(a, b)
    if data is not None:
        after = part_after_training(a, b, recipe, data, comparison.exact)
        if after is not None and comparison.disagreeing() <= AFTER_TRAINING:
            return replace(comparison, divergence=after)
    where = _where_to_look(comparison, stages)
    other = set(a.parameters) != set(b.parameters)
    if data is None or comparison.exact or comparison.mode == "resync" or other:
        return replace(comparison, note=where)
    if a.steps > MOST_STEPS:
        long = f"how far rounding goes is measured for runs of up to {MOST_STEPS:,} steps"
        return replace(comparison, note=f"{where}; {long}")
    try:
        adam = a.environment.get("adam", "torch")
        settings = replace(a.settings, steps=a.steps)
        rounding = measure_rounding(recipe, settings, data, watch, choose("adam", adam, ADAMS))
    except (UserError, RuntimeError):  # it diverges, or its generator is not there
        return replace(comparison, note=where)
    said = rounding_note(rounding, comparison)
    if rounding.beyond(comparison):
        said = f"{where}; {said.removeprefix('but ')}"
    return replace(comparison, note=said)


def _images(a: Trace, b: Trace) -> ImageData | None:
    """What two traces were computed on, if it is data that has a name and can be had; a file that
    a trace of others names is not opened."""
    name = a.data["name"]
    if name not in DATA_NAMES or name == "auto":
        return None
    try:
        data = load_data(name)
    except UserError:
        return None
    said = [trace.data.get("sha256", data.checksum) for trace in (a, b)]
    count = [trace.data.get("images", len(data)) for trace in (a, b)]
    return data if said == [data.checksum] * 2 and count == [len(data)] * 2 else None


def _where_to_look(comparison: Comparison, stages: Sequence[StageAgreement]) -> str:
    """What to do where two traces disagree and no step that was probed says why."""
    a, b = comparison.under_test, comparison.reference
    alone = sorted(set(a.parameters) ^ set(b.parameters))
    if alone:
        side = a if alone[0] in a.parameters else b
        return (
            f"{alone[0]} is a parameter of {side.engine} alone: give both networks the same "
            "parameters under the same names, then write both traces again"
        )
    rule = comparison.quantities["loss"].rule
    apart = [
        step
        for step, pair in enumerate(zip(a.losses, b.losses, strict=False), start=1)
        if not np.allclose(*pair, rtol=rule.rtol, atol=0)
    ]
    agreed = max((stage.step for stage in stages), default=0)
    first = apart[0] if apart else a.steps
    after = [step for step in (agreed + 1,) if step < first]
    steps = f"{after[0]}-{first}" if after else str(first)
    where = f"the losses part at step {first}" if apart else "the losses agree in every step"
    return (
        f"{where}, and what was probed does not say why; to find the stage, write both traces "
        f"again with --probe {steps}"
    )


class _Unwatched:
    def observe(self, progress: Progress) -> None:
        """Shows nothing."""


@contextmanager
def _unwatched(name: str, settings: Settings) -> Iterator[Watcher]:
    yield _Unwatched()


def _mode(a: Trace, b: Trace) -> str:
    return "resync" if "resync" in (a.mode, b.mode) else "free"


def _probes(
    a: Trace, b: Trace, steps: Collection[int] | None = None
) -> Iterator[tuple[int, tuple[Probe, Probe]]]:
    """The probes of every step that both traces have, or of these alone, one step at a time."""
    recipe = get_recipe(a.recipe)
    wanted = [quantity.key for quantity in recipe.quantities(a.settings)]
    terms = [stage.name for stage in recipe.stages if stage.is_term]
    both = set(a.probed) & set(b.probed)
    for step in sorted(both if steps is None else both & set(steps)):
        probes = a.probe(step), b.probe(step)
        for trace, probe in zip((a, b), probes, strict=True):
            missing = [key for key in wanted if key not in probe]
            if missing:
                raise UserError(
                    f"trace '{trace.folder}' lacks {len(missing)} of {len(wanted)} entries in its "
                    f"probe of step {step}, the first {missing[0]}",
                    "write it again",
                    expected="all that docs/trace-format.md lists",
                )
            for name in terms:  # R has no numbers without a dimension
                value = probe[f"forward/{name}"]
                probe[f"forward/{name}"] = value.reshape(()) if value.size == 1 else value
        yield step, probes


def _compare_step(
    a: Trace,
    b: Trace,
    step: int,
    probes: tuple[Probe, Probe],
    previous: tuple[int, tuple[Probe, Probe]] | None,
    exact: bool,
) -> tuple[list[StageAgreement], Divergence | None]:
    recipe, settings = get_recipe(a.recipe), a.settings
    resync = _mode(a, b) == "resync"
    normalised = is_normalised(recipe.stages)
    rule = probe_rule(settings.dtype, step, resync, exact, normalised)
    agreements = compare_probes(*probes, recipe, settings, step, rule)
    before = previous[1] if previous is not None and previous[0] == step - 1 else None
    names = (a.engine, b.engine)

    def following() -> tuple[Probe, Probe] | None:
        return next((both for _, both in _probes(a, b, {step + 1})), None)

    return agreements, first_divergence(
        agreements, probes, names, recipe, settings, before, resync,
        (a.environment, b.environment), following,
    )  # fmt: skip
