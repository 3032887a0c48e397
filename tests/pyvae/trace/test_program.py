"""Traces of programs (format 5): what is saved is what is read, and a spoiled trace is one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvae.errors import UserError
from pyvae.trace.program import (
    Optimiser,
    OptimiserGroup,
    ProgramParameter,
    ProgramStage,
    ProgramStep,
    ProgramTrace,
    is_program_trace,
    step_path,
)
from pyvae.trace.trace import Trace

NETWORK = (
    ProgramStage("input", "input"),
    ProgramStage("rnn", "gru", ("input",), {"p": math.inf, "d": [1, [2.5, None]]},
                 {"weight": "rnn.w"}, ("rnn.0", "rnn.1")),
    ProgramStage("relu", "relu", ("rnn.1",), training=False),
)  # fmt: skip
SGD = Optimiser("optimizer", "sgd", (OptimiserGroup(("rnn.w",), {"lr": 0.1, "nesterov": False}),))
VALUES = {
    "forward/rnn.0": np.float32([[1.5, -0.0], [math.nan, math.inf]]),
    "forward/input": np.int64([[2**40]]),
    "draw/rnn": np.array([0, 1], np.uint8),
    "loss/total": np.array(0.1),
}


@pytest.fixture
def saved(tmp_path):
    trace = ProgramTrace(
        engine="pytorch",
        language="python",
        program="train.py",
        environment={"torch": "2.15.0"},
        parameters=[
            ProgramParameter("rnn.w", (2, 3)),
            ProgramParameter("mean", (), "buffer", trainable=False, same_as="rnn.w"),
        ],
        networks=[NETWORK, ()],
    )
    trace.save_step(tmp_path / "a", ProgramStep(1, 0, SGD, "0" * 64), VALUES)
    trace.save_step(tmp_path / "a", ProgramStep(30, 1), {"loss/total": np.array(2.0)})
    trace.save(tmp_path / "a")
    return trace


def change(trace, **changes):
    path = trace.folder / "trace.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_trace_survives_saving_to_the_bit(saved):
    read = ProgramTrace.load(saved.folder)
    assert read == saved
    for key, value in VALUES.items():
        assert read.arrays(1)[key].tobytes() == value.tobytes()
        assert read.arrays(1)[key].dtype == value.dtype
        assert read.arrays(1)[key].shape == value.shape
    assert list(read.losses()) == [(1, 0.1), (30, 2.0)]
    assert read.network_of(30) == ()
    assert is_program_trace(saved.folder)


@given(
    options=st.dictionaries(
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1),
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, width=64).filter(lambda x: abs(x) < 2.0**999 or math.isinf(x))
        | st.lists(st.integers(-(2**60), 2**60)),
        max_size=4,
    )
)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_options_of_every_kind_survive(tmp_path, options):
    stage = ProgramStage("a", "input", options=options)
    ProgramTrace("mine", networks=[(stage,)]).save(tmp_path)
    assert ProgramTrace.load(tmp_path).networks[0][0].options == options


def test_settings_that_are_not_finite_survive(tmp_path):
    groups = (OptimiserGroup((), {"max_norm": math.inf, "betas": [0.5, -math.inf]}),)
    steps = [ProgramStep(1, optimiser=Optimiser("optimizer", "mine", groups))]
    trace = ProgramTrace("mine", networks=[()])
    trace.save_step(tmp_path, steps[0], {})
    trace.save(tmp_path)
    assert ProgramTrace.load(tmp_path).steps == steps


def test_what_nothing_could_read_is_not_written(saved, monkeypatch):
    before = (saved.folder / "trace.json").read_bytes()
    monkeypatch.setattr("pyvae.trace.program_header.MOST_JSON", len(before))
    saved.save(saved.folder)
    saved.steps.append(ProgramStep(31))
    with pytest.raises(UserError, match="3 steps of 2 different networks takes more"):
        saved.save(saved.folder)
    assert (saved.folder / "trace.json").read_bytes() == before


def test_a_stage_without_outputs_returns_one_value_of_its_name():
    assert ProgramStage("fc", "linear").outputs == ("fc",)


def test_a_step_that_was_not_recorded_is_the_users_error(saved):
    with pytest.raises(UserError, match=r"step 2 of .* was not recorded"):
        saved.arrays(2)


def test_a_tidy_table_has_a_row_for_each_value(saved):
    table = ProgramTrace.load(saved.folder).to_pandas().set_index(["step", "kind", "name"])
    assert len(table) == len(VALUES) + 1
    first = table.loc[1, "forward", "input"]
    assert first[["layer", "shape", "type", "numbers"]].tolist() == ["input", "1x1", "int64", 1]
    assert first[["mean", "sd", "min", "max"]].tolist() == [2.0**40, 0, 2.0**40, 2.0**40]
    spoiled = table.loc[1, "forward", "rnn.0"]
    assert (spoiled["layer"], spoiled["not_finite"]) == ("gru", 2)
    assert math.isnan(spoiled["mean"])
    draw = table.loc[1, "draw", "rnn"]
    assert draw[["mean", "sd", "min", "max"]].tolist() == [0.5, 0.5, 0, 1]
    assert table.loc[30, "loss", "total"]["mean"] == 2
    assert table.loc[1, "loss", "total"]["shape"] == ""


def test_a_trace_shows_itself_in_a_line_and_in_a_notebook(saved):
    saved.program = "<b>.py"
    assert repr(saved) == "<Trace of <b>.py, pytorch: 2 steps recorded>"
    page = saved._repr_html_()
    assert "Trace of &lt;b&gt;.py, pytorch: 2 steps recorded" in page
    assert "3 stages, 2 parameters and buffers, optimiser sgd" in page
    assert "loss 0.1 in step 1, 2 in step 30" in page
    assert "<td>gru</td>" in page
    step_path(saved.folder, 30).unlink()  # a notebook is read long after
    assert "cannot be read" in saved._repr_html_()


def test_a_trace_that_is_cut_names_the_missing_file(saved):
    (saved.folder / "steps" / "step-000030.safetensors").unlink()
    with pytest.raises(UserError, match=r"is cut: step-000030\.safetensors is missing"):
        ProgramTrace.load(saved.folder)


def test_a_step_that_is_cut_is_the_users_error(saved):
    path = saved.folder / "steps" / "step-000001.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        ProgramTrace.load(saved.folder).arrays(1)


def test_a_folder_without_a_trace_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="holds no trace"):
        ProgramTrace.load(tmp_path)
    assert not is_program_trace(tmp_path)


def test_a_recipes_trace_is_not_taken_for_a_programs(saved, tmp_path):
    (tmp_path / "trace.json").write_text('{"format": 4}')
    assert not is_program_trace(tmp_path)
    with pytest.raises(UserError, match="format is 4, not 5"):
        ProgramTrace.load(tmp_path)
    with pytest.raises(UserError, match="format 5"):
        Trace.load(saved.folder)


WRONG = [
    ({"format": 6}, "format is 6"),
    ({"engine": 3}, "engine is 3, not text"),
    ({"index_base": 2}, "index_base is 2"),
    ({"complete": "yes"}, "complete"),
    ({"networks": {}}, "networks is {}, not a list"),
    ({"networks": [[{"layer": "relu"}]]}, "name is missing"),
    ({"networks": [[{"name": "a", "layer": "relu", "inputs": ["b"]}], []]}, '"a" takes "b"'),
    ({"networks": [[{"name": "a", "layer": "x"}, {"name": "a", "layer": "x"}], []]}, "two stages"),
    ({"networks": [[{"name": "a", "layer": "x", "training": 1}], []]}, "training is 1"),
    ({"networks": [[{"name": "a", "layer": "x", "options": {"o": {}}}], []]}, "not a number"),
    ({"networks": [[{"name": "a", "layer": "x", "options": {"o": [[[[[1]]]]]}}], []]}, "deep"),
    ({"parameters": [{"name": "w", "shape": [-1]}]}, "a shape is -1"),
    ({"parameters": [{"name": "w", "shape": [1], "kind": "x"}]}, 'kind is "x"'),
    ({"steps": [{"step": 0}]}, "a step is 0"),
    ({"steps": [{"step": 1, "network": 2}]}, "has network 2 of 2"),
    ({"steps": [{"step": 2}, {"step": 1}]}, "do not increase"),
    ({"steps": [{"step": 1, "generator": "xyz"}]}, "not a SHA-256"),
    ({"steps": [{"step": 1, "returned": "fc"}]}, "returned"),
    ({"steps": [{"step": 1, "optimiser": {"groups": []}}]}, "kind is missing"),
    ({"steps": [{"step": 1, "optimiser": {"kind": "sgd", "groups": [{}]}}]}, "is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_value_is_one_line(saved, wrong, said):
    change(saved, **wrong)
    with pytest.raises(UserError) as caught:
        ProgramTrace.load(saved.folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_from_elsewhere_are_printable(saved):
    change(saved, program="a\x1b[31mb", engine="c\u202ed")
    read = ProgramTrace.load(saved.folder)
    assert (read.program, read.engine) == ("a\\x1b[31mb", "c\\u202ed")


def test_an_early_end_is_kept(saved):
    replace(saved, complete=False, ended="disk full").save(saved.folder)
    read = ProgramTrace.load(saved.folder)
    assert (read.complete, read.ended) == (False, "disk full")
