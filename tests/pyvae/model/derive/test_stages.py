"""Stages derived from a step: of two recipes against what was read off their code by eye, of all
recipes against autograd, and of small networks of other people."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.model.derive.stages import derive_stages, second_use
from pyvae.model.loss_terms import bernoulli_reconstruction, kl, squared_error
from pyvae.model.modules import Concat, Dropout
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.stages import Stage
from pyvae.recipes import RECIPES, get_recipe
from pyvae.training.feeds import batches

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
WAYS = {  # each stage with what it takes; draws in brackets
    "conv": """
        encoder.conv1 < input
        encoder.relu1 < encoder.conv1
        encoder.conv2 < encoder.relu1
        encoder.relu2 < encoder.conv2
        encoder.pool < encoder.relu2
        encoder.dropout1 < encoder.pool [dropout1]
        encoder.flatten < encoder.dropout1
        encoder.fc1 < encoder.flatten
        encoder.relu3 < encoder.fc1
        encoder.dropout2 < encoder.relu3 [dropout2]
        encoder.fc2 < encoder.dropout2
        encoder.fc3 < encoder.dropout2
        reparameterise < encoder.fc2 encoder.fc3 [noise]
        decoder.fc1 < reparameterise
        decoder.relu1 < decoder.fc1
        decoder.fc2 < decoder.relu1
        decoder.relu2 < decoder.fc2
        decoder.conv1 < decoder.relu2
        decoder.relu3 < decoder.conv1
        decoder.conv2 < decoder.relu3
        decoder.sigmoid < decoder.conv2
        reconstruction < decoder.sigmoid input
        regulariser < encoder.fc2 encoder.fc3
        total < reconstruction regulariser""",
    "clustering-toy": """
        qy_x.fc1 < input
        qy_x.bn1 < qy_x.fc1
        qy_x.relu1 < qy_x.bn1
        qy_x.fc2 < qy_x.relu1
        qy_x.softmax < qy_x.fc2
        gumbel_softmax < qy_x.softmax [gumbel]
        qz_xy.fc1 < input
        qz_xy.fc2 < input
        qz_xy.multiply < qz_xy.fc2 gumbel_softmax
        qz_xy.concat < qz_xy.fc1 qz_xy.multiply
        qz_xy.fc3 < qz_xy.concat
        qz_xy.bn3 < qz_xy.fc3
        qz_xy.lrelu3 < qz_xy.bn3
        qz_xy.fc4 < qz_xy.lrelu3
        qz_xy.mean < qz_xy.fc4
        qz_xy.log_var < qz_xy.fc4
        qz_xy.reparameterise < qz_xy.mean qz_xy.log_var [noise]
        px_z.fc1 < qz_xy.reparameterise
        px_z.bn1 < px_z.fc1
        px_z.lrelu1 < px_z.bn1
        px_z.fc2 < px_z.lrelu1
        pz_y.fc1 < gumbel_softmax
        pz_y.bn1 < pz_y.fc1
        pz_y.lrelu1 < pz_y.bn1
        pz_y.fc2 < pz_y.lrelu1
        pz_y.mean < pz_y.fc2
        pz_y.log_var < pz_y.fc2
        reconstruction < px_z.fc2 input
        categorical_kl < qy_x.softmax
        gaussian_kl < qz_xy.mean qz_xy.log_var pz_y.mean pz_y.log_var
        regulariser < categorical_kl gaussian_kl
        total < reconstruction regulariser""",
}


@pytest.mark.parametrize("name", WAYS)
def test_names_order_inputs_and_draws_of_two_recipes(name):
    found = [
        f"{stage.name} < {' '.join(stage.inputs)}" + (f" [{stage.draw}]" if stage.draw else "")
        for stage in get_recipe(name).stages[1:]
    ]
    assert found == [line.strip() for line in WAYS[name].strip().split("\n")]


def test_layers_and_options_are_those_of_the_modules(small):
    recipe = get_recipe("clustering-semi-supervised")
    stages = {stage.name: stage for stage in recipe.stages_for(small(recipe))}
    assert [stages[name].layer for name in ("input", "labelled", "labels")] == ["input"] * 3
    assert stages["labelled.qy_x.conv1"] == Stage(
        "labelled.qy_x.conv1", "conv2d", ("labelled",), None, {"stride": 1, "padding": 2},
        "qy_x.conv1", ((1, 28, 28),),
    )  # fmt: skip
    assert stages["qy_x.dropout"].options == {"p": 0.4}
    assert stages["labelled.qy_x.dropout"].draw == "labelled_dropout"
    assert stages["labelled.qz_xy.multiply"].inputs == ("labelled.qz_xy.fc2", "labels")
    assert stages["qz_xy.lrelu1"].options == {"slope": 0.2}
    assert stages["px_z.bn1"].options == {"momentum": 0.1, "eps": 1e-5}
    assert stages["px_z.unflatten"].options == {"channels": 128}
    assert stages["px_z.deconv1"].options == {"stride": 2, "padding": 1}


def test_shapes_are_those_in_which_a_layer_takes_its_inputs(conv, settings):
    stages = {stage.name: stage.shapes for stage in conv.stages_for(settings(latent_dim=7))}
    assert stages["input"] == ()
    assert stages["encoder.conv1"] == ((1, 28, 28),)  # of images (784)
    assert stages["encoder.dropout1"] == ((64, 12, 12),)
    assert stages["reparameterise"] == ((7,), (7,))
    assert stages["decoder.conv1"] == ((128, 1, 1),)
    assert stages["decoder.sigmoid"] == ((784,),)  # of maps (784, 1, 1)
    assert stages["reconstruction"] == ((784,), (784,))
    assert stages["total"] == ()


def test_terms_have_the_settings_weights_and_divisors(small):
    toy, beta, mlp = map(get_recipe, ("clustering-toy", "beta", "mlp"))
    stages = toy.stages_for(small(toy, hyper={"beta": 3.5, "variance": 0.25}))
    terms = {stage.name: (stage.layer, dict(stage.options)) for stage in stages if stage.is_term}
    assert terms == {
        "reconstruction": ("gaussian", {"variance": 0.25, "per": "sum"}),
        "categorical_kl": ("kl_categorical", {"per": "sum"}),
        "gaussian_kl": ("kl_gaussians", {"per": "sum"}),
        "regulariser": ("sum", {"weights": (1.0, 3.5)}),
        "total": ("sum", {"weights": (1.0, 1.0)}),
    }
    *_, reconstruction, regulariser, total = beta.stages_for(small(beta, hyper={"beta": 0.125}))
    assert (reconstruction.layer, reconstruction.options) == ("mse", {"per": "element"})
    assert (regulariser.layer, regulariser.options) == ("kl_normal", {"per": "image"})
    assert total.options == {"weights": (1.0, 0.125)}
    assert mlp.stages[-3].options == {"per": "image"}


def test_an_objectives_own_terms_are_the_stages(conv, settings):
    layers = [conv.stages_for(settings(objective=name))[-2].layer for name in ("vae", "emae", "em")]
    assert layers == ["kl_normal", "half_mu_squared", "expected_prior"]


@every_recipe
def test_every_parameter_belongs_to_one_module_of_the_stages(recipe, small):
    settings = small(recipe)
    stages = [stage for stage in recipe.stages_for(settings) if not stage.is_term]
    paths = {stage.path for stage in stages}
    for name in recipe.parameter_names(settings.latent_dim, **settings.hyper):
        assert name.rpartition(".")[0] in paths
    modules = recipe.network(settings.latent_dim, **settings.hyper).named_modules()
    leaves = {path for path, module in modules if not list(module.children())}
    called = {stage.path for stage in stages if stage.layer != "input"}
    assert called == leaves - {"encoder"}  # of clustering: the way to the posterior alone


@every_recipe
def test_edges_are_those_along_which_a_gradient_flows(recipe, small, data_of, watched):
    """A layer's result has a gradient with respect to another's that reaches it without passing
    a third exactly where it is one of its inputs."""
    settings = small(recipe)
    seen = watched(recipe, settings)
    stages = [s for s in recipe.stages_for(settings) if not s.is_term]
    differentiable = [s.name for s in stages if seen[s.name].requires_grad]
    nodes = {seen[name].grad_fn: name for name in differentiable if seen[name].grad_fn}
    leaves = {id(seen[name]): name for name in differentiable if not seen[name].grad_fn}
    for stage in stages:
        if stage.layer == "input":
            continue
        found, ahead = set(), [seen[stage.name].grad_fn]
        while ahead:
            for node, _ in ahead.pop().next_functions:
                if node in nodes:
                    found.add(nodes[node])
                elif hasattr(node, "variable"):
                    found |= {name for key, name in leaves.items() if key == id(node.variable)}
                elif node is not None:
                    ahead.append(node)
        assert found == {*stage.inputs} & {*differentiable}, stage.name


@pytest.fixture
def watched(data_of):
    """What every stage returns in a step, with its autograd graph."""

    def run(recipe, settings):
        network = recipe.network(settings.latent_dim, **settings.hyper).double()
        _, x, draws = next(batches(Run(recipe, settings, data_of(recipe))))
        given = {name: torch.from_numpy(draw) for name, draw in draws.items()}
        x.requires_grad_()
        seen, uses = {"input": x}, {}
        for stage in recipe.stages_for(settings):
            if stage.layer == "input" and stage.draw:
                seen[stage.name] = given[stage.draw]
            elif stage.layer != "input" and not stage.is_term:
                uses.setdefault(stage.path, []).append(stage.name)
        for path, names in uses.items():
            network.get_submodule(path).register_forward_hook(
                lambda _, args, result, names=names: seen.update({names.pop(0): result})
            )
        network(x, given)
        return seen

    return run


@every_recipe
def test_deriving_leaves_the_generator_alone(recipe):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    recipe.stages_for(recipe.settings(latent_dim=17))
    assert torch.equal(torch.get_rng_state(), before)


class Strange(nn.Module):
    """Uses a layer twice, a branch, a skipped layer and a reshape."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.act = nn.ReLU(inplace=True)
        self.both = Concat()
        self.last = nn.Sequential(nn.Linear(12, 6), nn.Sigmoid())
        self.unused = nn.Tanh()

    def forward(self, x):
        a = self.act(self.first(x.view(len(x), 2, 3).flatten(1)))
        with second_use("again"):
            b = self.first(a)
        b = self.act(self.first(b))
        return self.last(self.both(a, keywords(b)))


