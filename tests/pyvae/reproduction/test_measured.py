"""What is said of runs that were cut short."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyvae.recipes import get_recipe
from pyvae.reproduction.measured import cut_note, is_cut, trained_epochs


def trace(recipe, epochs):
    settings = get_recipe(recipe).settings(batch_size=100)
    return SimpleNamespace(
        recipe=recipe, settings=settings, steps=10 * epochs, data={"images": 1000}
    )


def test_epochs_are_counted_by_steps():
    assert trained_epochs(trace("mlp", 3)) == 3
    assert is_cut(trace("mlp", 19))
    assert not is_cut(trace("mlp", 20))
    assert not is_cut(trace("mlp", 21))


@pytest.mark.parametrize(
    ("epochs", "note"),
    [
        ({"mlp": 20}, ""),
        ({"mlp": 20, "wide": 20}, ""),
        ({"mlp": 5}, "cut: 5 of 20 epochs"),
        ({"mlp": 5, "wide": 5}, "cut: 5 of 20 epochs"),
        ({"mlp": 5, "wide": 6}, "cut: mlp 5 of 20 epochs, wide 6 of 20 epochs"),
        ({"mlp": 20, "wide": 6}, "cut: wide 6 of 20 epochs"),
    ],
)
def test_a_note_says_which_runs_were_cut_short(epochs, note):
    runs = {key: [trace("mlp", number)] for key, number in epochs.items()}
    assert cut_note(runs, quick=False) == note
    assert cut_note(runs, quick=True) == note.replace("cut: ", "quick look: ")
