"""Reads `trace.json`, the description of a run.

The file may come from anyone: every value is checked here, and has its type from here on.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from pyvae.errors import UserError, choose, printable
from pyvae.files.reading import read_json
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.settings import Settings
from pyvae.trace.json_values import (
    json_list,
    json_name,
    json_number,
    json_object,
    json_text,
    json_texts,
    json_whole,
    shown,
)

__all__ = ["FORMAT", "RECIPE_FILE", "file_not_named", "read_about"]

RECIPE_FILE = "recipe file"  # in the environment: the SHA-256 of a user's own recipe's file

FORMAT = 4  # 1 had neither `mode` nor `probes`, 2 no `rng`, 3 no `hyper` among the settings
PROGRAMS = 5  # the format of traces of programs (pyvae.trace.program)
WHOLE = ("epochs", "steps", "batch_size", "latent_dim", "seed")
REQUIRED = [
    field.name
    for field in dataclasses.fields(Settings)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
]


def read_about(path: Path) -> dict[str, Any]:
    """Reads a `trace.json` that `Trace.save` or another program wrote.

    Returns:
        `engine`, `recipe`, `data`, `environment` (texts by name), `mode`, `probes`, `steps`,
        `complete`, `sha256` (checksums by file, empty if there are none), and `settings` as
        `Settings`. `start` is empty where a run starts from initial parameters. Names and the
        environment are `printable`.

    Raises:
        UserError: If it was written by a newer pyvae.
        OSError, ValueError, KeyError, RecursionError: If it cannot be read, or a value is missing
            or wrong.
    """
    about = json_object(read_json(path), "trace.json")
    version = about["format"]
    if type(version) is not int or version < 1:
        raise ValueError(f"format is {shown(version)}, not a whole number from 1")
    if version == PROGRAMS:
        raise UserError(
            f"trace '{path.parent}' is that of a recorded program (format {version}), not of a "
            "recipe",
            "compare it with another one: pyvae compare TRACE_A TRACE_B",
        )
    if version > FORMAT:
        raise UserError(
            f"trace '{path.parent}' has format {shown(version)}, but pyvae reads 1 to {PROGRAMS}",
            "update pyvae",
        )
    data = _data(about["data"])
    complete = about["complete"]
    if not isinstance(complete, bool):
        raise ValueError(f"complete is {shown(complete)}, not true or false")
    probes = json_list(about.get("probes", []), "probes")
    recipe = json_name(about["recipe"], "recipe")
    environment = json_texts(about["environment"], "environment")
    _check_known(path.parent, recipe, environment, about["settings"])
    try:
        settings = _settings(about["settings"])
        mode = choose("mode", json_text(about.get("mode", "free"), "mode"), ("free", "resync"))
    except UserError as error:  # it names options of the command line
        raise ValueError(str(error)) from error
    return {
        "engine": json_name(about["engine"], "engine"),
        "recipe": recipe,
        "settings": settings,
        "data": data,
        "environment": environment,
        "mode": mode,
        "probes": [json_whole(step, "a step among probes", 1) for step in probes],
        "steps": json_whole(about["steps"], "steps"),
        "complete": complete,
        "sha256": _checksums(about.get("sha256", {})),
        "start": _start(about.get("start", {})),
    }


def _data(given: object) -> dict[str, Any]:
    data = dict(json_object(given, "data"))
    data["name"] = json_name(data["name"], "data's name")
    if "images" in data:
        json_whole(data["images"], "data's images")
    if "shape" in data:
        lengths = json_list(data["shape"], "data's shape")
        data["shape"] = [json_whole(length, "data's shape", 1) for length in lengths]
        if len(lengths) != 3:
            raise ValueError(f"data's shape is {shown(lengths)}, not three numbers")
    return data


def _check_known(folder: Path, recipe: str, environment: dict[str, str], settings: object) -> None:
    """Raises UserError for a recipe of the user's own whose file was not opened: pyvae runs no file
    that a trace names."""
    objective = settings.get("objective") if isinstance(settings, dict) else None
    if RECIPE_FILE in environment and isinstance(objective, str) and objective not in OBJECTIVES:
        raise file_not_named(folder, recipe)


def file_not_named(folder: Path | None, recipe: str) -> UserError:
    """The error where a recipe of the user's own is needed, and its file was not opened."""
    return UserError(
        f"'{folder}' is of the recipe '{recipe}' of your own"
        if folder
        else f"'{recipe}' is a recipe of your own",
        "add --recipe FILE.py:NAME, the file that defines it",
    )


def _settings(given: object) -> Settings:
    values = dict(json_object(given, "settings"))
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in values:
        if name not in known:
            raise ValueError(f"unknown setting {shown(name)}")
    for name in REQUIRED:
        if name not in values:
            raise KeyError(f"settings.{name}")
    for name in WHOLE:
        if name in values and not (name == "steps" and values[name] is None):
            values[name] = json_whole(values[name], name, -math.inf)
    for name in ("objective", "dtype", "rng"):
        if name in values:
            json_text(values[name], name)
    values["learning_rate"] = float(json_number(values["learning_rate"], "learning_rate"))
    hyper = json_object(values.get("hyper", {}), "hyper")
    values["hyper"] = {name: json_number(value, name[:40]) for name, value in hyper.items()}
    return Settings(**values)


def _start(given: object) -> dict[str, Any]:
    """What a run started from, as `Start.describe` has it; empty for initial parameters."""
    start = dict(json_object(given, "start"))
    if not start:
        return {}
    start["name"] = json_name(start["name"], "start's name")
    if not re.fullmatch("[a-z]{1,20}", start["name"]):
        raise ValueError(f"start's name is {shown(start['name'])}, not a word in small letters")
    for name in ("title", "source"):
        if name in start:
            start[name] = printable(json_text(start[name], f"start's {name}"))
    if not isinstance(start["sha256"], str) or not re.fullmatch("[0-9a-f]{64}", start["sha256"]):
        raise ValueError(f"start's sha256 is {shown(start['sha256'])}")
    json_whole(start.get("taken", 0), "start's taken")
    return start


def _checksums(given: object) -> dict[str, str]:
    found = json_object(given, "sha256")
    for file, value in found.items():
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError(f"sha256 of {shown(file)} is {shown(value)}")
    return found
