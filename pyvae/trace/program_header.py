"""Reads and writes the `trace.json` of a program's trace (format 5).

The file may come from anyone: every value is checked here, and has its type from here on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyvae.errors import UserError
from pyvae.files.reading import MOST_JSON, read_json
from pyvae.files.writing import write_file
from pyvae.trace.json_values import (
    json_list,
    json_name,
    json_number,
    json_object,
    json_texts,
    json_whole,
    shown,
)

__all__ = [
    "PROGRAM_FORMAT",
    "json_option",
    "option_value",
    "read_program_header",
    "write_program_header",
]

PROGRAM_FORMAT = 5
DEEPEST = 4  # of lists within options
INFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def read_program_header(path: Path) -> dict[str, Any]:
    """Reads the description of a recorded program.

    Returns:
        The fields of `pyvae.trace.program.ProgramTrace`, with the arguments of its parameters,
        stages, optimisers and steps as plain values. Names are printable.

    Raises:
        OSError, ValueError, KeyError, RecursionError: If it cannot be read, or a value is missing
            or wrong.
    """
    about = json_object(read_json(path), "trace.json")
    if about["format"] != PROGRAM_FORMAT:
        raise ValueError(f"format is {shown(about['format'])}, not {PROGRAM_FORMAT}")
    complete = about.get("complete", True)
    if not isinstance(complete, bool):
        raise ValueError(f"complete is {shown(complete)}, not true or false")
    networks = [
        [_stage(one) for one in json_list(network, "a network")]
        for network in json_list(about["networks"], "networks")
    ]
    parameters = [_parameter(one) for one in json_list(about["parameters"], "parameters")]
    steps = [_step(one, len(networks)) for one in json_list(about["steps"], "steps")]
    index_base = json_whole(about.get("index_base", 0), "index_base")
    if index_base > 1:
        raise ValueError(f"index_base is {index_base}, not 0 or 1")
    for network in networks:
        _check_edges(network, parameters)
    numbers = [one["step"] for one in steps]
    if numbers != sorted(set(numbers)):
        raise ValueError("the steps do not increase")
    return {
        "engine": json_name(about["engine"], "engine"),
        "language": json_name(about.get("language", ""), "language"),
        "index_base": index_base,
        "program": json_name(about.get("program", ""), "program"),
        "environment": json_texts(about.get("environment", {}), "environment"),
        "parameters": parameters,
        "networks": networks,
        "steps": steps,
        "complete": complete,
        "ended": json_name(about.get("ended", ""), "ended"),
    }


def write_program_header(path: Path, about: Mapping[str, Any]) -> None:
    """Writes the description of a recorded program, a line for each parameter, stage and step.

    Arguments:
        path: Of the file.
        about: The fields in their order; `parameters`, `networks` and `steps` as plain values.

    Raises:
        UserError: If it cannot be written, or nothing could read it.
    """
    networks = ",\n".join(map(_lines, about["networks"]))
    lines = {
        "parameters": _lines(about["parameters"]),
        "networks": f"[{networks}]",
        "steps": _lines(about["steps"]),
    }
    text = {"format": _json(PROGRAM_FORMAT)}
    text |= {name: lines[name] if name in lines else _json(about[name]) for name in about}
    fields = ",\n".join(f' "{name}": {value}' for name, value in text.items())
    content = f"{{\n{fields}\n}}\n".encode()
    if len(content) > MOST_JSON:
        raise UserError(
            f"'{path.name}' can have {MOST_JSON / 2**20:g} MiB; to list {len(about['steps']):,} "
            f"steps of {len(about['networks']):,} different networks takes more",
            "record fewer steps: every=10 records each tenth",
        )
    write_file(path, content)


def _json(value: object) -> str:
    # not indented: Python's own encoder, many times slower, would write it
    return json.dumps(value, allow_nan=False)


def _lines(values: Iterable[Mapping[str, Any]]) -> str:
    lines = ",\n".join(f"  {_json(value)}" for value in values)
    return f"[\n{lines}\n ]" if lines else "[]"


def json_option(value: Any) -> Any:
    """Returns an option as JSON has it: numbers that are not finite as texts."""
    if isinstance(value, list | tuple):
        return [json_option(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    return value


def _stage(given: object) -> dict[str, Any]:
    stage = json_object(given, "a stage")
    training = stage.get("training", True)
    if not isinstance(training, bool):
        raise ValueError(f"training is {shown(training)}, not true or false")
    roles = json_object(stage.get("parameters", {}), "a stage's parameters")
    return {
        "name": json_name(stage["name"], "a stage's name"),
        "layer": json_name(stage["layer"], "a stage's layer"),
        "inputs": _names(stage.get("inputs", []), "inputs"),
        "options": {
            json_name(key, "an option"): option_value(value, key[:40])
            for key, value in json_object(stage.get("options", {}), "options").items()
        },
        "parameters": {
            json_name(role, "a role"): json_name(name, "a parameter")
            for role, name in roles.items()
        },
        "outputs": _names(stage.get("outputs", []), "outputs"),
        "training": training,
    }


def _names(given: object, what: str) -> tuple[str, ...]:
    return tuple(json_name(name, what) for name in json_list(given, what))


def option_value(value: object, name: str, depth: int = 0) -> Any:
    """Checks the value of an option: a number, text, true, false, null or a list of these. `inf`,
    `-inf` and `nan`, which JSON lacks, are given as texts and become numbers."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return INFINITE[value] if value in INFINITE else json_name(value, name)
    if isinstance(value, list):
        if depth >= DEEPEST:
            raise ValueError(f"{name} has lists within lists, more than {DEEPEST} deep")
        return [option_value(one, name, depth + 1) for one in value]
    return json_number(value, name)


