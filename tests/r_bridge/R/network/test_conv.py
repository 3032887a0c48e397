"""The article's network as a run in R alone declares it: what Python derives from the recipe."""

from __future__ import annotations

import numpy as np
import pytest

from pyvae.recipes import get_recipe
from r_bridge import R_FILES
from r_bridge.engines.stage_network import SOURCES, network_arguments, own_draws
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r
CONV = get_recipe("conv")


@pytest.fixture(scope="module")
def r():
    sources = (*SOURCES, "network/conv")
    with RProcess(tuple(R_FILES / f"{name}.R" for name in sources), threads=1) as process:
        process.evaluate(
            """same_stages <- function(objective, stages) {
              one <- network_stages(conv_stages(objective))
              other <- network_stages(stages)
              for (name in names(other)) {                         # shapes where they are needed
                if (!length(one[[name]]$shapes)) other[[name]]$shapes <- list()
                keep <- c("name", "layer", "inputs", "draw", "module")
                if (!identical(lapply(one[[name]][keep], as.character),
                               lapply(other[[name]][keep], as.character))) return(name)
                options <- lapply(list(one, other), function(stages) {
                  unlist(stages[[name]]$options[sort(names(stages[[name]]$options))])
                })
                if (!isTRUE(all.equal(options[[1L]], options[[2L]]))) return(name)
                if (!isTRUE(all.equal(one[[name]]$shapes, other[[name]]$shapes))) return(name)
              }
              identical(names(one), names(other))
            }; NULL"""
        )
        yield process


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_its_stages_are_those_of_the_recipe(r, objective):
    stages = network_arguments(CONV, CONV.settings(objective=objective))["stages"]
    assert r.call("same_stages", objective=objective, stages=stages) == [True]


@pytest.mark.parametrize("latent_dim", [2, 30])
def test_its_parameters_and_draws_are_those_of_the_recipe(r, latent_dim):
    own = own_draws(CONV, CONV.settings(latent_dim=latent_dim))
    layers = r.call("conv_layers", latent_dim=latent_dim)
    assert list(layers) == list(own["layers"])
    for name, shapes in own["layers"].items():
        for kind, shape in shapes.items():
            assert np.ravel(layers[name][kind]).tolist() == shape, name
    draws = r.call("conv_draws", latent_dim=latent_dim)
    assert list(draws) == list(own["draws"])
    for name, draw in own["draws"].items():
        assert {key: value[0] for key, value in draws[name].items()} == draw


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_its_session_is_that_of_the_recipe(r, objective):
    """Two steps from R's own generator, to the bit."""
    settings = CONV.settings(objective=objective, latent_dim=3, batch_size=4, rng="r")
    run = {"learning_rate": 1e-3, "seed": 5.0}
    here = r.call("conv_session", keep="a", objective=objective, latent_dim=3, chunk=4.0, **run)
    arguments = network_arguments(CONV, settings) | own_draws(CONV, settings) | run
    x = np.random.default_rng(1).random((4, 784))
    found = [r.call("session_step", session=here, x=x) for _ in range(2)]
    there = r.call("session_start", keep="b", parameters=None, **arguments)
    expected = [r.call("session_step", session=there, x=x) for _ in range(2)]
    assert np.array_equal(found, expected)
    ours, theirs = (r.call("session_parameters", session=one) for one in (here, there))
    assert list(ours) == list(theirs) == CONV.parameter_names(3)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
