"""Two traces on disk, made anywhere, at any time: do they belong together?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pyvae.errors import UserError
from pyvae.model.start import start_name
from pyvae.trace.recipe import recipe_of
from pyvae.trace.trace import Trace
from pyvae.trace.trace_folder import check_folder

__all__ = ["load_pairs", "pair_up"]


def load_pairs(a: Path, b: Path) -> list[tuple[Trace, Trace]]:
    """Loads the traces of two folders and pairs them by objective.

    Arguments:
        a, b: Each a trace's own folder, or one with a trace for each objective.

    Raises:
        UserError: If one cannot be read, is not complete, or they are not of the same run.
    """
    traces = [{trace.settings.objective: trace for trace in _load(path)} for path in (a, b)]
    if traces[0].keys() != traces[1].keys():
        given = [
            f"'{path}' has {' and '.join(found)}"
            for path, found in zip((a, b), traces, strict=True)
        ]
        raise UserError(", ".join(given), "choose two traces of the same objectives")
    pairs = [(traces[0][objective], traces[1][objective]) for objective in traces[0]]
    return [_checked(pair, (f"'{a}'", f"'{b}'")) for pair in pairs]


def pair_up(a: Trace | Path | str, b: Trace | Path | str) -> tuple[Trace, Trace]:
    """Two traces of the same run, from memory or from their folders.

    Raises:
        UserError: As `load_pairs`; or if a folder has traces of several objectives.
    """
    traces, names = [], []
    for one in (a, b):
        if isinstance(one, Trace):
            found, name = [one], f"the trace of {one.engine}"
        else:
            found, name = _load(Path(one)), f"'{one}'"
        if len(found) > 1:
            objectives = [trace.settings.objective for trace in found]
            raise UserError(
                f"{name} has traces of {' and '.join(objectives)}",
                f"choose one of them, such as '{Path(str(one)) / objectives[0]}'",
            )
        traces += found
        names.append(name)
    return _checked((traces[0], traces[1]), (names[0], names[1]))


def _load(path: Path) -> list[Trace]:
    check_folder(path)
    folders = [path]
    if not (path / "trace.json").is_file():
        folders = sorted((found.parent for found in path.glob("*/trace.json")), reverse=True)
    if not folders:
        raise UserError(
            f"'{path}' holds no trace: there is no trace.json in it",
            "record a run with pyvae trace, or a program of your own with pyvae record",
        )
    return [Trace.load(folder) for folder in folders]


def _checked(pair: tuple[Trace, Trace], names: tuple[str, str]) -> tuple[Trace, Trace]:
    """Two traces of the same run, under names of their own.

    Arguments:
        pair: The traces.
        names: What they are called in an error.

    Raises:
        UserError: If they are not of the same run, or one is not complete.
    """
    for trace, name in zip(pair, names, strict=True):
        if not trace.complete:
            where = name if trace.folder is None else f"trace '{trace.folder}'"
            raise UserError(
                f"{where} is incomplete: it was interrupted after {trace.steps} steps",
                "record it again",
            )

    def check_same(what: str, values: list[Any], option: str) -> None:
        if values[0] != values[1]:
            raise UserError(
                f"the traces are not of the same run: {names[0]} has {what} {values[0]}, "
                f"{names[1]} has {values[1]}",
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
    checksums = [trace.start.get("sha256") for trace in pair]
    if checksums[0] != checksums[1]:
        starts = [start_name(trace.start) for trace in pair]
        check_same("start", starts, "--start")
        check_same("a start with checksum", checksums, "--start")
    recipe_of(pair[0])
    for trace, name in zip(pair, names, strict=True):
        absent = {"training", "evaluation"} - set(trace.latent_means)
        if absent:
            raise UserError(
                f"{name} has no latent means in {' and '.join(sorted(absent))} mode",
                "record all that docs/reference/trace-format.md lists",
            )
    return _with_own_names(*pair)


def _with_own_names(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    """Two traces of one engine get names of their own."""
    if a.engine != b.engine:
        return a, b
    return replace(a, engine=f"{a.engine} (A)"), replace(b, engine=f"{b.engine} (B)")
