"""What rounding a probability near 1 makes of its gradient is explained, and no mistake in it."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.probes import BATCH, CONV, LATENT, apart, changed

from comparisons.agreement.tolerances import STAGE_RULES
from comparisons.stages.compare import compare_probes

SETTINGS = CONV.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float32")
RULE = STAGE_RULES["float32"]
BEFORE, AT = "decoder.conv2", "decoder.sigmoid"
KEYS = [f"forward/{BEFORE}", f"forward/{AT}", f"gradient/{AT}", f"gradient/{BEFORE}"]
PLACE = (3, 468)  # its image is 0 there
EARLIER = (3, 0, 16, 20)  # the same place, before it is flattened
ORDERS = pytest.mark.parametrize("order", [(0, 1), (1, 0)])
SHARE = "1 element is what each side's own values give, which rounding moves apart"


def logits(at=9.495):
    """Of which one is so large that its probability has few digits left below 1."""
    values = np.random.default_rng(0).normal(0, 2, (BATCH, 1, 28, 28))
    values[EARLIER] = at
    return values


def images(at=0.0):
    values = np.random.default_rng(1).random((BATCH, 784))
    values[PLACE] = at
    return values.astype("float32")


def gradient_of(q, x):
    """As PyTorch and R compute it."""
    dtype = q.dtype.type
    return (q - x.astype(dtype)) / np.maximum((dtype(1) - q) * q, dtype(1e-12))


def side(values, x, dtype, hold=None):
    """What an engine of this precision returns; its sigmoid may hold probabilities below 1."""
    q = (1 / (1 + np.exp(-values))).astype(dtype)
    q = q if hold is None else np.minimum(q, dtype(1 - hold))
    q = q.reshape(BATCH, 784)
    probe = {"forward/input": x, f"forward/{BEFORE}": values.astype(dtype), f"forward/{AT}": q}
    return with_gradient(probe, gradient_of(q, x))


def with_gradient(probe, gradient):
    """Both gradients: the sigmoid multiplies with what it returned."""
    q = probe[f"forward/{AT}"]
    passed = (gradient * ((1 - q) * q)).reshape(BATCH, 1, 28, 28)
    return probe | {f"gradient/{AT}": gradient, f"gradient/{BEFORE}": passed}


def far_from_a_number(at):
    """A value near this one whose probability lies between two numbers of single precision."""
    near = (at + 1e-4 * np.arange(100)).astype("float32").astype(np.float64)
    q = 1 / (1 + np.exp(-near))
    return near[np.argmax(np.abs(q.astype("float32") - q) / (1 - q))]


def both(at=9.495, target=0.0):
    """Single precision, and double, as base R has it."""
    at = far_from_a_number(at)
    values, x = logits(at).astype("float32"), images(target)
    return side(values, x, np.float32), side(values.astype(np.float64), x, np.float64)


def compared(pair, order=(0, 1), rule=RULE, settings=SETTINGS):
    a, b = (pair[one] for one in order)
    found = compare_probes(a, b, CONV, settings, 1, rule, set(KEYS))
    return {one.quantity.key: one for one in found}


def assert_parts_here(found, place=PLACE):
    assert apart(found)[0] == f"gradient/{AT}"
    assert found[f"gradient/{AT}"].index == place


@ORDERS
@pytest.mark.parametrize("at", [9.495, 11.0, 13.1, 15.0])
def test_a_probability_near_1_that_is_rounded_once_is_explained(at, order):
    found = compared(both(at), order)
    assert apart(found) == []
    one = found[f"gradient/{AT}"]
    assert one.explained == SHARE
    assert one.raw_max_abs > RULE.rtol * one.largest  # else nothing was shown
    assert found[f"gradient/{BEFORE}"].explained == ""  # nothing of it is left


@ORDERS
def test_a_probability_that_is_rounded_to_1_and_right_loses_nothing(order):
    found = compared(both(19.0, target=1.0), order)
    assert apart(found) == []
    assert found[f"gradient/{AT}"].explained == SHARE


@ORDERS
def test_a_probability_that_is_rounded_to_1_and_wrong_loses_its_gradient(order):
    """1e12 against 2e8, of which the sigmoid makes 0 and 1."""
    assert_parts_here(compared(both(19.0), order))


def rounded_to_half(q, x):
    return gradient_of(q, x).clip(-6e4, 6e4).astype(np.float16).astype(q.dtype)


MISTAKES = {  # of the gradient alone
    "a factor": lambda q, x: gradient_of(q, x) * q.dtype.type(1.001),
    "a small factor": lambda q, x: gradient_of(q, x) * q.dtype.type(1 + 2e-6),
    "a mean over images": lambda q, x: gradient_of(q, x) / len(q),
    "a mean": lambda q, x: gradient_of(q, x) / q.size,
    "its sign": lambda q, x: -gradient_of(q, x),
    "none": lambda q, x: 0 * q,
    "the next grey": lambda q, x: gradient_of(q, x + np.float32(1 / 255)),
    "the image before": lambda q, x: gradient_of(q, np.roll(x, 1, 0)),
    "held at 1e-4": lambda q, x: gradient_of(q.clip(1e-4, 1 - 1e-4), x),
    "held at 5e-5": lambda q, x: gradient_of(q.clip(5e-5, 1 - 5e-5), x),
    "a constant below": lambda q, x: (q - x) / ((1 - q) * q + q.dtype.type(1e-7)),
    "half precision": rounded_to_half,
    "half precision within": lambda q, x: gradient_of(q.astype(np.float16).astype(q.dtype), x),
    "of the next probability": lambda q, x: gradient_of(q - q.dtype.type(2**-24), x),
}


@ORDERS
@pytest.mark.parametrize("wrong_side", [0, 1])
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:overflow", "ignore:invalid value")
def test_a_mistake_in_one_sides_gradient_is_not_explained(mistake, wrong_side, order):
    """Nothing but the mistake keeps the difference from being explained."""
    pair = list(both(9.495 if mistake != "held at 5e-5" else 11.0))
    assert compared(pair, order)[f"gradient/{AT}"].explained == SHARE
    probe = pair[wrong_side]
    wrong = MISTAKES[mistake](probe[f"forward/{AT}"], probe["forward/input"])
    pair[wrong_side] = with_gradient(probe, wrong)
    found = compared(pair, order)
    assert apart(found)[0] == f"gradient/{AT}"
    assert found[f"gradient/{AT}"].max_abs > RULE.rtol * found[f"gradient/{AT}"].largest
    assert SHARE not in found[f"gradient/{AT}"].explained


@ORDERS
@pytest.mark.parametrize("share", [2e-4, 1e-2, 1.0, -1.0])
def test_a_mistake_elsewhere_is_placed_there(share, order):
    one, other = both()
    key, there = f"gradient/{AT}", (2, 5)
    wrong = other[key][there] + share * np.abs(other[key]).max()
    found = compared((one, changed(other, key, there, wrong)), order)
    assert_parts_here(found, there)


@ORDERS
@pytest.mark.parametrize("hold", [1e-7, 1e-6, 1e-5])
def test_a_sigmoid_held_below_1_is_not_explained(hold, order):
    """Its result agrees with the other's by the rule, and its gradient is what this gives."""
    values, x = logits(19.0), images()
    pair = side(values, x, np.float64), side(values, x, np.float32, hold)
    found = compared(pair, order)
    assert found[f"forward/{AT}"].agrees
    assert_parts_here(found)


