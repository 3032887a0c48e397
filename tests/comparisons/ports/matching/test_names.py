"""The map of names: written, read again, and refused where it names what is not there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from recorded.ported import Program, rewrite

from comparisons.ports import compare_programs
from comparisons.ports.matching.names import names_table, read_names
from pyvae.errors import UserError

OTHER = {"conv": "a", "norm": "b", "act": "c", "second": "d", "pool": "e", "drop": "f",
         "hidden": "g", "out": "h"}  # fmt: skip


def other_names(name):
    module, dot, rest = name.partition(".")
    return OTHER.get(module, module) + dot + rest


@pytest.fixture
def renamed(pair):
    pair(Program(), Program())
    rewrite(Path("r"), other_names)
    return compare_programs("python", "r")


def test_what_was_found_can_be_given_back(renamed):
    table = names_table(renamed.networks, renamed.parameters)
    rows = table.set_index(["a", "what"])
    assert rows.loc[("hidden.weight", "parameter"), "b"] == "g.weight"
    assert rows.loc[("act", "stage"), "b"] == "c"
    assert rows.loc[("norm.running_var", "buffer"), "found by"] == "role"
    table.to_csv("names.csv", index=False)
    again = compare_programs("python", "r", "names.csv")
    assert again.agrees
    assert {one.how for one in again.parameters} == {"map"}
    assert names_table(again.networks, again.parameters)[["a", "b"]].equals(table[["a", "b"]])


def test_a_map_in_memory(renamed):
    assert compare_programs("python", "r", {"hidden": "g", "out.weight": "h.weight"}).agrees
    other = compare_programs("python", "r", {"hidden.weight": "h.weight"})
    assert other.first.place == "step 1, hidden.weight, what the step starts from"


BAD = {
    "a stage that is not there": ("a,b\nhidde,g\n", r"'hidde'.*did you mean 'hidden'"),
    "a parameter that is not there": (
        "a,b\nhidden.weight,x.weight\n",
        "unknown name in the map for 'r' 'x.weight'",
    ),
    "no column": ("a,c\nhidden,g\n", "has no column b.*columns a and b"),
    "twice": ("a,b\nhidden,g\nout,g\n", "has 'g' twice in column b"),
    "empty": ("", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_map_is_refused_in_a_line(renamed, name):
    text, words = BAD[name]
    Path("names.csv").write_text(text)
    with pytest.raises(UserError, match=f"(?i){words}"):
        compare_programs("python", "r", "names.csv")


def test_a_map_that_is_not_there(renamed):
    with pytest.raises(UserError, match=r"there is no map 'none\.csv'"):
        compare_programs("python", "r", "none.csv")


def test_rows_without_a_partner_are_left_out(tmp_path):
    path = tmp_path / "names.csv"
    rows = {"b": ["p", "", "q", "r"], "a": ["x", "y", "", "z + w"], "more": [1, 2, 3, 4]}
    pd.DataFrame(rows).to_csv(path, index=False)
    assert read_names(path) == {"x": "p"}