def keywords(x):
    return x.reshape(shape=(-1, 6)).clone()


def derived(network, loss=lambda x, y: {}, draws=None, **inputs):
    inputs = {"input": torch.zeros(5, 6)} | inputs
    x = inputs["input"]
    return derive_stages(network, lambda: loss(x, network(x)), inputs, draws or {})


def test_a_strangers_network():
    assert [(s.name, s.inputs, s.module) for s in derived(Strange())] == [
        ("input", (), ""),
        ("first", ("input",), ""),
        ("act", ("first",), ""),
        ("again.first", ("act",), "first"),
        ("first#2", ("again.first",), "first"),
        ("act#2", ("first#2",), "act"),
        ("both", ("act", "act#2"), ""),
        ("last.0", ("both",), ""),
        ("last.1", ("last.0",), ""),
    ]


def test_weights_are_read_off_any_sum():
    def loss(x, y):
        a, b = bernoulli_reconstruction(y, x), squared_error(y, x)
        c = kl(y, y) / len(x)
        total = 2 * (a - b) + c / 4 + 0.5 * a
        return {"a": a, "b": b, "c": c, "total": -total}

    *_, a, b, c, total = derived(nn.Sequential(nn.Linear(6, 6), nn.Sigmoid()), loss=loss)
    assert a == Stage("a", "bce", ("1", "input"), None, {"per": "sum"}, shapes=((6,), (6,)))
    assert (b.layer, b.options) == ("mse", {"per": "element"})
    assert c.options == {"per": "image"}
    assert (total.inputs, total.options) == (("a", "b", "c"), {"weights": (-2.5, 2.0, -0.25)})


