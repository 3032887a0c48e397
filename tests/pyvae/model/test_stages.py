from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.stages import BUFFERS, PASSES, Stage, is_buffer, quantities
from pyvae.recipes import RECIPES, get_recipe
from pyvae.training.feeds import batches

modest = hypothesis_settings(max_examples=60)
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
L = 4
LOSSES = (
    Stage("reconstruction", "bce", ("last", "input")),
    Stage("regulariser", "kl_categorical", ("first",)),
    Stage("total", "sum", ("reconstruction", "regulariser")),
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


@pytest.mark.parametrize(
    ("key", "by"),
    [
        ("gradient/input", ("qy_x.conv1", "qz_xy.conv1")),
        ("gradient/gumbel_softmax", ("qz_xy.multiply", "pz_y.fc1")),
        ("gradient/qy_x.softmax", ("gumbel_softmax", "categorical_kl")),
        # one module, gone through twice: gradients add up
        ("gradient/qy_x.fc2.weight", ("qy_x.fc2", "labelled.qy_x.fc2")),
        ("gradient/pz_y.fc2.weight", ("pz_y.fc2",)),
        ("gradient/labelled.qy_x.softmax", ("cross_entropy",)),
        ("buffer/qz_xy.bn3.running_var", ("qz_xy.bn3", "labelled.qz_xy.bn3")),
        ("start/qy_x.bn1.running_mean", ("the step before",)),
    ],
)
def test_who_computes_what_with_labels(small, key, by):
    recipe = get_recipe("clustering-semi-supervised")
    found = {q.key: q.computed_by for q in recipe.quantities(small(recipe))}
    assert found[key] == by


def test_what_a_probe_holds_is_derived_once(small):
    recipe, made = get_recipe("conv"), []
    counted = replace(recipe, network=lambda size: made.append(size) or recipe.network(size))
    settings = small(counted)
    counted.quantities(settings).clear()  # a list of one's own
    taken = len(made)
    assert counted.quantities(settings) == recipe.quantities(settings) != []
    size = settings.latent_dim
    assert counted.parameter_names(size) == recipe.parameter_names(size) != []
    assert len(made) == taken
    counted.parameter_names(size + 1)
    assert made[taken:] == [size + 1]


def test_what_is_given_is_not_differentiated(small):
    recipe = get_recipe("clustering-semi-supervised")
    keys = {quantity.key for quantity in recipe.quantities(small(recipe))}
    for name in ("labelled", "labels"):
        assert f"forward/{name}" in keys
        assert f"gradient/{name}" not in keys


@every_recipe
def test_running_statistics_are_known_once_all_have_gone_through(recipe, small):
    keys = [quantity.key for quantity in recipe.quantities(small(recipe))]
    for stage in recipe.stages:
        if stage.layer == "batch_norm":
            for name in BUFFERS[:2]:  # the count is torch.nn's alone
                at = keys.index(f"buffer/{stage.path}.{name}")
                assert at > keys.index(f"forward/{stage.name}")
                assert at < keys.index("forward/total")


@every_recipe
def test_terms_of_the_loss_have_no_gradient_and_all_else_has_one(recipe, small):
    settings = small(recipe)
    names = recipe.parameter_names(settings.latent_dim, **settings.hyper)
    keys = {quantity.key for quantity in recipe.quantities(settings)}
    differentiated = {key.split("/", 1)[1] for key in keys if key.startswith("gradient/")}
    constant = {stage.name for stage in recipe.stages if stage.is_term}
    constant |= {stage.name for stage in recipe.stages if stage.layer == "input" and stage.draw}
    assert differentiated == {*names, *(stage.name for stage in recipe.stages)} - constant


@every_recipe
def test_a_quantitys_name_is_what_follows_the_kind(recipe, small):
    found = recipe.quantities(small(recipe))
    assert len({quantity.key for quantity in found}) == len(found)
    assert all(quantity.key.endswith(f"/{quantity.name}") for quantity in found)
    assert all("/" not in quantity.name for quantity in found)


def rows(tensor):
    """One row for each image: what is between two stages may reshape, and nothing else."""
    return tensor.reshape(len(tensor), -1)


@every_recipe
def test_stages_are_the_networks_layers_and_take_what_they_say(recipe, small, data_of):
    """Hooks see every module that has no parts of its own: when it is called, what it is given
    and what it returns."""
    settings, data = small(recipe, batch_size=3), data_of(recipe)
    network = recipe.network(settings.latent_dim, **settings.hyper).double()
    called = []
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _, args, result, name=name: called.append((name, args, result))
            )
    _, x, draws = next(batches(Run(recipe, settings, data)))
    given = {name: torch.from_numpy(draw) for name, draw in draws.items()}
    network(x, given)

    layers = [s for s in recipe.stages if s.layer != "input" and not s.is_term]
    assert (recipe.stages[0].name, recipe.stages[0].inputs) == ("input", ())
    assert [name for name, *_ in called] == [stage.path for stage in layers]
    returned = {"input": x}
    returned |= {s.name: given[s.draw] for s in recipe.stages if s.layer == "input" and s.draw}
    for stage, (name, args, result) in zip(layers, called, strict=True):
        taken = [rows(tensor) for tensor in args if tensor is not None]
        stages = [rows(returned[name]) for name in stage.inputs]
        drawn = [] if stage.draw is None else [rows(given[stage.draw])]
        assert len(taken) == len(stages + drawn), name
        assert all(map(torch.equal, taken, stages + drawn)), name
        returned[stage.name] = result


