"""Two traces on disk, made anywhere, at any time: do they belong together, and do they agree?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from comparisons.agreement import is_normalised, probe_rule
from comparisons.comparison import Comparison, compare_traces
from comparisons.localisation import Divergence, first_divergence
from comparisons.probes import compare_probes
from comparisons.stage_agreement import StageAgreement
from pyvae.errors import UserError
from pyvae.recipes import get_recipe
from pyvae.stages import Probe
from pyvae.trace import Trace

__all__ = ["compare_saved", "load_pairs"]


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
        raise UserError(", ".join(given), "two traces of the same objectives")
    pairs = [(traces[0][objective], traces[1][objective]) for objective in traces[0]]
    for pair in pairs:
        _check(pair, (a, b))
    return [_told_apart(*pair) for pair in pairs]


def _load(path: Path) -> list[Trace]:
    if not path.is_dir():
        raise UserError(f"'{path}' is no folder", "a trace that pyvae trace or pyvae train wrote")
    folders = [path]
    if not (path / "trace.json").is_file():
        folders = sorted((found.parent for found in path.glob("*/trace.json")), reverse=True)
    if not folders:
        raise UserError(
            f"'{path}' holds no trace", "a folder with trace.json", "see pyvae trace --help"
        )
    traces = [Trace.load(folder) for folder in folders]
    for trace, folder in zip(traces, folders, strict=True):
        if not trace.complete:
            raise UserError(
                f"trace '{folder}' was interrupted after {trace.steps} steps",
                "a complete trace",
                "write it again",
            )
    return traces


def _check(pair: tuple[Trace, Trace], paths: tuple[Path, Path]) -> None:
    """Raises UserError unless two traces are of the same run."""

    def differs(what: str, values: list[Any], remedy: str) -> None:
        if values[0] != values[1]:
            raise UserError(
                f"'{paths[0]}' has {what} {values[0]}, '{paths[1]}' has {values[1]}",
                "two traces of the same run",
                remedy,
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
                "all that docs/trace-format.md lists",
            )


def _told_apart(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    """Two traces of one engine get names of their own."""
    if a.engine != b.engine:
        return a, b
    return replace(a, engine=f"{a.engine} (A)"), replace(b, engine=f"{b.engine} (B)")


def compare_saved(a: Trace, b: Trace, exact: bool = False) -> Comparison:
    """Compares two traces, step by step where both were probed.

    Arguments:
        a, b: The traces.
        exact: Every bit has to be equal.

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
    note = "" if divergence is not None else _where_to_look(comparison, stages)
    return replace(comparison, mode=_mode(a, b), stages=stages, divergence=divergence, note=note)


def _where_to_look(comparison: Comparison, stages: Sequence[StageAgreement]) -> str:
    """What to do where two traces disagree and no step that was probed says why."""
    if comparison.agrees:
        return ""
    a, b = comparison.under_test, comparison.reference
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


def _mode(a: Trace, b: Trace) -> str:
    return "resync" if "resync" in (a.mode, b.mode) else "free"


def _probes(a: Trace, b: Trace) -> Iterator[tuple[int, tuple[Probe, Probe]]]:
    """The probes of every step that both traces have, one step at a time."""
    recipe = get_recipe(a.recipe)
    wanted = [quantity.key for quantity in recipe.quantities(a.settings)]
    terms = [stage.name for stage in recipe.stages if stage.is_term]
    for step in sorted(set(a.probed) & set(b.probed)):
        probes = a.probe(step), b.probe(step)
        for trace, probe in zip((a, b), probes, strict=True):
            missing = [key for key in wanted if key not in probe]
            if missing:
                raise UserError(
                    f"trace '{trace.folder}' lacks {len(missing)} of {len(wanted)} entries in its "
                    f"probe of step {step}, the first {missing[0]}",
                    "all that docs/trace-format.md lists",
                    "write it again",
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
    return agreements, first_divergence(agreements, probes, names, recipe, settings, before, resync)
