"""`write_program_trace`: what NumPy computed is read again to the bit, and bad input is a line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pyvae import Optimiser, OptimiserGroup, ProgramStage, ProgramTrace, write_program_trace
from pyvae.errors import UserError

STAGES = [
    ProgramStage("x", "input"),
    ProgramStage("fc", "linear", ("x",), {"bias": False}, {"weight": "fc.weight"}),
    ProgramStage("target", "input"),
    ProgramStage("loss", "mse_loss", ("fc", "target"), {"reduction": "mean"}),
]
SGD = Optimiser("optimizer", "sgd", (OptimiserGroup(("fc.weight",), {"lr": 0.1, "momentum": 0.9}),))


def train(steps=3, dtype="float64"):
    """Least squares by gradient descent with momentum, in NumPy."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(1, 2)).astype(dtype)
    velocity = np.zeros_like(weight)
    for _ in range(steps):
        x, target = (random.normal(size=(5, n)).astype(dtype) for n in (2, 1))
        y = x @ weight.T
        loss = np.mean((y - target) ** 2)
        dy = 2 * (y - target) / y.size
        start, gradient = weight, dy.T @ x
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.1 * velocity
        yield {
            "start": {"fc.weight": start},
            "forward": {"x": x, "fc": y, "target": target, "loss": loss},
            "loss": loss,
            "gradient": {"fc": dy, "fc.weight": gradient},
            "state": {"momentum_buffer": {"fc.weight": velocity}},
            "parameter": {"fc.weight": weight},
        }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_written_is_read_again_to_the_bit(tmp_path, dtype):
    written = write_program_trace(
        tmp_path / "a", "numpy", STAGES, steps=train(dtype=dtype), optimiser=SGD
    )
    read = ProgramTrace.load(tmp_path / "a")
    assert read == written
    assert (read.language, read.index_base) == ("python", 0)
    assert [one.step for one in read.steps] == [1, 2, 3]
    assert read.networks == [tuple(STAGES)]
    assert read.parameters[0].shape == (1, 2)
    for step, values in enumerate(train(dtype=dtype), 1):
        arrays = read.arrays(step)
        assert arrays["forward/fc"].tobytes() == values["forward"]["fc"].tobytes()
        assert arrays["forward/fc"].dtype == dtype
        assert arrays["loss/total"] == values["loss"]
        assert arrays["loss/total"].dtype == np.float64
        momentum = values["state"]["momentum_buffer"]["fc.weight"]
        assert arrays["state/fc.weight.momentum_buffer"].tobytes() == momentum.tobytes()


def test_names_alone_are_a_trace_as_well(tmp_path):
    steps = {3: {"forward/a.b": [[1, 2]], "loss": {"total": 2, "kl": 1}}, 7: {"loss": 1.0}}
    write_program_trace(tmp_path / "a", "mine", steps=steps, language="julia", index_base=1,
                        environment={"julia": "1.11"})  # fmt: skip
    read = ProgramTrace.load(tmp_path / "a")
    assert (read.language, read.index_base) == ("julia", 1)
    assert read.environment == {"julia": "1.11"}
    assert read.networks == [()]
    assert read.arrays(3)["forward/a.b"].tolist() == [[1, 2]]
    assert list(read.losses()) == [(3, 2.0), (7, 1.0)]


def test_types_states_and_steps_of_their_own(tmp_path):
    adam = Optimiser("optimizer", "adam", (OptimiserGroup(("w",), {"lr": 1.0}),))
    first = {
        "forward": {"a": np.int16([1, -2]), "b": np.uint32(3), "c": True, "d": np.float16(0.5)},
        "before": {"step": 1.0},
        "state": {"step": 2.0, "exp_avg": {"w": [0.5]}},
        "buffer": {"mean": [1.0, 2.0]},
    }
    drop = [*(ProgramStage(name, "input") for name in "abcd"), ProgramStage("e", "dropout", ("d",))]
    second = {"stages": drop, "optimiser": adam, "draw": {"e": [1.0, 0.0]}}
    parameters = {"w": [1.0], "frozen": [2.0], "mean": [0.0, 0.0]}
    trace = write_program_trace(
        tmp_path / "a", "mine", drop[:4], parameters, [first, second, first | {"buffer": {}}], adam
    )
    arrays = trace.arrays(1)
    assert {key: (str(v.dtype), v.shape) for key, v in arrays.items()} == {
        "start/w": ("float64", (1,)), "start/frozen": ("float64", (1,)),
        "start/mean": ("float64", (2,)), "forward/a": ("int64", (2,)), "forward/b": ("int64", ()),
        "forward/c": ("bool", ()), "forward/d": ("float16", ()),
        "before/w.step": ("float64", ()), "state/w.step": ("float64", ()),
        "state/w.exp_avg": ("float64", (1,)), "buffer/mean": ("float64", (2,)),
    }  # fmt: skip
    assert trace.arrays(2)["draw/e"].dtype == np.uint8
    assert [one.network for one in trace.steps] == [0, 1, 0]
    assert [(one.kind, one.trainable) for one in ProgramTrace.load(tmp_path / "a").parameters] == [
        ("parameter", True), ("parameter", False), ("buffer", False),
    ]  # fmt: skip


def step(**changes):
    return {"steps": [next(train()) | changes]}


