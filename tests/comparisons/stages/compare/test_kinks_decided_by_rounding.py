"""What follows from a kink that rounding decides is explained, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from stand_ins.probes import (
    CONV,
    PARAMETERS,
    RULE,
    SETTINGS,
    adam,
    apart,
    changed,
    compared,
    magnitude,
    places,
    sides,
)

from comparisons.expected.layers import Layers, float64

pytestmark = pytest.mark.slow


def follow(probe, name):
    """What follows from the gradient with respect to a stage's result: earlier gradients, and
    for their parameters Adam's first step."""
    layers = Layers(CONV, SETTINGS, 1)
    probe = dict(probe)
    log_var = probe["forward/encoder.fc3"]
    gradients = {  # the KL's parts
        "encoder.fc2": float64(probe["forward/encoder.fc2"]),
        "encoder.fc3": float64((np.exp(log_var) - 1) / 2),
        name: float64(probe[f"gradient/{name}"]),
    }
    names = [stage.name for stage in CONV.stages]
    for stage in reversed(CONV.stages[: names.index(name) + 1]):
        gradient = gradients[stage.name].reshape(probe[f"gradient/{stage.name}"].shape)
        probe[f"gradient/{stage.name}"] = gradient.numpy()
        if stage.layer == "input":
            continue
        for part, value in layers.backward(stage, probe, gradient).items():
            if part in PARAMETERS:
                probe[f"gradient/{part}"] = value.numpy()
                probe |= adam(part, probe[f"start/{part}"], value.numpy())
            else:
                gradients[part] = gradients.get(part, 0) + value
    return probe


def winners(probe):
    """For windows with two positive pixels, of which one is larger, and through which much of
    the gradient goes: the largest pixel and the next. (Where an image is blank, all pixels of a
    window are alike, and so is what they make of earlier gradients.)"""
    values, gradient = probe["forward/encoder.relu2"], probe["gradient/encoder.pool"]
    found = []
    for image, channel, row, column in np.argwhere(np.abs(gradient) > 0.1 * magnitude(gradient)):
        pixels = [
            (int(image), int(channel), int(2 * row + i), int(2 * column + j))
            for i in (0, 1)
            for j in (0, 1)
        ]
        pixels.sort(key=lambda pixel: values[pixel], reverse=True)
        if values[pixels[0]] > 1.05 * values[pixels[1]] > 0:
            found.append((pixels[0], pixels[1]))
    return found


def close_pixels(probe, first, second, gap):
    """The probe with the second pixel below the first by a gap, and each the other way round."""
    top = float(probe["forward/encoder.relu2"][first])
    one, other = probe, probe
    for key in ("forward/encoder.conv2", "forward/encoder.relu2"):
        one = changed(one, key, second, top - gap)
        other = changed(changed(other, key, second, top), key, first, top - gap)
    return one, other


def moved(probe, first, second, share=1.0):
    """The probe with the first pixel's gradient at the second, and all that follows from it."""
    key = "gradient/encoder.relu2"
    gradient = float(probe[key][first])
    probe = changed(changed(probe, key, second, share * gradient), key, first, 0.0)
    return follow(probe, "encoder.relu2")


EARLIER = [
    f"gradient/encoder.{name}"
    for name in ("conv2", "conv2.weight", "relu1", "conv1", "conv1.weight")
]


