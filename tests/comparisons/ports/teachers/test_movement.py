"""Teachers and target networks that follow the model alike, however that is written."""

from __future__ import annotations

import copy

import pytest
import torch
from recorded.teachers import Average, Learning, copied, detached, without_gradients

from comparisons.ports.teachers.movement import Way

SGD = {"optimiser": "SGD", "lr": 0.1}
FAINT = {"optimiser": "SGD", "lr": 1e-5}  # moves less than rounding does
SLOW = Average(decay=0.9999)


def frozen(net):
    """A teacher whose parameters have no gradients."""
    teacher = copy.deepcopy(net)
    for one in teacher.parameters():
        one.requires_grad_(False)
    return teacher


def look(teacher, x, k):
    """Validation, before the teacher is moved."""
    without_gradients(teacher, 2 * x, k)


def softened(teacher, x, k):
    return (without_gradients(teacher, x, k) / 0.5).softmax(1)


RIGHT = {
    "written out": ({}, {"follow": Average(form="written")}),
    "through .data, and looked at": ({}, {"follow": Average(form="data"), "look": look}),
    "at the top of the loop": ({}, {"when": "top"}),
    "called with gradients": ({}, {"call": detached}),
    "called with gradients that it has not": (
        {}, {"make": frozen, "call": lambda teacher, x, k: teacher(x, k)},
    ),
    "other rounding of what is made of it": (
        {"call": softened}, {"call": softened, "rounding": 2.4e-7},
    ),
    "statistics without an effect": (
        {"training": True}, {"training": True, "follow": Average(buffers="leave")},
    ),
    "a shared embedding": ({"frozen": True}, {"shared": True}),
    "other rounding": ({}, {"rounding": 2.4e-7, "follow": Average(form="written")}),
    "other rounding, SGD": (SGD, {**SGD, "rounding": 2.4e-7}),
    "hardly moved": (FAINT, {**FAINT, "follow": Average(form="written")}),
    "a slow one": ({"follow": SLOW}, {"follow": Average(decay=0.9999, form="written")}),
    "first called late": (
        {"since": 3}, {"since": 3, "rounding": 2.4e-7, "follow": Average(form="written")},
    ),
    "float64": (
        {"dtype": torch.float64}, {"dtype": torch.float64, "follow": Average(form="written")},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_teachers_that_follow_alike(compared, name):
    paper, port = RIGHT[name]
    found = compared(Learning(**port), **paper)
    assert found.agrees, found.lines
    assert not any("did not record" in note for note in found.notes)


@pytest.mark.parametrize("every", [1, 2])
def test_a_target_network_that_is_copied_anew(tmp_path, monkeypatch, every):
    from comparisons.ports import compare_programs

    monkeypatch.chdir(tmp_path)
    Learning(follow=copied(every)).record("a")
    Learning(follow=copied(every, anew=True)).record("b")
    assert compare_programs("a", "b").verdict.startswith("equal")


def test_a_part_of_the_model_that_no_optimiser_has(compared):
    paper = {"inside": True}
    found = compared(Learning(**paper, follow=Average(form="written")), **paper)
    assert found.agrees, found.lines


def slightly_off(net):
    """Within what rounding does to a network that is trained, and this one is not."""
    teacher = frozen(net)
    teacher.out.weight.data[0, 0] *= 1.00005
    return teacher


def test_a_frozen_network_that_is_first_called_late_is_held_to_what_it_was_given(compared):
    paper = {"since": 3, "make": frozen, "follow": lambda teacher, net, step: None}
    found = compared(Learning(**{**paper, "make": slightly_off}), **paper)
    assert found.verdict == "part at step 3, out.weight of teacher, network that is not trained"


def test_shares_are_alike_as_far_as_rounding_lets_them_be_told():
    one = Way("after", 0.01, 1e-4, "fc.weight")
    assert one.is_like(Way("after", 0.0101, 0.0, "fc.weight"))
    assert not one.is_like(Way("after", 0.0105, 1e-4, "fc.weight"))
    assert not one.is_like(Way("before", 0.01, 1e-4, "fc.weight"))
    still = Way("after", 0.0, 0.0, "")
    assert still.is_like(Way("before", 0.0, 0.0, ""))
    assert still.is_like(Way("after", 0.001, 0.002, ""))
