"""Every planted mistake is found where it was planted, and nothing where none was."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from mistakes import MISTAKES, planted, recipe_of, settings_of, small_data
from pages.planted_docs import UPDATED, section, write_section
from stand_ins.narrow import CHANNELS, NARROW

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import EXACT, STAGE_RULES
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.diagnosis.place import InspectedStep
from comparisons.steps.compare import compare_steps
from comparisons.steps.locate import locate
from comparisons.steps.pair import Pair
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import Quantity
from pyvae.recipes import RECIPES
from pyvae.training.loop import train
from r_bridge.engines.base_r import BaseREngine

pytestmark = pytest.mark.slow

SECTION = "In recipes"
HEAD = f"""## {SECTION}

Each is planted into one side of a small run (four images a batch, 5 latent dimensions, few
channels, float64) by `tests/mistakes`. The table is what `pyvae compare` says then: the step, the
stage, the size of the difference relative to the tensor's largest magnitude (– where shapes differ
or values are not finite), and what it looks like. Where an engine is named before a colon, that is
the side with the mistake, found by computing what the layer should return. On ten clean runs of
`conv` with different seeds nothing is reported, and no difference is above 1e-13; nor on clean runs
of the other recipes (2e-12).

| planted | recipe | step | named | size | looks like |
|---|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def table():
    """Rows of the documentation's table; written there if that is asked for."""
    rows: list[str] = []
    yield rows
    if UPDATED and len(rows) == len(MISTAKES):
        write_section(SECTION, HEAD + "\n".join(rows) + "\n\n")


def some(values, quick):
    """Parameters, all but the quick ones marked as slow: each run starts an R of its own."""
    return [pytest.param(v, marks=[] if v in quick else pytest.mark.slow) for v in values]


QUICK = (
    "conv stride 2",
    "max-pool tie rule",
    "noise reused between steps",
    "KL's gradient alone with its sign changed",
    "GELU in place of ReLU",
    "Adam beta2",
    "learning rate off by 0.1 %",
)


@pytest.mark.r
@pytest.mark.parametrize("name", some(MISTAKES, QUICK))
def test_a_planted_mistake_is_placed(name, digits, table):
    mistake = MISTAKES[name]
    data, recipe = small_data(mistake, digits), recipe_of(mistake)
    run = Run(recipe, settings_of(mistake), data)
    python, r = planted(mistake, data)
    with r as reference:
        _, found = locate(Pair(run, python, reference))
    assert found is not None
    assert (found.step, found.passing, found.stage) == mistake.found
    assert re.search(mistake.words, "; ".join(found.words)), found.words
    if found.wrong:
        assert found.wrong == ("base-r" if mistake.built is None else "pytorch")
    place = found.sentence().partition(", ")[2]
    row = cells(name, recipe.name, found.step, place, size(found), "; ".join(found.words))
    table.append(row)
    if not UPDATED:
        assert but_for_numbers(row) in but_for_numbers(section(SECTION))


def cells(*texts: object) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(str(text).replace("|", r"\|") for text in texts) + " |"


def size(found) -> str:
    return "–" if found.agreement.problem else f"{found.agreement.required_rtol:.0e}"


def but_for_numbers(text: str) -> str:
    """Sizes may differ in the last place from one machine to the next."""
    return re.sub(r"\d(\.\d+)?e[-+]\d+", "0e0", text)


def test_there_are_mistakes_enough_on_both_sides():
    assert len(MISTAKES) >= 100
    assert sum(mistake.built is not None for mistake in MISTAKES.values()) >= 5
    assert {mistake.found[1] for mistake in MISTAKES.values()} == {
        "forward", "backward", "first moment", "second moment", "parameter",
    }  # fmt: skip


CLEAN = {  # recipe: hyperparameters that are not the published ones
    "conv": {},
    "mlp": {},
    "mlp-wide": {},
    "strided-conv": {},
    "beta": {},
    "clustering-toy": {},
    "clustering": {},
    "clustering-semi-supervised": {"labels": 10},
}


# Each layer in float32, too, in one of these; `make long` has all.
IN_FLOAT32 = ("mlp-wide", "beta", "clustering-toy", "clustering-semi-supervised")
PRECISIONS = [
    pytest.param(
        name,
        dtype,
        marks=[
            *([] if name in ("mlp", "beta", "clustering-toy") else [pytest.mark.slow]),
            *([] if dtype == "float64" or name in IN_FLOAT32 else [pytest.mark.long]),
        ],
    )
    for name in CLEAN
    for dtype in ("float64", "float32")
]


def test_float32_leaves_no_layer_out():
    layers = {name: {stage.layer for stage in NARROW[name].stages} for name in CLEAN}
    assert set().union(*(layers[name] for name in IN_FLOAT32)) == set().union(*layers.values())