class Calls(nn.Module):
    """Computes something between two layers."""

    def __init__(self, function):
        super().__init__()
        self.fc1, self.fc2, self.function = nn.Linear(6, 6), nn.Linear(6, 6), function

    def forward(self, x):
        return self.fc2(self.function(self.fc1(x)))


NO_STAGE = [
    (nn.Sequential(nn.Linear(6, 6), nn.GELU()), "layer '1' is a GELU, which no stage describes"),
    (nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 1, 1)), "layer '0' is a Unflatten"),
    (nn.Softmax(0), r"layer '' is a Softmax with dim=0: expected dim=1"),
    (
        Calls(torch.tanh),
        r"layer 'fc2' takes the result of torch.tanh\(\), which no stage describes",
    ),
    (Calls(lambda x: torch.zeros(5, 6)), "takes the result of something that is not recorded"),
    (Calls(lambda x: x + 1), "layer 'fc2' takes the result of .*add"),
    (Calls(lambda x: x.T.reshape(5, 6)), "layer 'fc2' takes the result of .*T"),
]


@pytest.mark.parametrize(("network", "words"), NO_STAGE, ids=[words for _, words in NO_STAGE])
def test_what_no_stage_describes_is_told(network, words):
    with pytest.raises(UserError, match=words):
        derived(network)


