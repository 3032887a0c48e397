"""The values of a step: how entries are named, and which types of number are written."""

from __future__ import annotations

import numpy as np
import pytest

from pyvae.errors import UserError
from pyvae.trace.program import ProgramStage
from pyvae.trace.step_values import StepValues, as_array, check_stages


def keys(step, **parameters):
    values = StepValues.of(step, "step 1")
    shapes = {name: np.shape(value) for name, value in parameters.items()}
    return sorted(values.arrays((), shapes, list(parameters)))


def test_an_entry_by_kind_is_the_entry_by_key():
    by_kind = {"loss": 1.0, "forward": {"a.b": 1}, "state": {"exp_avg": {"w": 1.0}}}
    by_key = {"loss/total": 1.0, "forward/a.b": 1, "state/w.exp_avg": 1.0}
    assert keys(by_kind, w=1.0) == keys(by_key, w=1.0) == sorted(by_key)


def test_a_state_that_is_one_number_belongs_to_every_parameter():
    assert keys({"state": {"step": 3.0}}, w=1.0, b=2.0) == ["state/b.step", "state/w.step"]
    assert keys({"before/step": 3.0}, w=1.0) == ["before/w.step"]


TYPES = {
    "float64": "float64", "float32": "float32", "float16": "float16", "int64": "int64",
    "int32": "int32", "int16": "int64", "int8": "int64", "uint8": "uint8", "uint16": "int64",
    "uint32": "int64", "uint64": "int64", "bool": "bool",
}  # fmt: skip


@pytest.mark.parametrize("given", TYPES)
def test_numbers_keep_their_type_or_have_a_wider_one(given):
    value = np.ones((2, 1), given)
    found = as_array(value, "x")
    assert found.dtype == TYPES[given]
    assert np.array_equal(found, value)
    assert found.shape == (2, 1)


@pytest.mark.parametrize("value", [np.array([2**63], np.uint64), np.complex64(1), None, {}, "a"])
def test_what_a_trace_cannot_hold_is_refused(value):
    with pytest.raises(UserError, match=r"^x has "):
        as_array(value, "x")


def test_a_stage_may_take_a_parameter_as_an_input():
    stages = [ProgramStage("exp", "exp", ("w",)), ProgramStage("add", "add", ("exp", "w"))]
    check_stages(stages, {"w": (2,)})
    with pytest.raises(UserError, match="stage 'add' takes 'exp'"):
        check_stages(stages[::-1], {"w": (2,)})
