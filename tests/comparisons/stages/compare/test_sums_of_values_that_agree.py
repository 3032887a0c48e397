"""A parameter's gradient that differs because what it is summed from differs by rounding, alike in
all images."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.probes import RULE, adam, apart, compared, magnitude

NAME, TAKEN, GIVEN = "decoder.fc2.weight", "forward/decoder.relu1", "gradient/decoder.fc2"
WHY = "follows from the rounding of what it is summed from"


@pytest.fixture(scope="module")
def small(probe):
    """The probe as if most of what the sum is made of cancelled."""
    given = probe[GIVEN] - probe[GIVEN].mean(0)
    waves = np.sin(np.arange(probe[TAKEN].size)).reshape(probe[TAKEN].shape)
    taken = magnitude(probe[TAKEN]) * (1 + 1e-4 * waves)
    return probe | _given(probe, taken, given)


def _given(probe, taken, given):
    gradient = given.T @ taken
    parts = {TAKEN: taken, GIVEN: given, f"gradient/{NAME}": gradient}
    return parts | adam(NAME, probe[f"start/{NAME}"], gradient)


def off(small, size=0.9):
    """The same, its values off by rounding, with the sign of the gradients that they meet."""
    taken, given = small[TAKEN].copy(), small[GIVEN]
    row = int(np.abs(given).sum(0).argmax())
    taken[:, 0] += size * RULE.rtol * magnitude(taken) * np.sign(given[:, row])
    return small | _given(small, taken, given)


def test_what_the_values_rounding_makes_of_their_sum_is_explained(small):
    found = compared(off(small), small)
    assert apart(found) == []
    gradient = found[f"gradient/{NAME}"]
    assert gradient.explained == WHY
    assert gradient.raw_max_abs > RULE.rtol * gradient.largest  # else nothing was shown
    assert gradient.max_abs <= 0.01 * RULE.rtol * gradient.largest
    assert {found[f"{kind}/{NAME}"].explained for kind in ("moment1", "moment2")} <= {WHY, ""}


def test_values_that_differ_by_more_are_not(small):
    assert apart(compared(off(small, 1.1), small))[0] == TAKEN


@pytest.mark.parametrize("share", [2.0, -1.0, 0.5])
def test_another_gradient_than_the_values_give_is_not(small, share):
    """Not what the values give, but twice the difference, the other sign, or half of it."""
    right = off(small)
    change = right[f"gradient/{NAME}"] - small[f"gradient/{NAME}"]
    gradient = small[f"gradient/{NAME}"] + share * change
    wrong = right | {f"gradient/{NAME}": gradient} | adam(NAME, small[f"start/{NAME}"], gradient)
    assert apart(compared(wrong, small))[0] == f"gradient/{NAME}"


@pytest.mark.parametrize("factor", [1 + 1e-10, 1 - 1e-10, 0.5])
def test_a_mistake_at_the_same_place_is_found(small, factor):
    right = off(small)
    gradient = right[f"gradient/{NAME}"] * factor
    wrong = right | {f"gradient/{NAME}": gradient} | adam(NAME, small[f"start/{NAME}"], gradient)
    assert apart(compared(wrong, small))[0] == f"gradient/{NAME}"


def test_one_image_less_in_the_sum_is_found(small):
    right = off(small)
    gradient = right[GIVEN][1:].T @ right[TAKEN][1:]
    wrong = right | {f"gradient/{NAME}": gradient} | adam(NAME, small[f"start/{NAME}"], gradient)
    assert apart(compared(wrong, small))[0] == f"gradient/{NAME}"


def test_nothing_is_taken_off_where_the_gradient_agrees(probe):
    gradient = compared(probe, probe)[f"gradient/{NAME}"]
    assert gradient.explained == ""
