"""A mistake is named if it gives what was recorded in this step and in the next one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from examples import Example, planted_in
from examples.example import positive
from torch import nn

from comparisons.ports import compare_programs
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


class Symmetric(Example):
    """A kernel that is the same flipped and with rows and columns exchanged, before the first
    step."""

    def network(self):
        network = super().network()
        with torch.no_grad():
            kernel = network.layer.weight
            kernel.copy_(kernel + kernel.flip(2, 3).transpose(2, 3))
        return network


CONV = Symmetric(lambda: nn.Conv2d(2, 3, 3), (partial(positive, 3, 2, 6, 6),))
FLIPPED = "its kernel is flipped (torch correlates, it does not convolve)"
EXCHANGED = "its kernel's rows and columns are exchanged"


def planted(example, words):
    return next(one for one in planted_in(example) if one.words == words)


def words_of(tmp_path, example, mistake, steps=2):
    example.record(tmp_path / "python", steps=steps)
    example.record(tmp_path / "r", mistake, steps=steps)
    sides = (ProgramTrace.load(tmp_path / name) for name in ("python", "r"))
    return compare_programs(*sides).first.words


def test_two_mistakes_that_are_one_in_the_first_step_are_both_named(tmp_path):
    (words,) = words_of(tmp_path, CONV, planted(CONV, FLIPPED), steps=1)
    assert words == f"r: {FLIPPED}, or {EXCHANGED}: step 2 would tell them apart"


@pytest.mark.parametrize("name", [FLIPPED, EXCHANGED])
def test_the_next_step_tells_them_apart(tmp_path, name):
    assert words_of(tmp_path, CONV, planted(CONV, name)) == (f"r: {name}",)


def test_a_name_that_does_not_hold_in_the_next_step_is_not_said(tmp_path):
    """The kernel is flipped in the first step alone."""
    mistake = planted(CONV, FLIPPED)

    class Once(type(mistake)):
        def run(self, layer, inputs):
            done.append(1)
            return (
                super().run(layer, inputs)
                if len(done) == 1
                else type(layer).forward(layer, *inputs)
            )

    done = []
    once = Once(**{name: getattr(mistake, name) for name in mistake.__dataclass_fields__})
    assert not any("kernel" in word for word in words_of(tmp_path, CONV, once))


def test_a_padding_mode_that_the_forward_pass_does_not_show_is_named_by_the_gradient(tmp_path):
    """The border is constant, as that of images often is."""

    def framed():
        return nn.functional.pad(positive(3, 2, 4, 4), (2, 2, 2, 2))

    example = Example(lambda: nn.Conv2d(2, 3, 3, padding=1), (framed,))
    inside = replace(example, inputs=(partial(positive, 3, 2, 8, 8),))
    name = "padding_mode = reflect where it is zeros"
    mistake = replace(planted(inside, name), example=example)
    assert words_of(tmp_path, example, mistake, steps=1) == (f"r: {name}",)
