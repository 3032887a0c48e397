"""A mistake is named if it gives what was recorded in this step and in the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from examples.example import positive
from torch import nn

from comparisons.ports import compare_programs
from examples import Example, planted_in
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
        def run(self, layer, inputs, given=None):
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


@dataclass
class Noise:
    """Added to what a layer returns: to all of it, one number, one row, or the same to all rows."""

    kind: str
    size: float
    generator: torch.Generator

    def plant(self, layer):
        layer.forward = lambda *inputs: self.run(layer, inputs)

    def run(self, layer, inputs):
        y = type(layer).forward(layer, *inputs)
        noise = torch.randn(y.shape, generator=self.generator, dtype=y.dtype)
        noise = self.size * y.detach().abs().max() * noise
        if self.kind == "one number":
            noise.view(-1)[1:] = 0
        elif self.kind == "one row":
            noise[1:] = 0
        elif self.kind == "each row":
            noise = noise[:1].expand_as(noise)
        return y + noise


@pytest.mark.parametrize("size", [1e-9, 1e-5, 1e-1])
@pytest.mark.parametrize("kind", ["all", "one number", "one row", "each row"])
@pytest.mark.parametrize("layer", [nn.BatchNorm2d, nn.LayerNorm, nn.Conv2d])
def test_noise_has_no_name(tmp_path, layer, kind, size):
    sizes = {nn.BatchNorm2d: (2,), nn.LayerNorm: (6,), nn.Conv2d: (2, 3, 3)}[layer]
    example = Example(lambda: layer(*sizes), (partial(positive, 3, 2, 6, 6),))
    noise = Noise(kind, size, torch.Generator().manual_seed(3))
    words = words_of(tmp_path, example, noise)
    assert words == ("r's is not what it should be for its own inputs",)
