"""Mistakes made by hand are recognised, on whichever side they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from stand_ins.narrow import CHANNELS, HIDDEN, NARROW_CONV

from comparisons.diagnosis.place import Place
from comparisons.diagnosis.recognise import Finding, recognise
from comparisons.expected.layers import Layers
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.model.stages import Probe, quantities

pytestmark = pytest.mark.slow

CONV = NARROW_CONV
BATCH, LATENT = 6, 3
NAMES = ("python", "r")
QUANTITIES = {q.key: q for q in quantities(CONV.stages, CONV.parameter_names(LATENT))}
both_sides = pytest.mark.parametrize("side", [0, 1])


def settings_of(objective):
    return CONV.settings(objective=objective, batch_size=BATCH, latent_dim=LATENT, dtype="float64")


@pytest.fixture(scope="module")
def probes(digits):
    """What PyTorch's engine saw in three steps, by objective. One thread: that two wait for
    each other takes longer than what they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seen: dict[str, list[Probe]] = {}
    for objective in CONV.objectives:
        settings = settings_of(objective)
        engine = PyTorchEngine("cpu")
        engine.start(CONV, settings, CONV.initial_parameters(settings.seed, LATENT))
        seen[objective] = [{}, {}, {}]
        for k, probe in enumerate(seen[objective]):
            x = digits.batch(np.arange(BATCH * k, BATCH * (k + 1)), torch.float64)
            engine.step(x, Draws(settings.seed).step(k, BATCH, CONV.draws(LATENT)), probe)
    yield seen
    torch.set_num_threads(threads)


def recognised(
    probes: dict[str, list[Probe]],
    key: str,
    value: NDArray,
    side: int,
    step: int = 1,
    objective: str = "vae",
    known: bool = True,
) -> Finding:
    """What is recognised where one side returned this value and the other the right one."""
    right = probes[objective][step - 1]
    pair = [right, right]
    pair[side] = right | {key: np.asarray(value)}
    before = probes[objective][step - 2] if step > 1 and known else None
    previous = None if before is None else (before, before)
    layers = Layers(CONV, settings_of(objective), step)
    return recognise(Place(QUANTITIES[key], (pair[0], pair[1]), NAMES, layers, previous))


def draw(name: str, step: int) -> NDArray:
    return Draws(settings_of("vae").seed).step(step - 1, BATCH, CONV.draws(LATENT))[name]


