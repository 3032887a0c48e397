"""Where two probes differ is where they were made to; what is explained follows from rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from stand_ins.narrow import NARROW_CONV

from comparisons.agreement.tolerances import STAGE_RULES, Rule
from comparisons.expected.layers import Layers, float64
from comparisons.stages.compare import StageAgreement, compare_probes
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.model.stages import Quantity, quantities

pytestmark = pytest.mark.slow

CONV = NARROW_CONV
BATCH, LATENT = 6, 3
SETTINGS = CONV.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float64")
PARAMETERS = CONV.parameter_names(LATENT)
KEYS = [quantity.key for quantity in quantities(CONV.stages, PARAMETERS)]
RULE = STAGE_RULES["float64"]
places = st.integers(0, 2**40)
sides = st.sampled_from([(0, 1), (1, 0)])


class Seen(dict):
    """A probe that does not fill the screen where a test fails."""

    def __repr__(self):
        return f"a probe of {len(self)}"


@pytest.fixture(scope="module")
def probe(digits):
    """What PyTorch's engine saw in its first step. One thread: that two wait for each other
    takes longer than what they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    engine = PyTorchEngine("cpu")
    engine.start(CONV, SETTINGS, CONV.initial_parameters(SETTINGS.seed, LATENT))
    seen = Seen()
    x = digits.batch(np.arange(BATCH), torch.float64)
    engine.step(x, Draws(SETTINGS.seed).step(0, BATCH, CONV.draws(LATENT)), seen)
    yield seen
    torch.set_num_threads(threads)


def compared(a, b, rule=RULE, keys=None):
    """Agreements by key."""
    found = compare_probes(a, b, CONV, SETTINGS, 1, rule, keys)
    return {agreement.quantity.key: agreement for agreement in found}


def changed(probe, key, index, value):
    """The probe with another value at one place."""
    array = probe[key].copy()
    array[index] = value
    return probe | {key: array}


def apart(agreements):
    return [key for key, agreement in agreements.items() if not agreement.agrees]


def magnitude(array):
    return float(np.abs(array).max())


# One element


def test_a_probe_agrees_with_itself_everywhere_without_a_difference(probe):
    found = compared(probe, {key: value.copy() for key, value in probe.items()}, Rule(0, "tensor"))
    assert list(found) == KEYS
    for key, agreement in found.items():
        assert agreement.agrees
        assert agreement.max_abs == agreement.raw_max_abs == agreement.required_rtol == 0
        assert agreement.ulps("float64") == 0
        assert agreement.largest == magnitude(probe[key])
        assert agreement.shape == probe[key].shape
        assert (agreement.explained, agreement.problem) == ("", "")


@given_settings(max_examples=30, deadline=None)
@given(st.sampled_from(KEYS), places, st.floats(0.05, 14), st.booleans(), sides)
def test_one_changed_element_is_found_with_its_place_and_values(
    probe, key, place, power, negative, order
):
    """Changed by more than the tolerance: from hardly more to a thousand times the largest."""
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    change = 10**power * RULE.rtol * magnitude(probe[key])
    before = float(probe[key][index])
    after = before - change if negative else before + change
    pair = (changed(probe, key, index, after), probe)
    found = compared(*(pair[side] for side in order))
    assert apart(found) == [key]
    assert found[key].index == index
    assert found[key].values == tuple((after, before)[side] for side in order)
    assert found[key].max_abs == abs(after - before)
    assert found[key].largest == max(magnitude(one[key]) for one in pair)
    assert all(one.raw_max_abs == 0 for other, one in found.items() if other != key)


@pytest.mark.slow
@given_settings(max_examples=25, deadline=None)
@given(st.sampled_from(KEYS), places, st.floats(-4, -0.05), st.booleans(), sides)
def test_one_element_changed_by_less_than_the_tolerance_agrees(
    probe, key, place, power, negative, order
):
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    change = 10**power * RULE.rtol * magnitude(probe[key])
    before = float(probe[key][index])
    after = before - change if negative else before + change
    assume(after != before)
    pair = (changed(probe, key, index, after), probe)
    found = compared(*(pair[side] for side in order))
    assert apart(found) == []
    assert found[key].index == index
    assert found[key].max_abs == abs(after - before)