def _parameter(given: object) -> dict[str, Any]:
    one = json_object(given, "a parameter")
    kind = one.get("kind", "parameter")
    if kind not in ("parameter", "buffer"):
        raise ValueError(f"kind is {shown(kind)}, not parameter or buffer")
    return {
        "name": json_name(one["name"], "a parameter's name"),
        "shape": tuple(json_whole(n, "a shape") for n in json_list(one["shape"], "shape")),
        "kind": kind,
        "trainable": one.get("trainable", True) is True,
        "same_as": json_name(one.get("same_as", ""), "same_as"),
    }


def _step(given: object, networks: int) -> dict[str, Any]:
    one = json_object(given, "a step")
    network = json_whole(one.get("network", 0), "network")
    if network >= networks:
        raise ValueError(f"step {shown(one.get('step'))} has network {network} of {networks}")
    generator = one.get("generator", "")
    if not isinstance(generator, str) or not re.fullmatch("([0-9a-f]{64})?", generator):
        raise ValueError(f"generator is {shown(generator)}, not a SHA-256")
    optimiser = one.get("optimiser")
    return {
        "step": json_whole(one["step"], "a step", 1),
        "network": network,
        "optimiser": None if optimiser is None else _optimiser(optimiser),
        "generator": generator,
        "returned": _names(one.get("returned", []), "returned"),
    }


def _optimiser(given: object) -> dict[str, Any]:
    one = json_object(given, "optimiser")
    groups = []
    for group in json_list(one.get("groups", []), "groups"):
        values = json_object(json_object(group, "a group").get("settings", {}), "settings")
        groups.append(
            {
                "parameters": _names(group["parameters"], "a group's parameters"),
                "settings": {
                    json_name(key, "a setting"): option_value(value, key[:40])
                    for key, value in values.items()
                },
            }
        )
    return {
        "name": json_name(one.get("name", "optimizer"), "an optimiser's name"),
        "kind": json_name(one["kind"], "an optimiser's kind"),
        "groups": groups,
    }


def _check_edges(
    network: Sequence[Mapping[str, Any]], parameters: Sequence[Mapping[str, Any]]
) -> None:
    """Raises ValueError if a stage has no name of its own, or takes what none has returned."""
    there = {one["name"] for one in parameters}
    named: set[str] = set()
    for stage in network:
        if stage["name"] in named:
            raise ValueError(f"two stages are called {shown(stage['name'])}")
        named.add(stage["name"])
        for name in (*stage["inputs"], *stage["parameters"].values()):
            if name not in there:
                raise ValueError(
                    f"stage {shown(stage['name'])} takes {shown(name)}, which is neither a "
                    "parameter nor returned before"
                )
        there.update(stage["outputs"] or (stage["name"],))