@pytest.mark.r
@pytest.mark.parametrize(("name", "dtype"), PRECISIONS)
def test_nothing_is_found_in_any_recipe_where_nothing_is_planted(name, dtype, digits):
    recipe, hyper = NARROW[name], CLEAN[name]
    run = recipe.settings(batch_size=4, latent_dim=3, steps=2, dtype=dtype, hyper=hyper)
    data = digits if recipe.features == 784 else load_toy()
    with BaseREngine(threads=1) as reference:
        pair = Pair(Run(recipe, run, data), PyTorchEngine("cpu"), reference)
        steps = list(compare_steps(pair, last=2, resync=True, inspect={1, 2}))
    assert len(steps) == 2
    for step in steps:
        assert step.divergence is None
        assert len(step.agreements) == len(recipe.quantities(run))
        needed = max(agreement.required_rtol for agreement in step.agreements)
        assert needed <= 2e-12 if dtype == "float64" else needed > 0


def test_mistakes_are_planted_in_every_recipe():
    assert {mistake.recipe for mistake in MISTAKES.values()} == {*CLEAN} == {*RECIPES}


@pytest.mark.slow
@pytest.mark.r
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 10))]
)
def test_nothing_is_found_where_nothing_is_planted(seed, conv, settings, digits):
    objective = ("vae", "emae")[seed % 2]
    run = Run(conv, settings(objective=objective, seed=seed, steps=2), digits)
    with BaseREngine(threads=1) as reference:
        pair = Pair(run, PyTorchEngine("cpu"), reference)
        steps = list(compare_steps(pair, last=2, resync=True, inspect={1, 2}))
        if seed == 0:
            assert locate(pair) == ([], None)
    assert len(steps) == 2
    for step in steps:
        assert step.divergence is None
        assert max(agreement.required_rtol for agreement in step.agreements) <= 1e-13


@pytest.fixture(scope="module")
def probe(conv, digits):
    """Settings, and what PyTorch's stages returned in the first step of a small run. Read only."""
    run = conv.settings(batch_size=12, latent_dim=5, steps=1, dtype="float64")
    seen: dict = {}
    train(Run(conv, run, digits), PyTorchEngine("cpu"), probe=lambda step: seen)
    return run, seen


def divergence(conv, run, a, b, names=("pytorch", "base-r"), rule=None):
    step = InspectedStep(conv, run, 1, names, (a, b))
    return first_divergence(step, step.compare(rule or STAGE_RULES[run.dtype]))


def test_two_equal_probes_part_nowhere(conv, probe):
    run, seen = probe
    assert divergence(conv, run, seen, dict(seen)) is None


def test_the_worst_element_is_told_in_both_languages_counting(conv, probe):
    run, seen = probe
    other = dict(seen)
    altered = seen["forward/encoder.conv2"].copy()
    altered[2, 3, 5, 7] += 0.25
    altered[0, 1, 0, 0] += 0.125
    other["forward/encoder.conv2"] = altered
    found = divergence(conv, run, seen, other)
    assert found is not None
    assert (found.stage, found.wrong) == ("encoder.conv2", "base-r")
    assert "[2, 3, 5, 7] in Python, [3, 4, 6, 8] in R" in found.element()
    a, b = found.agreement.values
    assert b - a == pytest.approx(0.25)
    assert (found.as_dict()["index_python"], found.as_dict()["index_r"]) == (
        [2, 3, 5, 7], [3, 4, 6, 8],
    )  # fmt: skip


def test_a_gradient_is_attributed_to_the_layer_whose_backward_pass_computed_it(conv, probe):
    """The layer after, not the one that the gradient is named after."""
    run, seen = probe
    other = dict(seen)
    other["gradient/encoder.relu3"] = seen["gradient/encoder.relu3"] * 1.5
    found = divergence(conv, run, seen, other)
    assert found is not None
    assert (found.passing, found.stage) == ("backward", "encoder.dropout2")
    assert "the gradient with respect to encoder.relu3" in found.sentence()


