from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pyvae.draws import Draws
from pyvae.recipes import RECIPES
from pyvae.stages import LOSS_STAGES, PASSES, Stage, quantities

modest = hypothesis_settings(max_examples=60, deadline=None)
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
L = 4
LOSSES = (
    Stage("reconstruction", "loss", ("last", "input")),
    Stage("regulariser", "loss", ("first",)),
    Stage("total", "loss", ("reconstruction", "regulariser")),
)


@st.composite
def networks(draw):
    """Stages in the order of computation, each with some of those before as inputs, and the
    parameters of some of them, in any order."""
    inner = [f"net.layer{k}" for k in range(draw(st.integers(0, 6)))]
    names = ["input", "first", *inner, "last"]
    stages = [Stage("input", "input")]
    for k, name in enumerate(names[1:], start=1):
        inputs = draw(st.lists(st.sampled_from(names[:k]), min_size=1, unique=True))
        stages.append(Stage(name, "linear", tuple(inputs)))
    owners = draw(st.lists(st.sampled_from(names[1:]), unique=True))
    parameters = [f"{name}.{kind}" for name in owners for kind in ("weight", "bias")]
    return [*stages, *LOSSES], draw(st.permutations(parameters))


@modest
@given(networks())
def test_a_step_starts_goes_forward_goes_backward_and_updates(network):
    stages, parameters = network
    found = quantities(stages, parameters)
    names = [stage.name for stage in stages]
    backward = []
    for name in names[-4::-1]:  # without the terms of the loss
        backward.append(f"gradient/{name}")
        backward += [f"gradient/{p}" for p in parameters if p in (f"{name}.weight", f"{name}.bias")]
    expected = [f"start/{name}" for name in parameters]
    expected += [f"forward/{name}" for name in names]
    expected += backward
    for kind in ("moment1", "moment2", "parameter"):
        expected += [f"{kind}/{name}" for name in parameters]
    assert [quantity.key for quantity in found] == expected
    order = [PASSES.index(quantity.passing) for quantity in found]
    assert order == sorted(order)


@modest
@given(networks())
def test_a_gradient_is_computed_by_those_who_take_what_it_belongs_to(network):
    stages, parameters = network
    by = {quantity.key: quantity.computed_by for quantity in quantities(stages, parameters)}
    for stage in stages[:-3]:
        takers = {taker.name for taker in stages if stage.name in taker.inputs}
        if stage.name == "input":
            takers.discard("reconstruction")
        assert set(by[f"gradient/{stage.name}"]) == takers
        assert by[f"forward/{stage.name}"] == (stage.name,)
    for name in parameters:
        assert by[f"gradient/{name}"] == (name.rpartition(".")[0],)
        assert by[f"start/{name}"] == ("the step before",)
        assert [by[f"{kind}/{name}"] for kind in ("moment1", "moment2", "parameter")] == [
            ("adam.moment1",),
            ("adam.moment2",),
            ("adam.update",),
        ]


@pytest.mark.parametrize(
    ("key", "by"),
    [
        ("gradient/encoder.conv1", ("encoder.relu1",)),
        ("gradient/encoder.fc2", ("reparameterise", "regulariser")),
        ("gradient/encoder.fc3", ("reparameterise", "regulariser")),
        ("gradient/encoder.dropout2", ("encoder.fc2", "encoder.fc3")),
        ("gradient/input", ("encoder.conv1",)),  # not the loss's view of the images
        ("gradient/decoder.sigmoid", ("reconstruction",)),
        ("gradient/encoder.conv1.weight", ("encoder.conv1",)),
        ("forward/total", ("total",)),
        ("moment2/decoder.fc1.bias", ("adam.moment2",)),
    ],
)
def test_who_computes_what_in_the_articles_network(conv, key, by):
    found = {q.key: q.computed_by for q in quantities(conv.stages, conv.parameter_names(L))}
    assert found[key] == by


@every_recipe
def test_terms_of_the_loss_have_no_gradient_and_all_else_has_one(recipe):
    names = recipe.parameter_names(L)
    keys = {quantity.key for quantity in quantities(recipe.stages, names)}
    differentiated = {key.split("/", 1)[1] for key in keys if key.startswith("gradient/")}
    assert differentiated == {*names, *(s.name for s in recipe.stages)} - set(LOSS_STAGES)


@every_recipe
def test_a_quantitys_name_is_what_follows_the_kind(recipe):
    found = quantities(recipe.stages, recipe.parameter_names(L))
    assert len({quantity.key for quantity in found}) == len(found)
    assert all(quantity.key.endswith(f"/{quantity.name}") for quantity in found)
    assert all("/" not in quantity.name for quantity in found)


@every_recipe
def test_stages_are_the_networks_layers_and_take_what_they_say(recipe):
    """Hooks see every module that has no parts of its own: when it is called, what it is given
    and what it returns."""
    network = recipe.network(L).double()
    called = []
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _, args, result, name=name: called.append((name, args, result))
            )
    x = torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (3, 784)))
    draws = Draws(1).step(0, 3, recipe.draws(L))
    network(x, {name: torch.from_numpy(draw) for name, draw in draws.items()})

    first, *layers = recipe.stages[:-3]
    assert (first.name, first.layer, first.inputs) == ("input", "input", ())
    assert [name for name, *_ in called] == [stage.name for stage in layers]
    returned = {"input": x}
    for stage, (name, args, result) in zip(layers, called, strict=True):
        # images first; what is between two stages may reshape, and nothing else
        taken = [tensor.reshape(3, -1) for tensor in args if tensor is not None]
        stages = [returned[name].reshape(3, -1) for name in stage.inputs]
        drawn = [] if stage.draw is None else [torch.from_numpy(draws[stage.draw]).reshape(3, -1)]
        assert len(taken) == len(stages + drawn), name
        assert all(map(torch.equal, taken, stages + drawn)), name
        returned[name] = result


@every_recipe
def test_the_terms_of_the_loss_come_last(recipe):
    assert tuple(stage.name for stage in recipe.stages[-3:]) == LOSS_STAGES
    assert [stage.layer == "loss" for stage in recipe.stages[-4:]] == [False, True, True, True]
    assert set(recipe.stages[-1].inputs) == {"reconstruction", "regulariser"}


@every_recipe
def test_every_stage_takes_what_came_before(recipe):
    before = set()
    for stage in recipe.stages:
        assert set(stage.inputs) <= before, stage.name
        assert stage.name not in before
        before.add(stage.name)


@every_recipe
def test_every_draw_is_taken_by_one_stage(recipe):
    taken = [stage.draw for stage in recipe.stages if stage.draw is not None]
    assert sorted(taken) == sorted(recipe.draws(L))


@every_recipe
@pytest.mark.parametrize("latent_dim", [1, 30])
def test_parameter_names_are_in_the_networks_order(recipe, latent_dim):
    assert recipe.parameter_names(latent_dim) == list(recipe.network(latent_dim).state_dict())