def conv_with(**changed):
    layer = nn.Conv2d(2, 2, 3)
    for name, value in changed.items():
        setattr(layer, name, value)
    return layer


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (conv_with(groups=2, weight=nn.Parameter(torch.zeros(2, 1, 3, 3))), "groups=2: expected"),
        (conv_with(dilation=(2, 2)), "dilation=2: expected dilation=1"),
        (conv_with(stride=(1, 2)), r"stride=\(1, 2\): expected one number"),
        (nn.MaxPool2d(3), "kernel_size=3: expected kernel_size=2"),
        (nn.Conv2d(2, 2, 3, padding="same"), "padding=same: expected one number"),
    ],
)
def test_options_that_no_stage_has_are_told(layer, words):
    with pytest.raises(UserError, match=f"layer '' is a .* with {words}"):
        derived(layer, input=torch.zeros(5, 2, 6, 6))


def test_a_draw_of_a_layer_that_takes_none_is_told():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = Concat()

        def forward(self, x):
            return self.both(x, mask)

    mask = torch.zeros(5, 6)
    with pytest.raises(UserError, match="layer 'both' takes no mask or noise, but is given 'mask'"):
        derived(Given(), draws={"mask": mask})
    assert [s.name for s in derived(Given(), mask=mask)] == ["input", "mask", "both"]


def test_a_mask_is_found_by_its_argument():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = Dropout(0.25)

        def forward(self, x):
            return self.dropout(x, keep=mask.view(5, 6))

    mask = torch.ones(30, dtype=torch.bool)
    *_, stage = derived(Dropped(), draws={"mask": mask})
    assert stage == Stage("dropout", "dropout", ("input",), "mask", {"p": 0.25}, shapes=((6,),))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda x, y: {"total": (y - x).abs().sum()}, "the term 'total' of the loss is computed"),
        (lambda x, y: {"total": squared_error(y, x) ** 2}, "the term 'total' of the loss"),
        (lambda x, y: {"total": squared_error(y, x) + kl(y, y)}, r"\(mse\) has no name"),
        (lambda x, y: {"total": 0.2 * squared_error(y, x)}, r"\(mse\) has no name"),
        (lambda x, y: {"total": squared_error(y.exp(), x)},
         r"squared_error\(\) takes the result of .*exp"),
    ],
)  # fmt: skip
def test_losses_that_no_stage_describes_are_told(loss, words):
    with pytest.raises(UserError, match=words):
        derived(nn.Linear(6, 6), loss=loss)


def test_a_loss_that_depends_on_the_number_of_images_in_another_way_is_told(
    conv, settings, monkeypatch
):
    right = OBJECTIVES["vae"]

    def parts(x, output, hyper):
        terms = right.parts(x, output, hyper)
        kl = terms["regulariser"]
        return terms | {"kl": kl, "regulariser": kl * (1 / len(x))}

    monkeypatch.setitem(OBJECTIVES, "vae", replace(right, parts=parts, further=("kl",)))
    with pytest.raises(UserError, match="objective vae depends on the number of images"):
        conv.stages_for(settings())