@pytest.mark.parametrize(
    "bad", [math.nan, *(pytest.param(v, marks=pytest.mark.slow) for v in (math.inf, -math.inf))]
)
@given_settings(max_examples=15, deadline=None)
@given(key=st.sampled_from(KEYS), place=places, order=sides, both=st.booleans())
def test_what_is_not_finite_is_a_disagreement_with_a_word(probe, bad, key, place, order, both):
    """On both sides as well: nobody knows what it hides."""
    index = tuple(int(i) for i in np.unravel_index(place % probe[key].size, probe[key].shape))
    one = changed(probe, key, index, bad)
    pair = (one, one if both else probe)
    a, b = (pair[side] for side in order)
    found = compared(a, b, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == f"{float(a[key][index])} against {float(b[key][index])}"
    assert found[key].index == index
    np.testing.assert_array_equal(found[key].values, (a[key][index], b[key][index]))
    assert math.isnan(found[key].required_rtol)
    assert math.isnan(found[key].ulps("float64"))


def test_numbers_whose_sum_overflows_are_finite(probe):
    key = "gradient/encoder.fc1"
    large = probe | {key: np.full_like(probe[key], 1e308)}
    assert apart(compared(large, large)) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("key", ["forward/encoder.conv1", "gradient/encoder.fc1.weight"])
def test_another_shape_is_a_disagreement_with_a_word(probe, key, order):
    """Also one that NumPy would broadcast."""
    pair = (probe, probe | {key: probe[key][:1]})
    a, b = (pair[side] for side in order)
    found = compared(a, b, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == f"shape {a[key].shape} against {b[key].shape}"
    assert found[key].shape == a[key].shape


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_absent_key_is_a_disagreement_with_a_word(probe, order):
    key = "gradient/encoder.relu1"
    without = {k: v for k, v in probe.items() if k != key}
    found = compared(*((without, probe)[side] for side in order), Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == "is on one side only"
    found = compared(without, without, Rule(1e300, "tensor"))
    assert apart(found) == [key]
    assert found[key].problem == "is on neither side"


def test_nothing_to_compare_is_no_agreement(probe):
    empty = probe | {"forward/encoder.fc1": np.empty((0, 128))}
    found = compared(empty, empty)
    assert apart(found) == ["forward/encoder.fc1"]
    assert found["forward/encoder.fc1"].problem == "is empty"


@given_settings(max_examples=25, deadline=None)
@given(st.sampled_from(KEYS), st.integers(0, 2**32), st.floats(-17, 1), sides)
def test_the_tolerance_that_is_said_to_suffice_does_and_a_smaller_one_does_not(
    probe, key, seed, power, order
):
    noise = np.random.default_rng(seed).normal(size=probe[key].shape) * 10**power
    pair = (probe, probe | {key: probe[key] + noise * magnitude(probe[key])})
    a, b = (pair[side] for side in order)
    needed = compared(a, b, keys={key})[key].required_rtol
    assume(needed > 0)
    assert needed == magnitude(a[key] - b[key]) / max(magnitude(a[key]), magnitude(b[key]))
    assert compared(a, b, Rule(needed, "tensor"), {key})[key].agrees
    assert not compared(a, b, Rule(needed * 0.999, "tensor"), {key})[key].agrees


def test_only_what_is_asked_for_is_compared_in_the_order_of_computation(probe):
    asked = {"parameter/encoder.conv1.bias", "forward/total", "moment1/decoder.fc1.weight"}
    assert list(compared(probe, probe, keys=asked)) == [
        "forward/total",
        "moment1/decoder.fc1.weight",
        "parameter/encoder.conv1.bias",
    ]


# Units of the last place


def agreement_of(max_abs, largest):
    quantity = Quantity("forward/total", "forward", ("total",))
    return StageAgreement(1, quantity, (), largest, max_abs, max_abs, 1e-11)


@given_settings(max_examples=300, deadline=None)
@given(st.floats(0, 1e300, exclude_min=True), st.integers(0, 10**6))
def test_ulps_count_the_steps_of_the_largest_magnitude(largest, steps):
    assert agreement_of(steps * math.ulp(largest), largest).ulps("float64") == steps


@given_settings(max_examples=300, deadline=None)
@given(st.floats(0, float(np.float32(1e30)), width=32, exclude_min=True), st.integers(0, 10**6))
def test_ulps_count_the_steps_in_single_precision(largest, steps):
    one = float(np.nextafter(np.float32(largest), np.float32(np.inf))) - largest
    assert agreement_of(steps * one, largest).ulps("float32") == steps


@pytest.mark.parametrize("power", [-1074, -1022, -3, 0, 3, 1000])
def test_ulps_shrink_below_a_power_of_two(power):
    """Below it the numbers lie twice as close, where they have all their digits."""
    largest = 2.0**power
    below = math.nextafter(largest, 0.0)
    assert agreement_of(math.ulp(largest), largest).ulps("float64") == 1
    if below > 0:
        assert agreement_of(math.ulp(below), below).ulps("float64") == 1


def test_ulps_are_those_of_the_numbers_compared(probe):
    key = "forward/total"
    value = float(probe[key])
    other = value
    for _ in range(5):
        other = math.nextafter(other, math.inf)
    found = compared(changed(probe, key, (), other), probe)[key]
    assert found.ulps("float64") == 5
    assert replace(found, problem="nan against 1").ulps("float64") is math.nan


# Kinks decided by rounding


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


def adam(name, start, gradient, epsilon=1e-8):
    """Kingma & Ba (2015), algorithm 1, for the first step."""
    moment1, moment2 = (1 - 0.9) * gradient, (1 - 0.999) * gradient**2
    parameter = stepped(start, moment1, moment2, epsilon)
    parts = {"moment1": moment1, "moment2": moment2, "parameter": parameter}
    return {f"{kind}/{name}": value for kind, value in parts.items()}


def stepped(start, moment1, moment2, epsilon=1e-8):
    mean, square = moment1 / (1 - 0.9), moment2 / (1 - 0.999)
    return start - SETTINGS.learning_rate * mean / (np.sqrt(square) + epsilon)


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


@given_settings(max_examples=8, deadline=None)
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
@given_settings(max_examples=5, deadline=None)
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
@given_settings(max_examples=5, deadline=None)
@given(places, sides)
def test_pixels_that_tie_exactly_on_both_sides_leave_no_choice(probe, place, order):
    pairs = winners(probe)
    first, second = pairs[place % len(pairs)]
    tied, _ = close_pixels(probe, first, second, 0.0)
    pair = (tied, moved(tied, first, second))
    found = compared(*(pair[side] for side in order))
    assert_parts_at(found, "gradient/encoder.relu2", (first, second))


@given_settings(max_examples=6, deadline=None)
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


@given_settings(max_examples=6, deadline=None)
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
@given_settings(max_examples=4, deadline=None)
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


# Adam's amplification of rounding


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


names = st.sampled_from(["decoder.conv1.weight", "encoder.fc3.weight", "decoder.fc2.weight"])


@given_settings(max_examples=8, deadline=None)
@given(names, st.integers(0, 2**32))
def test_what_adam_makes_of_the_moments_rounding_is_explained(probe, name, seed):
    found = compared(amplified(probe, name, seed), amplified(probe, name, seed + 1))
    assert apart(found) == []
    parameter = found[f"parameter/{name}"]
    assert parameter.explained == "follows from the moments' rounding"
    assert parameter.raw_max_abs > RULE.rtol * parameter.largest  # else nothing was shown
    assert parameter.max_abs <= 1e-15 * parameter.largest


@given_settings(max_examples=8, deadline=None)
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
