"""Formats of trace.json: what is in each, and what is refused."""

from __future__ import annotations

import json
import math

import pytest
from written_files.traces import SETTINGS, rewrite

from pyvae.errors import UserError
from pyvae.trace.trace import Trace


def test_the_trace_of_a_program_is_told_from_that_of_a_recipe(saved):
    rewrite(saved, lambda about: about | {"format": 5})
    with pytest.raises(UserError, match=r"is that of a recorded program.*pyvae compare"):
        Trace.load(saved)


@pytest.mark.parametrize("version", [6, 1000])
def test_a_newer_format_is_refused_by_name(saved, version):
    rewrite(saved, lambda about: about | {"format": version})
    with pytest.raises(
        UserError, match=rf"has format {version}, but pyvae reads 1 to 5. Update pyvae"
    ):
        Trace.load(saved)


@pytest.mark.parametrize("version", ["2", 2.0, None, [2], {}])
def test_a_format_that_is_not_a_number_is_the_users_error(saved, version):
    rewrite(saved, lambda about: about | {"format": version})
    with pytest.raises(UserError, match="format"):
        Trace.load(saved)


def test_a_trace_without_a_format_is_the_users_error(saved):
    rewrite(saved, lambda about: {k: v for k, v in about.items() if k != "format"})
    with pytest.raises(UserError, match="format is missing"):
        Trace.load(saved)


def test_the_format_is_written_down(saved):
    about = json.loads((saved / "trace.json").read_text())
    assert about["format"] == 4
    assert about["settings"]["rng"] == "injected"


@pytest.mark.parametrize("version", [1, 2])
def test_draws_of_a_trace_from_before_format_3_were_injected(saved, version):
    def older(about):
        settings = {name: value for name, value in about["settings"].items() if name != "rng"}
        return about | {"format": version, "settings": settings}

    rewrite(saved, older)
    assert Trace.load(saved).settings == SETTINGS


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_trace_from_before_format_4_has_no_hyperparameters(saved, version):
    def older(about):
        settings = {name: value for name, value in about["settings"].items() if name != "hyper"}
        return about | {"format": version, "settings": settings}

    rewrite(saved, older)
    assert Trace.load(saved).settings == SETTINGS
    assert Trace.load(saved).settings.hyper == {}


@pytest.mark.parametrize("rng", ["dice", None, 3])
def test_an_unknown_generator_is_the_users_error(saved, rng):
    rewrite(saved, lambda about: about | {"settings": about["settings"] | {"rng": rng}})
    with pytest.raises(UserError, match=r"unknown rng|cannot be read"):
        Trace.load(saved)


def test_a_trace_of_format_1_has_no_probes_and_went_its_own_way(saved):
    new = ("mode", "probes")
    rewrite(saved, lambda about: {k: v for k, v in about.items() if k not in new} | {"format": 1})
    trace = Trace.load(saved)
    assert (trace.mode, trace.probed, trace.steps, trace.complete) == ("free", [], 4, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "frei"},
        {"mode": 3},
        {"probes": None},
        {"probes": ["one"]},
        {"probes": 1},
        {"probes": [math.inf]},
        {"probes": [math.nan]},
    ],
    ids=str,
)
def test_a_broken_mode_or_list_of_probes_is_the_users_error(saved, wrong):
    rewrite(saved, lambda about: about | wrong)
    with pytest.raises(UserError):
        Trace.load(saved)
