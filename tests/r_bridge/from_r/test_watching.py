"""Questions to R from a training in another thread."""

from __future__ import annotations

import threading

import pytest

from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train
from pyvae.training.validation import Validate
from r_bridge.from_r.watching import Asker, Reporter


@pytest.fixture
def toy():
    recipe = get_recipe("clustering-toy")
    return Run(recipe, recipe.settings(batch_size=1000, epochs=2), load_toy())


def test_the_training_waits_for_the_answer(toy):
    woken = threading.Event()
    asker = Asker("step", None, woken.set)
    thread = threading.Thread(target=train, args=(toy, PyTorchEngine("cpu"), [asker]))
    thread.start()
    seen = []
    for _ in range(toy.steps):
        assert woken.wait(600)
        woken.clear()
        seen.append(asker.question["step"])
        assert thread.is_alive()
        asker.answer(True)
    thread.join(600)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert asker.question is None
    assert not asker.stopped


def test_a_closed_one_asks_no_more(toy):
    asker = Asker("epoch", None, lambda: pytest.fail("asked"))
    asker.close()
    assert train(toy, PyTorchEngine("cpu"), [asker]).steps == 6


def test_lines_say_what_the_validation_is(toy):
    validate = Validate(load_toy(300))
    reporter = Reporter(toy.objective, validate)
    trace = train(toy, PyTorchEngine("cpu"), [validate, reporter])
    loss = trace.epoch_table()["loss"].iloc[-1]
    words = toy.objective.words
    assert reporter.lines[-1] == (
        f"epoch 2: {words(loss)}, validation {words(validate.rows[-1]['total'])}"
    )
    assert reporter.step == 6


def test_it_asks_after_steps_or_epochs():
    with pytest.raises(UserError, match="unknown callbacks 'day'"):
        Asker("day", None, lambda: None)
