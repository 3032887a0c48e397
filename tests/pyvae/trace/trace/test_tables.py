"""Traces as tables, and as they show themselves."""

from __future__ import annotations

import math

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shown.figures_help import finished_trace
from written_files.traces import make_trace

from pyvae.model.objectives import LOSSES, OBJECTIVES
from pyvae.recipes import RECIPES
from pyvae.trace.trace import Trace

modest = hypothesis.settings(max_examples=25)
every_recipe = pytest.mark.parametrize("recipe", RECIPES)


def test_history_has_a_row_for_each_step(tmp_path):
    trace = make_trace(np.arange(12.0), epochs=[1, 1, 2, 2])
    trace.save(tmp_path)
    for table in (trace.history(), pd.read_csv(tmp_path / "history.csv")):
        assert table["step"].tolist() == [1, 2, 3, 4]
        assert table["epoch"].tolist() == [1, 1, 2, 2]
        assert np.array_equal(table[list(LOSSES)], np.arange(12.0).reshape(4, 3))
        assert np.array_equal(table["nats_per_image"], np.arange(0, 12, 3) / 7)
        assert set(table["engine"]) == {"pytorch"}
        assert set(table["objective"]) == {"vae"}


@modest
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_an_epochs_row_sums_its_batches(epochs, data):
    epochs = sorted(epochs)
    moderate = st.floats(0, 1e6)
    losses = data.draw(hnp.arrays(np.float64, (len(epochs), 3), elements=moderate))
    table = make_trace(losses, epochs).epoch_table().set_index("epoch")
    assert list(table.index) == sorted(set(epochs))
    for epoch, row in table.iterrows():
        chosen = losses[np.array(epochs) == epoch]
        sums = [math.fsum(column) for column in chosen.T]
        assert row["steps"] == len(chosen)
        assert row[list(LOSSES)].tolist() == pytest.approx(sums, rel=1e-13)
        assert row["nats_per_image"] == pytest.approx(sums[0] / (7 * len(chosen)), rel=1e-13)


@every_recipe
def test_a_tidy_table_has_a_row_for_each_step_and_term(recipe):
    trace = finished_trace(recipe)
    table, history = trace.to_pandas(), trace.history()
    assert table.columns.tolist() == [
        "engine", "recipe", "objective", "seed", "epoch", "step", "term", "value", "per_image",
    ]  # fmt: skip
    assert len(table) == len(history) * len(trace.terms)
    wide = table.pivot(index="step", columns="term", values="value")
    assert np.array_equal(wide[list(trace.terms)], trace.losses)
    total = table[table["term"] == "total"]
    column = OBJECTIVES[trace.settings.objective].column
    assert np.array_equal(total["per_image"], history[column])
    assert set(zip(table["recipe"], table["seed"], strict=True)) == {(recipe, 2)}


def test_a_trace_shows_itself_in_a_line_and_in_a_notebook():
    trace = finished_trace("conv", epochs=2)
    trace.data["name"] = "<b>x"
    assert repr(trace) == "<Trace of VAE, recipe conv, pytorch: 6 steps>"
    page = trace._repr_html_()
    assert "Trace of VAE, recipe conv, pytorch: 6 steps" in page
    assert "&lt;b&gt;x, batch 250, 30 latent dimensions, float32, seed 2" in page
    for loss in trace.to_pandas().query("term == 'total'").groupby("epoch")["per_image"].mean():
        assert f"<td>{loss:.5g}</td>" in page
    empty = Trace("pytorch", "conv", trace.settings, {}, {})
    assert repr(empty) == "<Trace of VAE, recipe conv, pytorch: 0 steps, not finished>"
    assert "<table" not in empty._repr_html_()
    assert empty.to_pandas().empty


@every_recipe
def test_tables_of_any_recipe_have_a_column_for_each_term(recipe):
    trace = finished_trace(recipe)
    objective = OBJECTIVES[trace.settings.objective]
    history, epochs = trace.history(), trace.epoch_table()
    column = "nats_per_image" if objective.unit == "nats per image" else "loss"
    first = ["engine", "objective", "epoch", "step"]
    assert list(history) == [*first, *objective.terms, column]
    assert list(epochs) == ["epoch", "steps", *objective.terms, column]
    assert np.array_equal(history[list(objective.terms)], trace.losses)
    images = 1 if objective.mean else trace.settings.batch_size
    assert np.array_equal(history[column], trace.losses[:, 0] / images)
    whole = trace.losses.mean(0) if objective.mean else trace.losses.sum(0)
    np.testing.assert_allclose(epochs[list(objective.terms)].iloc[0], whole, rtol=1e-14)
    np.testing.assert_allclose(epochs[column], history[column].mean(), rtol=1e-14)
