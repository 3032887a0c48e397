"""A run that goes on from a fit is one longer run, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from r_bridge.from_r import Training, pack, unpack

pytestmark = pytest.mark.slow

WHOLE = (
    "settings", "data", "losses", "epochs", "latent_means", "samples", "parameters", "optimiser",
    "validation", "held_out", "dimensions", "ended",
)  # fmt: skip


def continued(found, **changes):
    names = ("parameters", "optimiser", "losses", "epochs", "validation")
    sent = {name: found[name] for name in names} | {"sha256": found["data"]["sha256"]}
    return sent | {"epochs_more": None, "steps_more": None} | changes


@pytest.mark.parametrize(
    ("recipe", "objective", "dtype"),
    [("conv", "vae", "float32"), ("mlp", "elbo", "float64"), ("beta", "beta", "float32")],
)
def test_more_epochs_are_those_of_one_longer_run(images, run, recipe, objective, dtype):
    """mlp has batch norm, whose running statistics go on, too."""
    chosen = {"recipe": recipe, "objective": objective, "dtype": dtype, "batch_size": 10}
    share = {"validation": 0.25}
    _, first = run(images, further=share, epochs=2, **chosen)
    about, found = run(
        images, further=share | {"continued": continued(first, epochs_more=1)}, epochs=2, **chosen
    )
    _, longer = run(images, further=share, epochs=3, **chosen)
    assert (about["done"], about["steps"]) == (6, 9)
    for name in WHOLE:
        assert found[name] == longer[name], name


@pytest.mark.parametrize(
    ("had", "more", "total"),
    [
        ({"epochs": 5, "steps": 3}, {"epochs_more": 1}, {"epochs": 2}),  # the begun one is ended
        ({"epochs": 5, "steps": 4}, {"epochs_more": 2}, {"epochs": 4}),
        ({"epochs": 5, "steps": 3}, {"steps_more": 4}, {"epochs": 4, "steps": 7}),
        ({"epochs": 5, "steps": 3}, {"epochs_more": 3, "steps_more": 2}, {"epochs": 4, "steps": 5}),
    ],
)
def test_epochs_and_steps_count_from_where_the_fit_stands(images, run, had, more, total):
    _, first = run(images, **had)
    _, found = run(images, further={"continued": continued(first, **more)}, **had)
    _, longer = run(images, **total)
    for name in WHOLE:
        assert found[name] == longer[name], name


def test_a_fit_that_was_ended_goes_on_to_the_end_that_was_planned(images, run):
    _, first = run(
        images, further={"callbacks": "step"}, reply=lambda now: now["step"] < 3, epochs=4
    )
    assert first["losses"]["dim"][0] == 3
    _, found = run(images, further={"continued": continued(first)}, epochs=4)
    _, whole = run(images, epochs=4)
    for name in WHOLE:
        assert found[name] == whole[name], name


def test_what_cannot_go_on_is_one_line(images, small, run):
    _, first = run(images)

    def problem(x=images, **changes):
        answer = Training(x, None, small(), {"continued": continued(first, **changes)}).start()
        return answer["error"]["problem"]

    assert problem() == "the fit has been trained for all its 4 steps"
    other = images | pack(unpack(images)[::-1])
    assert problem(other, epochs_more=1) == "x is not what the fit was trained on"
    as_doubles = images | pack(unpack(images) / np.float64(255))
    assert problem(as_doubles, epochs_more=1) == "x is not what the fit was trained on"
    cut = bytes(first["optimiser"])[:50]
    assert problem(epochs_more=1, optimiser=cut).startswith("the fit's parameters cannot be read")
    assert problem(epochs_more=0) == "the fit has been trained for all its 4 steps"
