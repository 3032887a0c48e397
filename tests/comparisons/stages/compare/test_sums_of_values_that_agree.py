"""A parameter's gradient that differs because what it is summed from differs by rounding, alike in
all images: behind a batch norm whose input hardly varies, in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW
from stand_ins.probes import Seen, adam, apart, magnitude
from stand_ins.rounding import RoundedOtherwise

from comparisons.agreement.tolerances import stage_rule
from comparisons.stages.compare import compare_probes
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws

RECIPE = NARROW["clustering"]
BATCH, LATENT = 20, 3
SETTINGS = RECIPE.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float32")
RULE = stage_rule("float32", exact=False, normalised=True)
NAME, TAKEN, GIVEN = "pz_y.fc2.weight", "forward/pz_y.lrelu1", "gradient/pz_y.fc2"
WHY = "follows from the rounding of what it is summed from"


def step(engine, digits, plant=lambda network: None):
    """What an engine sees of a step in which `pz_y.bn1` takes what hardly varies."""
    parameters = {k: v.clone() for k, v in RECIPE.initial_parameters(SETTINGS.seed, LATENT).items()}
    parameters["pz_y.fc1.weight"] *= 1e-3
    parameters["pz_y.fc1.bias"] = 0.1 * torch.linspace(0.5, 1, 1024)
    floats = {k: v.float() if v.is_floating_point() else v for k, v in parameters.items()}
    engine.start(RECIPE, SETTINGS, floats)
    plant(engine.network)
    seen = Seen()
    draws = Draws(SETTINGS.seed, "float32").step(0, BATCH, RECIPE.draws(LATENT))
    engine.step(digits.batch(np.arange(BATCH), torch.float32), draws, seen)
    return seen


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference(digits):
    return step(PyTorchEngine("cpu"), digits)


@pytest.fixture(scope="module")
def right(digits):
    return step(RoundedOtherwise("cpu"), digits)


def compared(a, b):
    found = compare_probes(a, b, RECIPE, SETTINGS, 1, RULE)
    return {agreement.quantity.key: agreement for agreement in found}


def test_what_the_values_rounding_makes_of_their_sum_is_explained(right, reference):
    found = compared(right, reference)
    assert apart(found) == []
    gradient = found[f"gradient/{NAME}"]
    assert gradient.explained == WHY
    assert gradient.raw_max_abs > RULE.rtol * gradient.largest  # else nothing was shown
    assert gradient.max_abs <= 0.01 * RULE.rtol * gradient.largest
    assert {found[f"{kind}/{NAME}"].explained for kind in ("moment1", "moment2")} <= {WHY, ""}


def with_gradient(probe, gradient):
    """The probe with another gradient, and what Adam makes of it."""
    return probe | {f"gradient/{NAME}": gradient} | adam(NAME, probe[f"start/{NAME}"], gradient)


@pytest.mark.parametrize("share", [2.0, -1.0])
def test_another_gradient_than_the_values_give_is_not(right, reference, share):
    """Not what the values give, but twice the difference, or the other sign."""
    change = right[f"gradient/{NAME}"] - reference[f"gradient/{NAME}"]
    wrong = with_gradient(right, reference[f"gradient/{NAME}"] + share * change)
    assert apart(compared(wrong, reference))[0] == f"gradient/{NAME}"


@pytest.mark.parametrize("factor", [1 + 3e-4, 1 - 3e-4, (BATCH - 1) / BATCH, 0.5])
def test_a_mistake_at_the_same_place_is_found(right, reference, factor):
    wrong = with_gradient(right, right[f"gradient/{NAME}"] * np.float32(factor))
    assert apart(compared(wrong, reference))[0] == f"gradient/{NAME}"


def test_one_image_less_in_the_sum_is_found(right, reference):
    wrong = with_gradient(right, right[GIVEN][1:].T @ right[TAKEN][1:])
    assert apart(compared(wrong, reference))[0] == f"gradient/{NAME}"


def one_unit_dropped(gradient):
    gradient[0] = 0
    return gradient


@pytest.mark.parametrize(
    "change",
    [
        one_unit_dropped,
        lambda gradient: np.roll(gradient, 1, axis=0),
        lambda gradient: gradient - gradient.mean(1, keepdims=True),
        lambda gradient: torch.from_numpy(gradient).bfloat16().float().numpy(),
        lambda gradient: gradient + 0.01 * magnitude(gradient),
    ],
    ids=["a unit dropped", "units exchanged", "centred", "half precision", "shifted"],
)
def test_a_sum_that_is_another_is_found(right, reference, change):
    wrong = with_gradient(right, change(right[f"gradient/{NAME}"].copy()))
    assert apart(compared(wrong, reference))[0] == f"gradient/{NAME}"


# Mistakes in what is summed, each smaller than the rule allows in one value. The sums follow.
def shifted(size):
    return lambda v: v + size * v.abs().max()


def shifted_by_sign(size):
    return lambda v: v + size * v.abs().max() * v.sign()


def rounded(size):
    return lambda v: (v / v.abs().max() / (2 * size)).round() * 2 * size * v.abs().max()


def of_a_gradient(path, change):
    def plant(network):
        def hook(module, inputs, output):
            output.register_hook(change)

        network.get_submodule(path).register_forward_hook(hook)

    return plant


def of_a_result(path, change):
    def plant(network):
        network.get_submodule(path).register_forward_hook(lambda *given: change(given[-1]))

    return plant


SMALL = [
    (of_a_gradient, "pz_y.log_var", shifted, 8e-5),
    (of_a_gradient, "pz_y.log_var", rounded, 4e-5),
    (of_a_gradient, "pz_y.mean", shifted_by_sign, 2e-5),
    (of_a_gradient, "pz_y.fc2", shifted, 4e-5),
    (of_a_gradient, "pz_y.lrelu1", rounded, 4e-5),
    (of_a_gradient, "pz_y.bn1", shifted, 8e-5),
    (of_a_gradient, "pz_y.bn1", shifted_by_sign, 4e-5),
    (of_a_gradient, "px_z.bn2", shifted, 8e-5),
    (of_a_gradient, "qz_xy.bn3", shifted, 8e-5),
    (of_a_result, "pz_y.log_var", shifted_by_sign, 4e-5),
    (of_a_result, "pz_y.fc2", shifted, 4e-5),
    (of_a_result, "pz_y.lrelu1", shifted, 2e-5),
    (of_a_result, "pz_y.fc1", shifted, 8e-5),
    (of_a_result, "pz_y.fc1", shifted_by_sign, 8e-5),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "path", "change", "size"), SMALL, ids=lambda one: getattr(one, "__name__", None)
)
def test_a_small_mistake_in_what_is_summed_is_found(digits, reference, kind, path, change, size):
    wrong = step(RoundedOtherwise("cpu"), digits, kind(path, change(size)))
    assert apart(compared(wrong, reference)) != []


def test_nothing_is_taken_off_where_the_gradient_agrees(right):
    gradient = compared(right, right)[f"gradient/{NAME}"]
    assert gradient.explained == ""
