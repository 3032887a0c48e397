"""What Adam makes of the moments' rounding is explained, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from stand_ins.probes import RULE, adam, apart, compared, magnitude, sides, stepped

pytestmark = pytest.mark.slow


def amplified(probe, name, seed, epsilon=1e-8):
    """The probe with some gradients of a parameter that cancelled but for rounding."""
    random = np.random.default_rng(seed)
    start = probe[f"start/{name}"]
    moment1, moment2 = (probe[f"{kind}/{name}"].copy() for kind in ("moment1", "moment2"))
    chosen = np.random.default_rng(1).random(start.shape) < 0.3
    noise = 2e-16 * magnitude(moment1) * random.uniform(-1, 1, start.shape)
    moment1[chosen] = noise[chosen]
    moment2[chosen] = (1 - 0.999) * (noise[chosen] / (1 - 0.9)) ** 2
    parts = {"moment1": moment1, "moment2": moment2}
    parts["parameter"] = stepped(start, moment1, moment2, epsilon)
    return probe | {f"{kind}/{name}": value for kind, value in parts.items()}


names = st.sampled_from(["decoder.conv1.weight", "encoder.fc1.weight", "decoder.fc2.weight"])


@given_settings(max_examples=8)
@given(names, st.integers(0, 2**32))
def test_what_adam_makes_of_the_moments_rounding_is_explained(probe, name, seed):
    found = compared(amplified(probe, name, seed), amplified(probe, name, seed + 1))
    assert apart(found) == []
    parameter = found[f"parameter/{name}"]
    assert parameter.explained == "follows from the moments' rounding"
    assert parameter.raw_max_abs > RULE.rtol * parameter.largest  # else nothing was shown
    assert parameter.max_abs <= 1e-15 * parameter.largest


@given_settings(max_examples=8)
@given(names, st.integers(0, 2**32), sides)
def test_another_epsilon_is_not_explained(probe, name, seed, order):
    pair = (amplified(probe, name, seed, epsilon=1e-7), amplified(probe, name, seed + 1))
    found = compared(*(pair[side] for side in order))
    assert apart(found) == [f"parameter/{name}"]


def test_moments_that_differ_are_not_explained_by_themselves(probe):
    """What they make of the parameter would be explained; they are not."""
    name = "encoder.fc3.weight"
    wrong = probe | adam(name, probe[f"start/{name}"], 1.001 * probe[f"gradient/{name}"])
    found = compared(wrong, probe)
    assert apart(found)[0] == f"moment1/{name}"
    assert found[f"parameter/{name}"].explained == ""