@given_settings(max_examples=8)
@given(places, sides, st.sampled_from([None, 1e-15, 0.5 * RULE.rtol]))
def test_pixels_that_tie_up_to_rounding_may_get_the_gradient_either_way(probe, place, order, gap):
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    top = float(probe["forward/encoder.relu2"][first])
    gap = math.ulp(top) if gap is None else gap * magnitude(probe["forward/encoder.relu2"])
    one, other = close_pixels(probe, first, second, gap)
    pair = (one, moved(other, first, second))
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    kink = found["gradient/encoder.relu2"]
    assert kink.explained == "1 window ties up to rounding"
    assert kink.raw_max_abs == abs(probe["gradient/encoder.relu2"][first])
    for key in EARLIER:
        assert found[key].explained == "follows from kinks"
        assert found[key].raw_max_abs > RULE.rtol * found[key].largest  # else nothing was shown
        assert found[key].max_abs <= 1e-14 * found[key].largest
    moments = [found[f"moment{order}/encoder.conv1.weight"] for order in (1, 2)]
    for moment in moments:
        assert moment.explained == "follows from kinks"
        assert moment.raw_max_abs > RULE.rtol * moment.largest
    assert [key for key, one in found.items() if one.explained and key.startswith("forward")] == []


def test_the_gradient_was_moved_as_max_pooling_moves_it(probe):
    """The hand-made case is what the layer itself does with the other pixel on top."""
    first, second = winners(probe)[0]
    _, other = close_pixels(probe, first, second, 1e-15)
    by_hand, by_layer = moved(other, first, second), follow(other, "encoder.pool")
    for key in ("gradient/encoder.relu2", *EARLIER):
        np.testing.assert_array_equal(by_hand[key], by_layer[key])
        assert not np.array_equal(by_hand[key], probe[key])


@pytest.mark.slow
@given_settings(max_examples=5)
@given(places, sides)
def test_a_second_kink_before_the_first_is_explained_as_well(probe, place, order):
    """Two windows of one image, and what both make of earlier gradients."""
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    rest = [pair for pair in pairs if pair[0][0] == first[0] and pair != (first, second)]
    assume(rest)
    third, fourth = rest[place % len(rest)]
    one, other = close_pixels(probe, first, second, 1e-15)
    one, _ = close_pixels(one, third, fourth, 1e-15)
    _, other = close_pixels(other, third, fourth, 1e-15)
    pair = (one, moved(moved(other, first, second), third, fourth))
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    assert found["gradient/encoder.relu2"].explained == "2 windows tie up to rounding"


def assert_parts_at(found, key, indices):
    """The first disagreement is there, what follows from it disagrees, and is not explained."""
    assert apart(found)[0] == key
    assert found[key].index in indices
    assert found[key].max_abs == found[key].raw_max_abs
    assert "gradient/encoder.conv1.weight" in apart(found)
    assert [key for key, one in found.items() if one.explained and not at_the_end(key, found)] == []


def at_the_end(key, found):
    """Whether it is a parameter whose moments agree: those of biases, where a gradient moved
    within a channel."""
    kind, name = key.split("/")
    return kind == "parameter" and all(found[f"moment{n}/{name}"].agrees for n in (1, 2))


@pytest.mark.slow
@given_settings(max_examples=5)
@given(places, sides)
def test_pixels_that_tie_exactly_on_both_sides_leave_no_choice(probe, place, order):
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    tied, _ = close_pixels(probe, first, second, 0.0)
    pair = (tied, moved(tied, first, second))
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, "gradient/encoder.relu2", (first, second))


@given_settings(max_examples=6)
@given(places, sides, st.floats(0.1, 9))
def test_pixels_that_lie_apart_leave_no_choice(probe, place, order, power):
    """From hardly more than the tolerance to a hundredth of the largest."""
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    gap = 10**power * RULE.rtol * magnitude(probe["forward/encoder.relu2"])
    assume(gap < probe["forward/encoder.relu2"][first])
    near, _ = close_pixels(probe, first, second, gap)
    pair = (near, moved(near, first, second))
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, "gradient/encoder.relu2", (first, second))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_pixels_that_lie_apart_on_one_side_leave_no_choice(probe, order):
    """On the other they tie, and no pixel differs by more than the tolerance."""
    first, second = winners(probe)[0]
    tied, _ = close_pixels(probe, first, second, 0.0)
    top = float(probe["forward/encoder.relu2"][first])
    near = RULE.rtol * magnitude(probe["forward/encoder.relu2"])
    wide = tied
    for key in ("forward/encoder.conv2", "forward/encoder.relu2"):
        wide = changed(changed(wide, key, second, top + 0.8 * near), key, first, top - 0.8 * near)
    pair = (tied, moved(wide, first, second))
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, "gradient/encoder.relu2", (first, second))