WRONG = {
    "an input that no stage returns": ({"stages": STAGES[1:]}, "stage 'fc' takes 'x', which is"),
    "a parameter without values": (
        step(start={}),
        "stage 'fc' takes 'fc.weight', which is",
    ),
    "two of a name": ({"stages": [*STAGES, STAGES[0]]}, "two stages are called 'x'"),
    "no stage": ({"stages": ["x"]}, "a stage is a str"),
    "an unknown kind": (step(begin=1), "step 1 has 'begin'"),
    "an unknown value": (step(forward={"fd": 1}), "forward/fd, but there is no stage that returns"),
    "an unknown gradient": (step(gradient={"g": 1}), "gradient/g, but there is no parameter or"),
    "an unknown parameter": (step(parameter={"w": 1}), "parameter/w, but there is no parameter"),
    "an unknown state": (step(state={"step": {"w": 1}}), "state/w.step, but there is no parameter"),
    "an unknown mask": (step(draw={"w": 1}), "draw/w, but there is no stage"),
    "a mask of other numbers": (step(draw={"fc": [0.5]}), "draw/fc: expected 1 to keep"),
    "no dict": (step(forward=[1]), "step 1 has forward, which is a list"),
    "twice": (step(**{"forward/fc": 1}), "step 1 has forward/fc twice"),
    "the shape of a parameter": (
        step(parameter={"fc.weight": np.eye(2)}),
        "step 1 has parameter/fc.weight of shape (2, 2): expected (1, 2)",
    ),
    "the shape of a gradient": (
        step(gradient={"fc": np.eye(2)}),
        "step 1 has gradient/fc of shape (2, 2): expected (5, 1)",
    ),
    "a loss for each image": (step(loss=[1.0, 2.0]), "loss/total of shape (2,): expected ()"),
    "text": (step(loss="a"), "step 1 has loss/total, which has values of type <U1"),
    "complex numbers": (step(loss=1j), "has values of type complex128"),
    "rows of different lengths": (step(forward={"fc": [[1], [1, 2]]}), "forward/fc, which is no"),
    "no steps": ({"steps": []}, "there are no steps"),
    "steps in disorder": (
        {"stages": [], "optimiser": None, "steps": {2: {}, 1: {}}},
        "step 1 comes after step 2",
    ),
    "step 0": ({"steps": {0: {}}}, "a step has the number 0"),
    "a step that is none": ({"steps": [3]}, "step 1 is a int"),
    "an index base": ({"index_base": 2}, "index_base=2"),
    "an optimiser's parameter": (
        {"optimiser": Optimiser("o", "sgd", (OptimiserGroup(("w",)),))},
        "the optimiser has 'w', which is not a parameter",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_a_line_and_leaves_nothing(tmp_path, name):
    changes, said = WRONG[name]
    given = {"stages": STAGES, "steps": train(), "optimiser": SGD} | changes
    with pytest.raises(UserError) as caught:
        write_program_trace(tmp_path / "a", "numpy", **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.*"))


def test_nothing_of_the_users_is_overwritten(tmp_path):
    def write(folder, steps=None, **other):
        return write_program_trace(folder, "numpy", STAGES, steps=steps or train(), **other)

    folder = tmp_path / "a"
    write(folder)
    (folder / "notes.txt").write_text("mine")
    before = (folder / "trace.json").read_text()
    with pytest.raises(UserError, match="holds a trace already"):
        write(folder)
    with pytest.raises(UserError, match="step 1 has 'begin'"):
        write(folder, [{"begin": 1}], overwrite=True)
    assert (folder / "trace.json").read_text() == before
    write(folder, {5: next(train())}, overwrite=True)
    assert [path.name for path in (folder / "steps").iterdir()] == ["step-000005.safetensors"]
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(UserError, match="step 2 has 'begin'"):  # what was written goes
        write(folder, [next(train()), {"begin": 1}], overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match="is not empty, and holds no trace of a program"):
        write(folder, overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        write(folder / "notes.txt")


def test_the_header_is_strict_json(tmp_path):
    stage = ProgramStage("x", "input", options={"most": float("inf")})
    write_program_trace(tmp_path / "a", "numpy", [stage], steps=[{"forward": {"x": 1}}])

    def refuse(text):
        raise AssertionError(text)

    json.loads((tmp_path / "a" / "trace.json").read_text(), parse_constant=refuse)


def test_networks_that_are_not_trained_are_written_where_they_change(tmp_path):
    teacher = {"w": np.ones(2), "v": np.zeros(())}
    steps = [
        {"untrained": {"teacher": teacher}},
        {"untrained": {"teacher": teacher}},
        {"untrained/teacher/w": np.zeros(2)},
    ]
    trace = write_program_trace(tmp_path / "t", "numpy", steps=steps)
    assert [sorted(trace.arrays(step)) for step in (1, 2, 3)] == [
        ["untrained/teacher/v", "untrained/teacher/w"], [], ["untrained/teacher/w"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given", [{"w": np.ones(2)}, {"a/b": {"w": np.ones(2)}}, [1], {"t": {"w": "x"}}]
)
def test_networks_that_are_not_trained_have_names(tmp_path, given):
    with pytest.raises(UserError):
        write_program_trace(tmp_path / "t", "numpy", steps=[{"untrained": given}])
    assert not (tmp_path / "t" / "trace.json").exists()
