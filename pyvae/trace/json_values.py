"""Checks of values that were read from a JSON file that may come from anyone.

The checks are written by hand, not with pydantic, which collects an error for every wrong value: a
hostile file would take more memory than `pyvae.files.reading` allows.
"""

from __future__ import annotations

import json
from typing import Any

from pyvae.errors import printable

__all__ = [
    "LONGEST_NAME",
    "json_list",
    "json_name",
    "json_number",
    "json_object",
    "json_text",
    "json_texts",
    "json_whole",
    "shown",
]

LONGEST_NAME = 1000


def json_texts(given: object, name: str) -> dict[str, str]:
    """Checks texts by name; R writes a number as a number."""
    found = {}
    for key, value in json_object(given, name).items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"{name}'s {shown(key)} is {shown(value)}, not text")
        found[printable(key)] = printable(value if isinstance(value, str) else json.dumps(value))
    return found


def json_object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {shown(value)}, not an object")
    return value


def json_text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, not text")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"{name} has {len(value)} characters, more than {LONGEST_NAME}")
    return value


def json_name(value: object, name: str) -> str:
    """Checks a name and makes it printable: it is shown in lines, titles, tables and figures."""
    return printable(json_text(value, name))


def json_number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= 2**1000:
        raise ValueError(f"{name} is {shown(value)}, not a number")
    return value


def json_whole(value: object, name: str, least: float = 0) -> int:
    number = json_number(value, name)
    if number % 1 or not least <= number < 2**63:
        raise ValueError(f"{name} is {shown(value)}, not a whole number in its range")
    return int(number)


def shown(value: object) -> str:
    """Returns a value as it is written in the file, cut to 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def json_list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {shown(value)}, not a list")
    return value