def test_of_several_disagreements_the_first_in_order_is_named(conv, probe):
    run, seen = probe
    other = dict(seen)
    for key in ("parameter/decoder.fc1.weight", "gradient/encoder.fc1", "forward/decoder.fc2"):
        other[key] = seen[key] + 1
    found = divergence(conv, run, seen, other)
    assert found is not None
    assert found.stage == "decoder.fc2"
    around = [agreement.quantity.key for agreement in found.around]
    assert around[3] == "forward/decoder.fc2"
    assert len(around) == 7


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_told_with_its_place(conv, probe, side, value):
    run, seen = probe
    other = dict(seen)
    other["forward/encoder.pool"] = seen["forward/encoder.pool"].copy()
    other["forward/encoder.pool"][1, 2, 3, 4] = value
    pair = (other, seen) if side == 0 else (seen, other)
    found = divergence(conv, run, *pair)
    assert found is not None
    assert found.stage == "encoder.pool"
    assert found.agreement.index == (1, 2, 3, 4)
    word = "NaN" if np.isnan(value) else "infinite"
    assert f"{found.names[side]}: 1 of {12 * CHANNELS * 12 * 12:,} values {word}" in found.words
    assert found.wrong == found.names[side]
    assert found.as_dict()["values"][found.names[side]] is None


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("forward/encoder.pool", (1, 2, 3, 4)),
        ("gradient/encoder.fc1", (3, 7)),
        ("moment1/encoder.fc2.weight", (2, 5)),
        ("moment2/encoder.fc2.bias", (1,)),
        ("parameter/decoder.fc1.weight", (6, 1)),
        ("forward/total", ()),
    ],
)
def test_one_bit_is_placed_where_every_bit_has_to_be_equal(conv, probe, key, place):
    """Nothing is taken off as rounding, and no side is called wrong for it."""
    run, seen = probe
    changed = seen[key].copy()
    changed[place] = np.nextafter(changed[place], np.inf)
    other = seen | {key: changed}
    assert divergence(conv, run, seen, other) is None
    found = divergence(conv, run, seen, other, rule=EXACT)
    assert found is not None
    assert found.agreement.quantity.key == key
    assert found.agreement.index == place
    size = f"{changed.size:,}"
    assert found.words == (f"rounding: 1 of {size} elements differ, by at most 1 ULP",)
    assert found.wrong == ""
    assert found.as_dict()["rtol"] == 0


def test_a_mistake_is_recognised_where_every_bit_has_to_be_equal_too(conv, probe):
    run, seen = probe
    other = seen | {"forward/encoder.dropout1": seen["forward/encoder.dropout1"] * 0.75}
    found = divergence(conv, run, seen, other, rule=EXACT)
    assert (found.stage, found.wrong) == ("encoder.dropout1", "base-r")
    assert "1/(1 - p) missing" in found.words[0]


def test_equal_probes_part_nowhere_exactly(conv, probe):
    run, seen = probe
    copies = {key: value.copy() for key, value in seen.items()}
    assert divergence(conv, run, seen, copies, rule=EXACT) is None


def parted(key="forward/fc1", passing="forward", **found):
    agreement = StageAgreement(7, Quantity(key, passing, ()), (2,), 1.0, 0.5, 0.5, 1e-9, **found)
    return Divergence(agreement, ("pytorch", "base-r"), ("fc1",), "", (), (), (1, 2))


@pytest.mark.parametrize(
    ("key", "passing", "words"),
    [
        ("forward/fc1", "forward", "fc1, forward"),
        ("buffer/bn1.running_var", "forward", "fc1, forward (bn1.running_var after it)"),
        ("gradient/relu", "backward", "fc1, backward (the gradient with respect to relu)"),
        ("start/fc1.bias", "start", "before it: fc1.bias differs already at its start"),
        ("parameter/fc1.bias", "adam", "fc1 (adam of fc1.bias)"),
    ],
)
def test_every_pass_has_its_words(key, passing, words):
    assert parted(key, passing).sentence() == f"step 7, {words}"


def test_the_element_is_told_as_far_as_it_is_known():
    assert parted(problem="shape (2,) against (3,)").element() == "shape (2,) against (3,)"
    assert parted(values=(0.5, 1.0)).element() == "pytorch 0.5, base-r 1"
    placed = parted(values=(0.5, float("nan")), index=(0, 4), problem="it is NaN")
    assert placed.element() == "[0, 4] in Python, [1, 5] in R: pytorch 0.5, base-r nan"
    alone = replace(placed, names=("pytorch (A)", "pytorch (B)"), with_r=False)
    assert alone.element() == "[0, 4], counted from 0: pytorch (A) 0.5, pytorch (B) nan"


@pytest.mark.parametrize(
    ("names", "environments", "with_r"),
    [
        (("pytorch", "r-torch"), (), True),
        (("my-R (A)", "my-R (B)"), (), True),
        (("pytorch", "mine"), ({"torch": "2.6"}, {"R": "4.2.2"}), True),
        (("pytorch (A)", "pytorch (B)"), ({"torch": "2.6"}, {}), False),
        (("keras", "theirs"), ({}, {}), False),
    ],
)
def test_r_counts_only_where_it_takes_part(conv, probe, names, environments, with_r):
    run, seen = probe
    other = seen | {"forward/encoder.conv2": seen["forward/encoder.conv2"] + 0.25}
    step = InspectedStep(conv, run, 1, names, (seen, other), environments=environments)
    found = first_divergence(step, step.compare(STAGE_RULES[run.dtype]))
    assert ("in R" in found.element()) is with_r