SETTINGS_OF_LAYERS = {  # what a module of torch.nn or pyvae calls the option
    "conv2d": {"stride": ("stride", 1), "padding": ("padding", 0)},
    "conv_transpose2d": {"stride": ("stride", 1), "padding": ("padding", 0)},
    "dropout": {"p": ("p", None)},
    "leaky_relu": {"slope": ("negative_slope", None)},
    "batch_norm": {"momentum": ("momentum", None), "eps": ("eps", None)},
    "gumbel_softmax": {"temperature": ("temperature", None)},
    "unflatten": {"channels": ("channels", None)},
}


@every_recipe
def test_options_are_those_of_the_modules(recipe, small):
    other = {one.name: one.value + 0.25 for one in recipe.hyper if not one.whole}
    settings = small(recipe, hyper=other)
    network = recipe.network(settings.latent_dim, **settings.hyper)
    for stage in recipe.stages_for(settings):
        if stage.layer == "input" or stage.is_term:
            continue
        module, options = network.get_submodule(stage.path), stage.options
        known = SETTINGS_OF_LAYERS.get(stage.layer, {})
        assert set(options) <= set(known), stage.name
        for option, (attribute, default) in known.items():
            found = getattr(module, attribute)
            found = found[0] if isinstance(found, tuple) else found
            assert options.get(option, default) == found, (stage.name, option)


@every_recipe
def test_the_terms_of_the_loss_come_last(recipe):
    terms = [stage for stage in recipe.stages if stage.is_term]
    assert list(recipe.stages[-len(terms) :]) == terms
    assert terms[-1].name == "total"
    assert set(terms[-1].inputs) == {"reconstruction", "regulariser"}
    for name in (*recipe.objectives, *recipe.further):
        assert {term.name for term in terms} == set(OBJECTIVES[name].terms)


@every_recipe
def test_every_stage_takes_what_came_before(recipe):
    before = set()
    for stage in recipe.stages:
        assert set(stage.inputs) <= before, stage.name
        assert stage.name not in before
        before.add(stage.name)


@every_recipe
def test_every_draw_is_taken_by_one_stage(recipe, small, data_of):
    settings = small(recipe)
    taken = [stage.draw for stage in recipe.stages if stage.draw is not None]
    given = {} if recipe.given is None else recipe.given(data_of(recipe), settings)
    assert sorted(taken) == sorted([*recipe.draws(settings.latent_dim, **settings.hyper), *given])


@every_recipe
@pytest.mark.parametrize("latent_dim", [1, 30])
def test_names_of_parameters_and_statistics_are_in_the_networks_order(recipe, small, latent_dim):
    hyper = small(recipe).hyper
    network = recipe.network(latent_dim, **hyper)
    parameters = recipe.parameter_names(latent_dim, **hyper)
    buffers = recipe.buffer_names(latent_dim, **hyper)
    assert parameters == [name for name, _ in network.named_parameters()]
    assert sorted([*parameters, *buffers]) == sorted(network.state_dict())
    assert [name for name in network.state_dict() if is_buffer(name)] == buffers
    assert not any(map(is_buffer, parameters))


def test_a_stages_module_has_its_name_unless_another_is_said():
    assert Stage("qy_x.fc1", "linear").path == "qy_x.fc1"
    assert Stage("labelled.qy_x.fc1", "linear", module="qy_x.fc1").path == "qy_x.fc1"