@given_settings(max_examples=6)
@given(places, sides, st.sampled_from([-1.0, 0.0, 0.5, 1 + 1e-6, 4.0]))
def test_a_gradient_that_does_not_arrive_whole_is_no_kink(probe, place, order, share):
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    one, other = close_pixels(probe, first, second, 1e-15)
    pair = (one, moved(other, first, second, share))
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, "gradient/encoder.relu2", (first, second))


RECTIFIERS = {"encoder.fc1": "encoder.relu3", "decoder.fc1": "decoder.relu1"}
BETWEEN = {  # some of what comes before these and after the encoder's convolutions
    "encoder.fc1": ["gradient/encoder.flatten", "gradient/encoder.pool"],
    "decoder.fc1": [
        f"gradient/{name}"
        for name in ("reparameterise", "encoder.fc2", "encoder.fc3.bias", "encoder.dropout2")
    ],
}


def units(probe, name, idle=False):
    """Elements before a ReLU to whose results much of the gradient goes back, or none."""
    gradient = np.abs(probe[f"gradient/{RECTIFIERS[name]}"])
    elements = np.argwhere(gradient == 0 if idle else gradient > 0.1 * gradient.max())
    return [tuple(int(i) for i in element) for element in elements]


def passed(probe, name, unit, value, share):
    """The probe with this value before a ReLU and so much of the gradient passed."""
    relu = RECTIFIERS[name]
    probe = changed(probe, f"forward/{name}", unit, value)
    probe = changed(probe, f"forward/{relu}", unit, max(value, 0.0))
    gradient = float(probe[f"gradient/{relu}"][unit])
    return follow(changed(probe, f"gradient/{name}", unit, share * gradient), name)


@pytest.mark.parametrize("name", RECTIFIERS)
@given_settings(max_examples=4)
@given(
    place=places,
    order=sides,
    size=st.sampled_from([1e-300, 1e-17, 0.4 * RULE.rtol]),
    exact=st.booleans(),
)
def test_a_zero_up_to_rounding_may_pass_the_gradient_or_not(probe, name, place, order, size, exact):
    every = units(probe, name)
    unit = every[place % len(every)]
    size *= magnitude(probe[f"forward/{name}"])
    below = 0.0 if exact else -size
    pair = (passed(probe, name, unit, size, 1), passed(probe, name, unit, below, 0))
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    assert found[f"gradient/{name}"].explained == "1 element is zero up to rounding"
    for key in (f"gradient/{name}", f"gradient/{name}.weight", *BETWEEN[name], *EARLIER):
        assert found[key].raw_max_abs > RULE.rtol * found[key].largest  # else nothing was shown
        assert found[key].max_abs <= 1e-13 * found[key].largest


