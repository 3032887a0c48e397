"""Names of calls, and which calls belong to a step."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pyvae.recording.seen.naming import Names, comes_from_model, name_stages, used_calls
from pyvae.recording.seen.values import Call, Value


@given(
    st.lists(st.sampled_from(["a", "a#2", "a.b", "b"]), max_size=20),
    st.sets(st.sampled_from(["a", "b#2", "c"])),
)
def test_names_are_unique_and_count_calls(calls, taken):
    names = Names(taken)
    given_ = [names.next(name) for name in calls]
    assert len(set(given_) | taken) == len(given_) + len(taken)
    assert all(named.startswith(name) for named, name in zip(given_, calls, strict=True))


def test_the_second_call_is_two():
    names = Names()
    assert [names.next("fc") for _ in range(3)] == ["fc", "fc#2", "fc#3"]


def call(name, order, made_by="model", inputs=(), outputs=1):
    made = Call(name, name, list(inputs), made_by=made_by, order=order)
    places = [""] if outputs == 1 else [f".{at}" for at in range(outputs)]
    for place in places:
        made.outputs.append((place, Value(torch.zeros(1), None, made)))
    return made


def value(made, at=0):
    return made.outputs[at][1]


def test_calls_that_lead_to_the_loss_belong_to_a_step():
    noise, unused = call("randn", 1, "other"), call("randn", 2, "other")
    layer = call("fc", 3, inputs=[value(noise), "weight"], outputs=2)
    accuracy = call("eq", 4, "loss", [value(layer)])
    loss = call("sum", 5, "loss", [value(layer, 1)])
    calls = [noise, unused, layer, accuracy, loss]
    assert used_calls(calls, [value(loss)]) == [noise, layer, loss]
    assert used_calls(calls, []) == [noise, layer, accuracy, loss]
    earlier = used_calls([loss], [value(loss)])
    assert earlier == [noise, layer, loss]
    stages = name_stages(earlier, ["weight"])
    assert [one.name for one in stages] == ["randn", "fc", "sum"]
    assert stages[1].inputs == ("randn", "weight")
    assert stages[1].outputs == ("fc.0", "fc.1")
    assert stages[2].inputs == ("fc.1",)


def test_another_models_loss_does_not_come_from_the_model():
    layer = call("fc", 1)
    loss = call("sum", 2, "loss", [value(layer)])
    unseen = call("input", 3, "other")
    other = call("sum", 4, "loss", [value(unseen)])
    decay = call("norm", 5, "loss", ["weight"])
    assert [comes_from_model(value(one)) for one in (loss, other, decay)] == [True, False, True]
    assert not comes_from_model(None)


def test_a_stage_is_not_called_as_a_parameter():
    stages = name_stages([call("scale", 1), call("scale", 2)], ["scale"])
    assert [one.name for one in stages] == ["scale#2", "scale#3"]
