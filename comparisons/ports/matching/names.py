"""The map of names between two programs, as a file that a user can read, change and give back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from comparisons.ports.matching.matched import NetworkMatch
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import Side
from pyvae.errors import UserError, choose
from pyvae.files.name_map import read_name_map

__all__ = ["check_names", "names_table", "read_names"]

COLUMNS = ("a", "b")
TOGETHER = " + "  # between several names that are one on the other side


def read_names(path: Path) -> dict[str, str]:
    """Reads a map: names of the first side's stages and parameters, each with the second side's.

    Rows without one of the two names are left out, and those of several names that are one on the
    other side: these are found by value.

    Raises:
        UserError: If it cannot be read, or lacks a column.
    """
    pairs = [(a.strip(), b.strip()) for a, b in read_name_map(path)]
    pairs = [pair for pair in pairs if all(pair) and not any(TOGETHER in name for name in pair)]
    for side, column in enumerate(COLUMNS):
        names = [pair[side] for pair in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(
                f"map '{path}' has '{twice[0]}' twice in column {column}", "name it once"
            )
    return dict(pairs)


def check_names(names: Mapping[str, str], a: Side, b: Side) -> None:
    """Raises UserError if a map names what is not there."""
    for side, given in ((a, names.keys()), (b, names.values())):
        known = {stage.name for network in side.trace.networks for stage in network}
        known |= {parameter.name for parameter in side.trace.parameters}
        for name in given:
            if name not in known:
                choose(f"name in the map for '{side.name}'", name, sorted(known))


def names_table(
    network: Iterable[NetworkMatch], parameters: Iterable[ParameterMatch]
) -> pd.DataFrame:
    """Returns what belongs together: a row for each stage and parameter, what one side alone has
    included."""
    rows: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for match in network:
        for pair in match.pairs:
            rows.setdefault((pair.a.name, pair.b.name, "stage"), (pair.a.layer, "", pair.how))
        for stage in match.only[0]:
            rows.setdefault((stage.name, "", "stage"), (stage.layer, "", "only here"))
        for stage in match.only[1]:
            rows.setdefault(("", stage.name, "stage"), (stage.layer, "", "only here"))
    for one in parameters:
        key = (one.name, TOGETHER.join(one.b), one.kind)
        layout = ", ".join(filter(None, (one.join, str(one.layout))))
        rows.setdefault(key, ("", layout, one.how))
    table = [(*key, *about) for key, about in rows.items()]
    return pd.DataFrame(table, columns=["a", "b", "what", "layer", "layout", "found by"])