def tensor(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


@dataclass(frozen=True)
class Case:
    """A mistake: what is returned in place of which quantity, and what is said of it.

    Attributes:
        key: The quantity.
        value: From the step's probe and the one before, what is returned.
        words: Said of the wrong side, by its name.
        step, objective: Of the run.
    """

    key: str
    value: Callable[[Probe, Probe], NDArray]
    words: str
    step: int = 1
    objective: str = "vae"


def flipped(p, _):
    x = tensor(p["forward/input"]).reshape(-1, 1, 28, 28)
    weight = tensor(p["start/encoder.conv1.weight"][:, :, ::-1, ::-1])
    return F.conv2d(x, weight, tensor(p["start/encoder.conv1.bias"])).numpy()


def padded(p, _):
    x = tensor(p["forward/input"]).reshape(-1, 1, 28, 28)
    weight, bias = (tensor(p[f"start/encoder.conv1.{kind}"]) for kind in ("weight", "bias"))
    return F.conv2d(x, weight, bias, padding=1).numpy()


def averaged(p, _):
    return p["forward/encoder.relu2"].reshape(BATCH, CHANNELS, 12, 2, 12, 2).mean((3, 5))


def tied(rule):
    """Max-pooling's gradient with another rule for pixels that are equal."""

    def value(p, _):
        windows = p["forward/encoder.relu2"].reshape(BATCH, CHANNELS, 12, 2, 12, 2)
        windows = windows.transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
        share = rule(windows == windows.max(1, keepdims=True))
        back = (share * p["gradient/encoder.pool"].reshape(-1, 1)).reshape(
            BATCH, CHANNELS, 12, 12, 2, 2
        )
        return back.transpose(0, 1, 2, 4, 3, 5).reshape(BATCH, CHANNELS, 24, 24)

    return value


def last(equal):
    return np.arange(4) == 3 - equal[:, ::-1].argmax(1)[:, None]


def oriented(p, _):
    """A transposed convolution's weight, read as a convolution's, on an image of one pixel."""
    weight, bias = (p[f"start/decoder.conv1.{kind}"] for kind in ("weight", "bias"))
    y = p["forward/decoder.relu2"] @ weight.reshape(HIDDEN, 128).T + bias
    return y.reshape(BATCH, HIDDEN, 1, 1)


def sampled(sigma):
    """A posterior's sample with a standard deviation from the log-variance."""

    def value(p, _):
        return p["forward/encoder.fc2"] + sigma(p["forward/encoder.fc3"]) * draw("noise", 1)

    return value


def divergence(p):
    mu, log_var = p["forward/encoder.fc2"], p["forward/encoder.fc3"]
    return -0.5 * (1 + log_var - mu**2 - np.exp(log_var))


def gradient_of_kernels(kernel):
    def value(p, _):
        weight = tensor(kernel(p["start/encoder.conv2.weight"]))
        return F.conv_transpose2d(tensor(p["gradient/encoder.conv2"]), weight).numpy()

    return value


def part_of_log_var(reparameterise, regulariser):
    """The gradient with respect to the log-variance, from its two parts by hand."""

    def value(p, _):
        dz, log_var = p["gradient/reparameterise"], p["forward/encoder.fc3"]
        sample = dz * draw("noise", 1) * np.exp(log_var / 2) / 2
        return reparameterise * sample + regulariser * (np.exp(log_var) - 1) / 2

    return value


def update(p, epsilon=1e-8, rate=1e-3, decay=0.0, step=1, inside=0.0, corrected=True):
    name = "encoder.fc1.weight"
    start, m, v = (p[f"{kind}/{name}"] for kind in ("start", "moment1", "moment2"))
    if corrected:
        m, v = m / (1 - 0.9**step), v / (1 - 0.999**step)
    return start - rate * decay * start - rate * m / (np.sqrt(v + inside) + epsilon)


WEIGHT = "parameter/encoder.fc1.weight"
CASES = {
    # forward
    "kernel": Case("forward/encoder.conv1", flipped, r"its kernel flipped"),
    "no ReLU": Case(
        "forward/encoder.relu1", lambda p, _: p["forward/encoder.conv1"], "no ReLU$"),
    "average pool": Case("forward/encoder.pool", averaged, "average pooling$"),
    "dropout's factor": Case(
        "forward/encoder.dropout1", lambda p, _: 0.75 * p["forward/encoder.dropout1"],
        r"1/\(1 - p\) missing$"),
    "dropout's mask": Case(
        "forward/encoder.dropout2",
        lambda p, _: p["forward/encoder.relu3"] * ~draw("dropout2", 1) / 0.5,
        "the mask inverted$"),
    "dropout's last mask": Case(
        "forward/encoder.dropout1",
        lambda p, _: p["forward/encoder.pool"] * draw("dropout1", 1) / 0.75,
        "the mask of the step before$", step=2),
    "channels last": Case(
        "forward/encoder.flatten",
        lambda p, _: np.moveaxis(p["forward/encoder.dropout1"], 1, 3).reshape(BATCH, -1),
        r"flattened in the order channel last \(row, column, channel\)$"),
    "bias": Case(
        "forward/encoder.fc1",
        lambda p, _: p["forward/encoder.fc1"] - p["start/encoder.fc1.bias"], "no bias$"),
    "square weight": Case(
        "forward/decoder.fc2",
        lambda p, _: (p["forward/decoder.relu1"] @ p["start/decoder.fc2.weight"]
                      + p["start/decoder.fc2.bias"]), "its weight not transposed$"),
    "no 1/2": Case("forward/reparameterise", sampled(np.exp), r".*exp\(log_var\) without the 1/2$"),
    "variance": Case(
        "forward/reparameterise", sampled(lambda s: s), "log_var itself taken for the standard"),
    "no noise": Case("forward/reparameterise", sampled(np.zeros_like), "no noise: z = mu$"),
    "orientation": Case("forward/decoder.conv1", oriented, r".*read as \(outputs, inputs\)"),
    "logits": Case(
        "forward/decoder.sigmoid",
        lambda p, _: p["forward/decoder.conv2"].reshape(BATCH, 784), "no sigmoid: logits$"),
    "mean BCE": Case(
        "forward/reconstruction", lambda p, _: p["forward/reconstruction"] / (BATCH * 784),
        "averaged over images and pixels where it is summed$"),
    "mean KL": Case(
        "forward/regulariser", lambda p, _: divergence(p).sum(1).mean(),
        "averaged over images where it is summed$"),
    "KL of log-sigma": Case(
        "forward/regulariser",
        lambda p, _: divergence(p | {"forward/encoder.fc3": 2 * p["forward/encoder.fc3"]}).sum(),
        "log_var read as a log-standard-deviation$"),
    "EMAE's half": Case(
        "forward/regulariser", lambda p, _: (p["forward/encoder.fc2"] ** 2).sum(),
        "without its factor 1/2$", objective="emae"),
    "other objective": Case(
        "forward/regulariser", lambda p, _: divergence(p).sum(),
        r"the regulariser of the other objective \(vae\)$", objective="emae"),
    "total": Case(
        "forward/total", lambda p, _: p["forward/reconstruction"] - p["forward/regulariser"],
        "the regulariser subtracted$"),
    # backward
    "sigmoid's derivative": Case(
        "gradient/decoder.conv2",
        lambda p, _: p["gradient/decoder.sigmoid"].reshape(BATCH, 784, 1, 1),
        r"y \(1 - y\) missing$"),
    "ReLU's mask": Case(
        "gradient/encoder.conv1", lambda p, _: p["gradient/encoder.relu1"],
        "ReLU's mask not applied$"),
    "dropout's backward factor": Case(
        "gradient/encoder.relu3", lambda p, _: p["gradient/encoder.relu3"] / 2,
        r"1/\(1 - p\) missing$"),
    "average pool's gradient": Case(
        "gradient/encoder.relu2",
        lambda p, _: np.kron(p["gradient/encoder.pool"], np.ones((2, 2))) / 4,
        "average pooling's gradient$"),
    "last of equal pixels": Case(
        "gradient/encoder.relu2", tied(last),
        r"among equal pixels the last gets the gradient \(torch: the first\)$"),
    "all equal pixels": Case(
        "gradient/encoder.relu2", tied(lambda equal: equal),
        r"all equal pixels get the whole gradient \(torch: the first\)$"),
    "equal pixels share": Case(
        "gradient/encoder.relu2", tied(lambda equal: equal / equal.sum(1, keepdims=True)),
        r"equal pixels share the gradient \(torch: the first gets it\)$"),
    "kernel's gradient": Case(
        "gradient/encoder.relu1", gradient_of_kernels(lambda w: w[:, :, ::-1, ::-1]),
        "the kernel flipped$"),
    "kernel's other gradient": Case(
        "gradient/encoder.relu1", gradient_of_kernels(lambda w: w.swapaxes(2, 3)),
        "the kernel's rows and columns exchanged$"),
    "not zeroed": Case(
        "gradient/encoder.fc1.weight",
        lambda p, b: p["gradient/encoder.fc1.weight"] + b["gradient/encoder.fc1.weight"],
        ".*it was not zeroed$", step=2),
    # Adam
    "beta1": Case(
        "moment1/encoder.conv1.weight", lambda p, _: 0.05 * p["gradient/encoder.conv1.weight"],
        r"beta1 = 0\.95 where it is 0\.9$"),
    "beta2, later": Case(
        "moment2/encoder.conv1.weight",
        lambda p, b: (0.99 * b["moment2/encoder.conv1.weight"]
                      + 0.01 * p["gradient/encoder.conv1.weight"] ** 2),
        r"beta2 = 0\.99 where it is 0\.999$", step=3),
    "not squared": Case(
        "moment2/encoder.conv1.weight",
        lambda p, _: 0.001 * np.abs(p["gradient/encoder.conv1.weight"]),
        "the gradient not squared$"),
    "weight decay": Case(
        "moment1/encoder.conv1.weight",
        lambda p, b: (p["moment1/encoder.conv1.weight"]
                      + 0.1 * 0.01 * p["start/encoder.conv1.weight"]),
        "weight decay 0.01 added to the gradient$", step=3),
    "epsilon": Case(WEIGHT, lambda p, _: update(p, 1e-5), "epsilon = 1e-05 where it is 1e-08$"),
    "epsilon inside": Case(
        WEIGHT, lambda p, _: update(p, 0, inside=1e-8), "epsilon inside the square root$"),
    "learning rate": Case(
        WEIGHT, lambda p, _: update(p, rate=2e-3), r"learning rate 0\.002 where it is 0\.001$"),
    "AdamW": Case(
        WEIGHT, lambda p, _: update(p, decay=0.01), r"decoupled weight decay 0\.01 \(AdamW\)$"),
    "bias correction": Case(
        WEIGHT, lambda p, _: update(p, corrected=False), "no bias correction$"),
    "counted from 0": Case(
        WEIGHT, lambda p, _: update(p, step=2), "the step counted from 0", step=3),
}  # fmt: skip


@both_sides
@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_recognised_and_so_is_the_side(probes, name, side):
    case = CASES[name]
    steps = probes[case.objective]
    value = case.value(steps[case.step - 1], steps[case.step - 2])
    finding = recognised(probes, case.key, value, side, case.step, case.objective)
    assert finding.wrong == NAMES[side]
    (words,) = finding.words
    assert words.startswith(f"{NAMES[side]}: ")
    assert re.match(case.words, words.removeprefix(f"{NAMES[side]}: "))
    assert finding.stage == ""


@both_sides
def test_another_shape_is_told_beside_the_mistake(probes, side):
    finding = recognised(probes, "forward/encoder.conv1", padded(probes["vae"][0], None), side)
    channels = CHANNELS // 2
    shapes = [(BATCH, channels, 26, 26), (BATCH, channels, 26, 26)]
    shapes[side] = (BATCH, channels, 28, 28)
    assert finding.wrong == NAMES[side]
    assert finding.words == (
        f"{NAMES[side]}: padding 1 where there is none",
        f"python has shape {shapes[0]}, r has shape {shapes[1]}",
    )


@both_sides
@pytest.mark.parametrize(
    ("parts", "stage", "factor"),
    [
        ((2, 1), "reparameterise", "2"),
        ((-1, 1), "reparameterise", "-1"),
        ((1, -1), "regulariser", "-1"),
        ((1, 0.25), "regulariser", "0.25"),
        ((1, 0), "regulariser", "0"),
    ],
)
def test_of_two_parts_of_a_gradient_the_wrong_one_is_named(probes, parts, stage, factor, side):
    finding = recognised(
        probes, "gradient/encoder.fc3", part_of_log_var(*parts)(probes["vae"][0], 0), side
    )
    assert finding.stage == stage
    assert finding.wrong == NAMES[side]
    how = "missing" if factor == "0" else f"{factor} times what it is"
    assert finding.words == (f"{NAMES[side]}: {stage}'s part of the gradient is {how}",)


@both_sides
def test_of_two_wrong_parts_none_is_named(probes, side):
    value = part_of_log_var(2, 3)(probes["vae"][0], 0)
    finding = recognised(probes, "gradient/encoder.fc3", value, side)
    assert finding.stage == ""
    assert finding.wrong == NAMES[side]
    assert finding.words == (f"{BATCH * LATENT} of {BATCH * LATENT} elements differ",)


@both_sides
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 255 / 256,
         "{0} is {1} times 255/256 (pixels divided by 256 where it is 255)"),
        (lambda x: x * 255, "{1} is {0} times 1/255 (pixels not divided by 255)"),
        (lambda x: -x, "r has the opposite sign of python"),
        (lambda x: x[::-1], "equal after reversing axis 0"),
        (lambda x: x.reshape(-1, 28, 28).swapaxes(1, 2).reshape(-1, 784),
         "equal after exchanging rows and columns of each image"),
        (lambda x: np.random.default_rng(1).permuted(x, axis=1),
         "the same numbers in each image, in another order"),
    ],
)  # fmt: skip
def test_of_the_input_the_relation_is_told_but_not_who_is_right(probes, change, words, side):
    finding = recognised(
        probes, "forward/input", change(probes["vae"][0]["forward/input"]).copy(), side
    )
    assert finding.wrong == ""
    assert finding.words == (words.format(NAMES[side], NAMES[1 - side]),)


