from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.runs.trained import encode, load_network, posterior, reconstruct


@pytest.mark.usefixtures("narrow_recipes")
def test_latents_are_those_that_the_run_left_and_reconstructions_what_they_decode_to(
    any_trained, data_of, monkeypatch
):
    """Of the last batch, whose means in evaluation mode a trace has."""
    monkeypatch.setattr(posterior, "BATCH", 4)  # of six images
    recipe, trace = any_trained
    data, size = data_of(recipe), trace.settings.batch_size
    order = Draws(trace.settings.seed).batch_order(0, len(data))
    rows = order[(trace.steps - 1) * size : trace.steps * size].tolist()
    found = encode(trace, data, rows)
    np.testing.assert_allclose(found.mu, trace.latent_means["evaluation"], atol=1e-12)
    assert found.log_var.shape == found.mu.shape
    with torch.no_grad():
        expected = load_network(trace).decoder(torch.from_numpy(found.mu))
    np.testing.assert_allclose(reconstruct(trace, data, rows), expected, atol=1e-12)
    noise = Draws(9).normal("reconstructions", 0, found.mu.shape)
    drawn = torch.from_numpy(found.mu + np.sqrt(np.exp(found.log_var)) * noise)
    with torch.no_grad():
        expected = load_network(trace).decoder(drawn)
    np.testing.assert_allclose(reconstruct(trace, data, rows, seed=9), expected, atol=1e-12)


def test_the_rows_are_those_that_were_asked_for_or_all(trained, digits):
    trace = trained["vae"]
    few = type(digits)("few", digits.pixels[:5], digits.labels[:5], "")
    every = encode(trace, few)
    some = encode(trace, few, [3, 0, 3])
    np.testing.assert_allclose(some.mu, every.mu[[3, 0, 3]], atol=1e-14)
    table = every.to_pandas()
    assert list(table.columns)[:2] == ["mu_1", "mu_2"]
    assert list(table.columns)[5:7] == ["log_var_1", "log_var_2"]
    expected = pd.DataFrame(np.hstack(every)).to_numpy()
    assert np.array_equal(table.to_numpy(), expected)


@pytest.mark.parametrize(
    ("rows", "said"),
    [([], "no images"), ([0, 1797], "expected 0 to 1796"), ([-1], "expected 0 to 1796")],
)
def test_rows_that_are_not_there_are_the_users_error(trained, digits, rows, said):
    with pytest.raises(UserError, match=said):
        encode(trained["vae"], digits, rows)


def test_images_that_the_recipe_cannot_take_are_the_users_error(trained):
    with pytest.raises(UserError, match="recipe conv takes images of 28x28 pixels"):
        reconstruct(trained["vae"], load_toy(5))
