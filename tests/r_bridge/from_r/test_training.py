"""Training as R asks for it, called as reticulate calls it: bytes, lists and dicts."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from pyvae.data.split import hold_out
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.metrics.held_out import evaluate
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train
from r_bridge.from_r import Training, describe, pack, unpack
from r_bridge.from_r.exchange import images_from_r

pytestmark = pytest.mark.slow

WHOLE = ("settings", "losses", "epochs", "latent_means", "samples", "parameters", "optimiser")


def numbers(packed):
    return unpack(packed).tolist()


@pytest.mark.parametrize(("recipe", "objective"), [("conv", "emae"), ("beta", "beta")])
def test_a_run_is_the_run_of_the_training_loop(images, small, run, recipe, objective):
    chosen = {"recipe": recipe, "objective": objective}
    about, found = run(images, **chosen)
    given = {k: v for k, v in small(**chosen).items() if k not in ("recipe", "device")}
    known = get_recipe(recipe)
    engine = PyTorchEngine("cpu")
    trace = train(Run(known, known.settings(**given), images_from_r(images)), engine)
    assert (about["steps"], about["images"], about["done"]) == (4, 40, 0)
    assert np.array_equal(unpack(found["losses"]), trace.losses)
    assert numbers(found["epochs"]) == [1, 1, 2, 2]
    parameters = safetensors.numpy.load(bytes(found["parameters"]))
    state = engine.state()
    for name, value in trace.parameters.items():
        assert np.array_equal(parameters[name], value)
    kept = safetensors.numpy.load(bytes(found["optimiser"]))
    assert kept.keys() == {name for name in state if name.startswith("moment")}
    assert all(np.array_equal(kept[name], state[name]) for name in kept)
    for mode, mu in trace.latent_means.items():
        assert np.array_equal(unpack(found["latent_means"][mode]), mu)
    assert (found["ended"], found["interrupted"]) == ("complete", False)
    assert found["seconds"] > 0
    assert (found["validation"], found["held_out"]) == ({}, None)


def test_what_goes_to_r_is_plain(run):
    """torch.__version__ and such are subclasses, which reticulate leaves in Python."""
    plain = (str, int, float, bool, bytearray)
    asked = []

    def check(value):
        if isinstance(value, dict):
            assert all(type(name) is str for name in value)
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                check(one)
        else:
            assert value is None or type(value) in plain, type(value)

    x = pack(np.zeros((25, 784))) | {"name": "R"}
    further = {"validation": 0.2, "patience": 3, "callbacks": "step"}
    about, found = run(x, further=further, reply=lambda now: asked.append(now) or True, epochs=1)
    assert len(asked) == 1
    for one in (about, found, asked, describe("clustering")):
        check(one)


def test_it_can_be_stopped_and_is_whole_up_to_there(images, small, run):
    going = Training(images, None, small(epochs=10_000))
    going.start()
    while going.advance(0.1)["value"]["step"] < 2:
        pass
    found = going.finish()["value"]
    steps = found["losses"]["dim"][0]
    assert 2 <= steps < 20_000
    assert (found["ended"], found["interrupted"]) == ("interrupted", True)
    _, whole = run(images, epochs=10_000, steps=steps)
    for name in set(WHOLE) - {"settings"}:
        assert found[name] == whole[name], name


def test_stop_before_the_start_waits_for_nothing(small):
    Training({"data": "digits"}, None, small()).stop()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recipe": "convv"}, "unknown recipe 'convv'"),
        ({"objective": "elbo"}, "recipe beta has no objective elbo"),
        ({"batch_size": 41}, "40 images are fewer than one batch of 41"),
        (
            {"recipe": "conv", "objective": "vae", "learning_rate": 1e30, "dtype": "float32"},
            "training diverged",
        ),
        ({"recipe": "clustering-toy", "objective": "clustering-points"}, "recipe clustering-toy"),
    ],
)
def test_the_users_mistakes_are_answers(images, small, changes, problem):
    going = Training(images, None, small(**changes))
    answer = going.start()
    if "value" in answer:  # it shows on the way
        while "value" in answer and not answer["value"].get("done"):
            answer = going.advance(5.0)
        assert "error" in going.finish()
    assert answer["error"]["problem"].startswith(problem)
    assert set(answer["error"]) == {"problem", "expected", "remedy"}


@pytest.mark.parametrize(
    ("further", "problem"),
    [
        ({"validation": 0.001}, "validation 0.001: of 40 images that is none"),
        ({"validation": 1.0}, "validation 1"),
        ({"validation": 0.6}, "16 images are fewer than one batch of 20"),
        ({"patience": 2}, "patience without validation"),
        ({"validation": 0.1, "patience": 0}, "patience 0"),
        ({"validation": pack(np.zeros((3, 2))) | {"name": "R"}}, "recipe beta takes images"),
        ({"callbacks": "day"}, "unknown callbacks 'day'"),
    ],
)
def test_mistakes_about_watching_are_answers_too(images, small, further, problem):
    answer = Training(images, None, small(), further).start()
    assert answer["error"]["problem"].startswith(problem)


def test_a_share_that_is_held_out_is_validated_and_not_trained_on(images, small, run):
    about, found = run(images, further={"validation": 0.25}, epochs=3)
    data = images_from_r(images)
    split = hold_out(data, 0.25, seed=4)
    assert (about["images"], about["held_out"], about["steps"]) == (30, 10, 3)
    assert numbers(found["held_out"]) == split.rows.tolist()
    assert found["data"]["sha256"] == split.train.checksum
    alone = images | pack(unpack(images)[np.setdiff1d(np.arange(40), split.rows)])
    _, without = run(alone, epochs=3)
    assert [found[name] for name in WHOLE] == [without[name] for name in WHOLE]
    validation = {name: unpack(column) for name, column in found["validation"].items()}
    assert validation["epoch"].tolist() == [1, 2, 3]
    _, other = run(
        alone, further={"validation": images | pack(unpack(images)[split.rows])}, epochs=3
    )
    assert other["validation"] == found["validation"]
    assert other["held_out"] is None
    given = {k: v for k, v in small(epochs=3).items() if k not in ("recipe", "device")}
    settings = get_recipe("beta").settings(**given)
    engine = PyTorchEngine("cpu")
    train(Run(get_recipe("beta"), settings, split.train), engine)
    after = evaluate(engine.network, "beta", settings, split.held_out)
    assert {name: values[-1] for name, values in validation.items() if name != "epoch"} == after


def test_a_run_without_improvement_ends_early(images, run):
    """A rate so high that the loss of other images jumps up and down."""
    further = {"validation": 0.25, "patience": 2}
    about, found = run(images, further=further, epochs=200, learning_rate=0.5)
    losses = numbers(found["validation"]["total"])
    best = int(np.argmin(losses))
    assert found["ended"] == "early"
    assert len(losses) == best + 1 + 2
    assert about["steps"] == 200
    assert found["interrupted"] is False
    assert all(loss >= losses[best] for loss in losses)


def test_r_is_asked_after_every_step_or_epoch_and_can_end_the_run(images, run):
    asked = []

    def reply(question):
        asked.append(question)
        return question["step"] < 5

    further = {"callbacks": "step", "validation": 0.25}
    _, found = run(images, further=further, reply=reply, epochs=20, batch_size=10)
    assert [now["step"] for now in asked] == [1, 2, 3, 4, 5]
    assert [now["epoch"] for now in asked] == [1, 1, 1, 2, 2]
    assert [now["epoch_ended"] for now in asked] == [False, False, True, False, False]
    assert (found["ended"], found["losses"]["dim"][0]) == ("callback", 5)
    losses = unpack(found["losses"])
    for now, values in zip(asked, losses, strict=True):
        assert list(now["step_loss"].values()) == pytest.approx(values, rel=1e-12)
    at_end = asked[2]
    assert list(at_end["epoch_loss"].values()) == pytest.approx(losses[:3].mean(axis=0), rel=1e-12)
    assert at_end["validation"]["total"] == numbers(found["validation"]["total"])[0]
    assert asked[0]["validation"] is None
    assert asked[0]["epoch_loss"] is None
    asked.clear()
    _, found = run(
        images, further={"callbacks": "epoch"}, reply=lambda now: asked.append(now), epochs=3
    )
    assert [now["step"] for now in asked] == [2]  # None is no answer to go on
    assert asked[0]["step_loss"] is None
    assert found["ended"] == "callback"


def test_a_run_that_waits_for_an_answer_can_be_stopped(images, small):
    going = Training(images, None, small(epochs=50), {"callbacks": "step"})
    going.start()
    while going.advance(5.0)["value"]["question"] is None:
        pass
    found = going.finish()["value"]
    assert (found["ended"], found["losses"]["dim"][0]) == ("interrupted", 1)


def test_dimensions_are_those_of_the_last_batch(images, run):
    _, found = run(images)
    measured = found["dimensions"]
    means = unpack(found["latent_means"]["evaluation"])
    assert measured["images"] == len(means) == 20
    assert numbers(measured["variance"]) == pytest.approx(means.var(axis=0), rel=1e-12)


def test_a_recipe_file_that_the_user_names_is_run(tmp_path, run, monkeypatch):
    from pyvae import recipes

    monkeypatch.setattr(recipes, "_opened", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from pyvae import get_recipe\n"
        "RECIPE = replace(get_recipe('beta'), name='mine')\n"
    )
    x = pack(np.random.default_rng(0).random((20, 784))) | {"name": "R"}
    _, found = run(x, recipe=f"{file}:RECIPE", epochs=1)
    _, beta = run(x, epochs=1)
    assert found["recipe"] == "mine"
    assert found["parameters"] == beta["parameters"]
    assert found["shape"] == [1, 28, 28]