def test_a_zero_through_which_no_gradient_goes_is_not_counted(probe):
    (unit, *_), (idle, *_) = (units(probe, "encoder.fc1", idle) for idle in (False, True))
    pair = []
    for value, share in ((1e-17, 1), (-1e-17, 0)):
        one = changed(probe, "forward/encoder.fc1", idle, value)
        pair.append(passed(one, "encoder.fc1", unit, value, share))
    found = compared(*pair)
    assert apart(found) == []
    assert found["gradient/encoder.fc1"].explained == "1 element is zero up to rounding"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_kink_in_an_earlier_layer_adds_to_what_follows_from_a_later_one(probe, order):
    first, second = winners(probe)[0]
    unit = next(unit for unit in units(probe, "encoder.fc1") if unit[0] == first[0])
    one, other = close_pixels(probe, first, second, 1e-15)
    pair = [
        passed(side, "encoder.fc1", unit, value, share)
        for side, value, share in ((one, 1e-17, 1), (other, -1e-17, 0))
    ]
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    both = "follows from kinks; 1 window ties up to rounding"
    assert found["gradient/encoder.relu2"].explained == both
    for key in EARLIER:
        assert found[key].raw_max_abs > RULE.rtol * found[key].largest  # else nothing was shown
        assert found[key].max_abs <= 1e-13 * found[key].largest


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    "value",
    [
        0.0,  # exactly zero on both sides: the rules must agree
        1e-17,  # positive on both sides
        -1e-17,
        1e-3,  # far from zero
        -1e-3,
    ],
)
def test_a_rectifier_that_is_not_at_its_kink_has_no_choice(probe, value, order):
    name = "decoder.fc1"
    unit = units(probe, name)[0]
    pair = [passed(probe, name, unit, value, share) for share in (1, 0)]
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, f"gradient/{name}", [unit])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("shares", [(0.5, 0), (-1, 0), (1, 0.01), (1e3, 0), (0, 1)])
def test_a_rectifier_passes_the_whole_gradient_or_none(probe, shares, order):
    """The last: each side does what the other's sign would have it do."""
    name = "encoder.fc1"
    unit = units(probe, name)[0]
    pair = [passed(probe, name, unit, v, s) for v, s in zip((1e-17, -1e-17), shares, strict=True)]
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, f"gradient/{name}", [unit])


def kinked(probe):
    """Two probes that part in a kink alone, and its gradient."""
    first, second = winners(probe)[0]
    one, other = close_pixels(probe, first, second, 1e-15)
    gradient = abs(float(probe["gradient/encoder.relu2"][first]))
    return one, moved(other, first, second), gradient


@pytest.mark.parametrize(
    "key", ["forward/encoder.relu2", "gradient/encoder.pool", "gradient/decoder.fc2.bias"]
)
def test_what_follows_from_a_disagreement_is_not_explained(probe, key):
    """It would be but for another element of the layer's input, or of a later gradient."""
    one, other, gradient = kinked(probe)
    assert apart(compared(one, other)) == []
    index = tuple(n - 1 for n in one[key].shape)
    found = compared(changed(one, key, index, 10 * magnitude(one[key])), other)
    assert apart(found)[:2] == [key, "gradient/encoder.relu2"]
    kink = found["gradient/encoder.relu2"]
    assert kink.max_abs == kink.raw_max_abs == gradient
    for key in EARLIER:
        assert found[key].explained == ""
        assert found[key].max_abs == found[key].raw_max_abs > RULE.rtol * found[key].largest


@pytest.mark.parametrize("key", ["forward/total", "moment1/decoder.fc1.bias"])
def test_what_does_not_follow_from_a_disagreement_is_explained_as_before(probe, key):
    one, other, _ = kinked(probe)
    index = tuple(n - 1 for n in one[key].shape)
    found = compared(changed(one, key, index, 10 * magnitude(one[key])), other)
    assert apart(found) == [key]
    assert found["gradient/encoder.relu2"].explained == "1 window ties up to rounding"


def test_moments_of_a_gradient_that_parts_are_not_explained(probe):
    """Those of the kink's gradients would be."""
    one, other, _ = kinked(probe)
    name = "encoder.conv1.weight"
    wrong = one | {f"gradient/{name}": -one[f"gradient/{name}"]}
    found = compared(wrong, other)
    assert apart(found)[0] == f"gradient/{name}"
    assert found["gradient/encoder.conv1"].explained == "follows from kinks"
    for key in (f"moment1/{name}", f"moment2/{name}", f"parameter/{name}"):
        assert found[key].explained == ""
        assert not found[key].agrees
        assert found[key].max_abs == found[key].raw_max_abs
