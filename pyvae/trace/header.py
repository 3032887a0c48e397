"""Reads `trace.json`, the description of a run.

The file may come from anyone: every value is checked here, and has its type from here on. The
checks are written by hand, not with pydantic, which collects an error for every wrong value: a
hostile file would take more memory than `pyvae.files.reading` allows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

from pyvae.errors import UserError, choose, printable
from pyvae.files.reading import read_json
from pyvae.model.settings import Settings

__all__ = ["FORMAT", "read_about"]

FORMAT = 4  # 1 had neither `mode` nor `probes`, 2 no `rng`, 3 no `hyper` among the settings
LONGEST_NAME = 1000
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
        `Settings`. Names and the environment are `printable`.

    Raises:
        UserError: If it was written by a newer pyvae.
        OSError, ValueError, KeyError, RecursionError: If it cannot be read, or a value is missing
            or wrong.
    """
    about = _object(read_json(path), "trace.json")
    version = about["format"]
    if type(version) is not int or version < 1:
        raise ValueError(f"format is {_shown(version)}, not a whole number from 1")
    if version > FORMAT:
        raise UserError(
            f"trace '{path.parent}' has format {_shown(version)}, but pyvae reads 1 to {FORMAT}",
            "update pyvae",
        )
    data = _object(about["data"], "data")
    data = data | {"name": _name(data["name"], "data's name")}
    if "images" in data:
        _whole(data["images"], "data's images")
    complete = about["complete"]
    if not isinstance(complete, bool):
        raise ValueError(f"complete is {_shown(complete)}, not true or false")
    probes = about.get("probes", [])
    if not isinstance(probes, list):
        raise ValueError(f"probes is {_shown(probes)}, not a list")
    try:
        settings = _settings(about["settings"])
        mode = choose("mode", _text(about.get("mode", "free"), "mode"), ("free", "resync"))
    except UserError as error:  # it names options of the command line
        raise ValueError(str(error)) from error
    return {
        "engine": _name(about["engine"], "engine"),
        "recipe": _name(about["recipe"], "recipe"),
        "settings": settings,
        "data": data,
        "environment": _texts(about["environment"], "environment"),
        "mode": mode,
        "probes": [_whole(step, "a step among probes", 1) for step in probes],
        "steps": _whole(about["steps"], "steps"),
        "complete": complete,
        "sha256": _checksums(about.get("sha256", {})),
    }


def _settings(given: object) -> Settings:
    values = dict(_object(given, "settings"))
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in values:
        if name not in known:
            raise ValueError(f"unknown setting {_shown(name)}")
    for name in REQUIRED:
        if name not in values:
            raise KeyError(f"settings.{name}")
    for name in WHOLE:
        if name in values and not (name == "steps" and values[name] is None):
            values[name] = _whole(values[name], name, -math.inf)
    for name in ("objective", "dtype", "rng"):
        if name in values:
            _text(values[name], name)
    values["learning_rate"] = float(_number(values["learning_rate"], "learning_rate"))
    hyper = _object(values.get("hyper", {}), "hyper")
    values["hyper"] = {name: _number(value, name[:40]) for name, value in hyper.items()}
    return Settings(**values)


def _checksums(given: object) -> dict[str, str]:
    found = _object(given, "sha256")
    for file, value in found.items():
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError(f"sha256 of {_shown(file)} is {_shown(value)}")
    return found


def _texts(given: object, name: str) -> dict[str, str]:
    """Checks texts by name; R writes a number as a number."""
    found = {}
    for key, value in _object(given, name).items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"{name}'s {_shown(key)} is {_shown(value)}, not text")
        found[printable(key)] = printable(value if isinstance(value, str) else json.dumps(value))
    return found


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}, not an object")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, not text")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"{name} has {len(value)} characters, more than {LONGEST_NAME}")
    return value


def _name(value: object, name: str) -> str:
    """Checks a name and makes it printable: it is shown in lines, titles, tables and figures."""
    return printable(_text(value, name))


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= 2**1000:
        raise ValueError(f"{name} is {_shown(value)}, not a number")
    return value


def _whole(value: object, name: str, least: float = 0) -> int:
    number = _number(value, name)
    if number % 1 or not least <= number < 2**63:
        raise ValueError(f"{name} is {_shown(value)}, not a whole number in its range")
    return int(number)


def _shown(value: object) -> str:
    """Returns a value as it is written in the file, cut to 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