@ORDERS
@pytest.mark.parametrize("off", [2e-4, 5e-4, 9e-4])
def test_another_value_before_the_sigmoid_is_not_rounding(off, order):
    """One that agrees by the rule; both sides' probabilities are within two roundings."""
    x = images()
    pair = side(logits(), x, np.float32), side(logits(9.495 + off), x, np.float64)
    found = compared(pair, order)
    assert found[f"forward/{BEFORE}"].agrees
    assert_parts_here(found)


@ORDERS
def test_another_image_is_not_rounding(order):
    """One that nothing else is seen of: it is not compared."""
    one, _ = both()
    values = one[f"forward/{BEFORE}"].astype(np.float64)
    assert_parts_here(compared((one, side(values, images(1e-3), np.float64)), order))


def test_nothing_is_explained_where_every_bit_has_to_be_equal():
    found = compared(both(), rule=type(RULE)(0.0, "element"))
    assert all(one.explained == "" for one in found.values())


def test_in_double_precision_nothing_is_explained_that_single_precision_would():
    settings = CONV.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float64")
    found = compared(both(), rule=STAGE_RULES["float64"], settings=settings)
    assert f"gradient/{AT}" in apart(found)
    assert found[f"gradient/{AT}"].explained == ""


@pytest.mark.parametrize("missing", ["forward/input", f"forward/{BEFORE}"])
def test_without_what_it_follows_from_nothing_is_explained(missing):
    pair = [{key: value for key, value in probe.items() if key != missing} for probe in both()]
    found = compared(pair)
    assert f"gradient/{AT}" in apart(found)
    assert found[f"gradient/{AT}"].explained == ""


def test_nothing_is_computed_where_nothing_differs(monkeypatch):
    """By more than the rule."""
    monkeypatch.setattr("comparisons.stages.compare.parted_by_rounding", None)
    found = compared(both(3.0))
    assert apart(found) == []
    assert found[f"gradient/{AT}"].raw_max_abs > 0