@both_sides
def test_a_relation_is_told_where_no_usual_mistake_fits(probes, side):
    """An average over the batch in the loss's backward pass alone."""
    key = "gradient/decoder.sigmoid"
    finding = recognised(probes, key, probes["vae"][0][key] / BATCH, side)
    assert finding.wrong == NAMES[side]
    words = f"{NAMES[side]} is {NAMES[1 - side]} times 1/batch size (1/{BATCH})"
    assert finding.words == (words,)


@both_sides
@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("key", ["forward/encoder.fc1", "gradient/decoder.relu2", "forward/input"])
def test_what_was_returned_in_the_step_before_is_recognised(probes, key, step, side):
    before = probes["vae"][step - 2][key]
    finding = recognised(probes, key, before, side, step)
    assert finding.words == (f"{NAMES[side]} returns what it returned in the step before",)
    assert finding.wrong == ("" if key == "forward/input" else NAMES[side])
    unknown = recognised(probes, key, before, side, step, known=False)
    assert "elements differ" in unknown.words[0]


@both_sides
@pytest.mark.parametrize(
    "key",
    [
        "forward/encoder.relu2",
        "forward/encoder.fc3",
        "gradient/encoder.dropout2",
        "gradient/decoder.conv1",
        "gradient/decoder.fc1.weight",
        "moment1/encoder.fc2.weight",
        "moment2/encoder.fc2.weight",
        "parameter/encoder.fc2.weight",
    ],
)
def test_of_unknown_damage_it_is_told_how_much_and_where(probes, key, side):
    right = probes["vae"][1][key]
    random = np.random.default_rng(3)
    damaged = random.random(right.shape) < 0.1
    noise = np.abs(right).max() * random.uniform(0.5, 1, right.shape)
    finding = recognised(probes, key, right + damaged * noise, side, step=2)
    assert finding.wrong == NAMES[side]
    assert finding.stage == ""
    assert finding.words == (f"{damaged.sum():,} of {damaged.size:,} elements differ",)


