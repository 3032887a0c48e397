"""Two traces on disk, made anywhere, at any time: do they belong together?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pyvae.errors import UserError
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace

__all__ = ["load_pairs"]


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
        raise UserError(", ".join(given), "choose two traces of the same objectives")
    pairs = [(traces[0][objective], traces[1][objective]) for objective in traces[0]]
    for pair in pairs:
        _check(pair, (a, b))
    return [_with_own_names(*pair) for pair in pairs]


def _load(path: Path) -> list[Trace]:
    if not path.is_dir():
        raise UserError(
            f"'{path}' is not a folder",
            "choose a folder that pyvae trace or pyvae train has written",
        )
    folders = [path]
    if not (path / "trace.json").is_file():
        folders = sorted((found.parent for found in path.glob("*/trace.json")), reverse=True)
    if not folders:
        raise UserError(
            f"'{path}' holds no trace (trace.json)",
            "record one: see pyvae trace --help",
        )
    traces = [Trace.load(folder) for folder in folders]
    for trace, folder in zip(traces, folders, strict=True):
        if not trace.complete:
            raise UserError(
                f"trace '{folder}' is incomplete: it was interrupted after {trace.steps} steps",
                "record it again",
            )
    return traces


def _check(pair: tuple[Trace, Trace], paths: tuple[Path, Path]) -> None:
    """Raises UserError unless two traces are of the same run."""

    def check_same(what: str, values: list[Any], option: str) -> None:
        if values[0] != values[1]:
            raise UserError(
                f"the traces are not of the same run: '{paths[0]}' has {what} {values[0]}, "
                f"'{paths[1]}' has {values[1]}",
                f"record one of them again with the other's {option}",
            )

    check_same("recipe", [trace.recipe for trace in pair], "recipe")
    for name in ("dtype", "batch_size", "latent_dim", "learning_rate", "seed", "rng"):
        option = "--" + name.replace("_", "-")
        values = [getattr(trace.settings, name) for trace in pair]
        check_same(option[2:].replace("-", " "), values, option)
    for name in sorted({*pair[0].settings.hyper, *pair[1].settings.hyper}):
        values = [trace.settings.hyper.get(name) for trace in pair]
        check_same(name.replace("_", " "), values, f"--set {name}=...")
    check_same("steps", [trace.steps for trace in pair], "--steps")
    for name in ("name", "images", "sha256"):
        if all(name in trace.data for trace in pair):
            what = {"name": "data", "images": "images", "sha256": "pixels with checksum"}[name]
            check_same(what, [trace.data[name] for trace in pair], "--data")
    get_recipe(pair[0].recipe)
    for trace, path in zip(pair, paths, strict=True):
        absent = {"training", "evaluation"} - set(trace.latent_means)
        if absent:
            raise UserError(
                f"'{path}' has no latent means in {' and '.join(sorted(absent))} mode",
                "record all that docs/trace-format.md lists",
            )


def _with_own_names(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    """Two traces of one engine get names of their own."""
    if a.engine != b.engine:
        return a, b
    return replace(a, engine=f"{a.engine} (A)"), replace(b, engine=f"{b.engine} (B)")