@both_sides
def test_of_a_start_that_differs_nothing_is_known_but_that(probes, side):
    """It comes from the step before."""
    key = "start/encoder.fc3.bias"
    finding = recognised(probes, key, probes["vae"][1][key] + np.array([0, 0, 1]), side, step=2)
    assert finding == Finding(words=("1 of 3 elements differ",))


@both_sides
@pytest.mark.parametrize(("bad", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_values_that_are_not_finite_are_counted(probes, bad, word, side):
    key = "forward/decoder.fc1"
    value = probes["vae"][0][key].copy()
    value[2, 5:9] = bad
    finding = recognised(probes, key, value, side)
    assert finding.wrong == NAMES[side]
    assert finding.words == (f"{NAMES[side]}: 4 of {value.size} values {word}",)


def test_where_both_sides_are_wrong_none_is_named(probes):
    right = probes["vae"][0]
    layers = Layers(CONV, settings_of("vae"), 1)
    key = "forward/decoder.fc1"
    for first, second in ((2.0, 3.0), (math.nan, math.inf), (math.nan, -math.nan)):
        pair = []
        for column, factor in enumerate((first, second)):
            value = right[key].copy()
            value[:, column] *= factor
            pair.append(right | {key: value})
        finding = recognise(Place(QUANTITIES[key], (pair[0], pair[1]), NAMES, layers))
        assert finding.wrong == ""
        assert finding.words


def test_where_both_have_another_shape_none_is_named(probes):
    right = probes["vae"][0]
    layers = Layers(CONV, settings_of("vae"), 1)
    key = "forward/encoder.conv1"
    a, b = right | {key: padded(right, None)}, right | {key: right[key][:, :, :13]}
    finding = recognise(Place(QUANTITIES[key], (a, b), NAMES, layers))
    assert finding.wrong == ""
    assert any("has shape" in words for words in finding.words)


@both_sides
def test_of_what_is_absent_nothing_is_said(probes, side):
    right = probes["vae"][0]
    key = "gradient/encoder.relu1"
    pair = [right, right]
    pair[side] = {k: v for k, v in right.items() if k != key}
    layers = Layers(CONV, settings_of("vae"), 1)
    assert recognise(Place(QUANTITIES[key], (pair[0], pair[1]), NAMES, layers)) == Finding()


@both_sides
@pytest.mark.parametrize("finished", [True, False])
def test_a_gradient_that_is_cut_off_is_told_from_a_step_that_failed(probes, finished, side):
    """Cut off between z and the decoder, the KL's part of the heads' gradients is left."""
    right = probes["vae"][0]
    key = "gradient/reparameterise"
    mu, log_var = right["forward/encoder.fc2"], right["forward/encoder.fc3"]
    left = {"gradient/encoder.fc2": mu, "gradient/encoder.fc3": (np.exp(log_var) - 1) / 2}
    cut = {k: v for k, v in right.items() if k != key} | left
    if not finished:
        cut = {k: v for k, v in cut.items() if k.startswith(("start/", "forward/"))}
    pair = [right, right]
    pair[side] = cut
    layers = Layers(CONV, settings_of("vae"), 1)
    finding = recognise(Place(QUANTITIES[key], (pair[0], pair[1]), NAMES, layers))
    if not finished:
        assert finding == Finding()
        return
    assert finding.wrong == NAMES[side]
    (words,) = finding.words
    assert "no gradient arrives: cut off between reparameterise and decoder.fc1" in words


@both_sides
def test_of_re_synchronised_moments_the_one_before_is_the_side_under_tests(probes, side):
    """Both started from it; what the reference had after its own step is past."""
    key = "moment1/encoder.fc2.weight"
    before, right = probes["vae"][0], probes["vae"][1]
    astray = before | {key: before[key] + np.abs(before[key]).max()}
    gradient = right["gradient/encoder.fc2.weight"]
    pair = [right, right]
    pair[side] = right | {key: 0.8 * before[key] + 0.2 * gradient}
    layers = Layers(CONV, settings_of("vae"), 2)
    both = (pair[0], pair[1])
    place = Place(QUANTITIES[key], both, NAMES, layers, (before, astray), resync=True)
    finding = recognise(place)
    assert finding.wrong == NAMES[side]
    assert finding.words == (f"{NAMES[side]}: beta1 = 0.8 where it is 0.9",)
    # had each gone its own way, the reference would not have arrived there from its own
    free = recognise(replace(place, resync=False))
    assert free.words != finding.words


def test_a_probe_against_itself_is_no_mistake(probes):
    right = probes["vae"][1]
    layers = Layers(CONV, settings_of("vae"), 2)
    previous = (probes["vae"][0], probes["vae"][0])
    for key in ("forward/encoder.fc1", "gradient/encoder.fc3", "moment1/encoder.fc1.bias", WEIGHT):
        finding = recognise(Place(QUANTITIES[key], (right, dict(right)), NAMES, layers, previous))
        assert finding == Finding()


NO_NAME = re.compile(r"[\d,]+ of [\d,]+ elements differ|rounding: .*")


@pytest.mark.parametrize("seed", range(40))
def test_noise_gets_no_name(probes, seed):
    """Of any size, on one quantity of one side: no mistake makes it, so none is named."""
    rng = np.random.default_rng(seed)
    objective, step, side = rng.choice(["vae", "emae"]), int(rng.integers(1, 4)), seed % 2
    keys = [key for key in QUANTITIES if probes[objective][step - 1][key].any()]
    key = str(rng.choice(keys))
    right = probes[objective][step - 1][key]
    noise = rng.normal(size=right.shape) * abs(right).max() * 10 ** rng.uniform(-9, -1)
    finding = recognised(probes, key, right + noise, side, step, objective)
    assert all(NO_NAME.fullmatch(words) for words in finding.words), (key, finding.words)
