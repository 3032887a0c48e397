"""The layers of declared networks in base R (layers.R and what it uses) against PyTorch's."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

SOURCES = (
    "layers/maps",
    "layers/conv2d",
    "layers/batch_norm",
    "layers/max_pool2d",
    "layers/activations",
    "layers/reparameterise",
    "base_r/objectives",
    "layers/softmax",
    "layers/likelihoods",
    "layers/divergences",
    "layers/layers",
)


@pytest.fixture(scope="module")
def r():
    with RProcess(tuple(R_FILES / f"{name}.R" for name in SOURCES), threads=1) as process:
        process.evaluate(
            """from_torch <- function(x) {
              if (length(dim(x)) == 4L) aperm(x, c(3L, 1L, 2L, 4L)) else x
            }
            to_torch <- function(x) if (is.null(dim(x))) x else torch_order(x)
            run <- function(layer, s, dy) {
              s$x <- lapply(unname(s$x), from_torch)
              if (!is.null(s$draw)) s$draw <- from_torch(s$draw)
              if (!is.null(dy)) dy <- from_torch(dy)
              s$parts <- 1
              s <- c(s, layers[[layer]]$forward(s), list(wanted = rep(TRUE, length(s$x))))
              back <- if (!is.null(dy)) layers[[layer]]$backward(dy, s)
              s$y <- to_torch(s$y)
              if (length(back$x)) back$x <- lapply(back$x, to_torch)
              c(s[intersect(names(s), c("y", "buffers"))], list(back = back))
            }; NULL"""
        )
        yield process


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def in_r(r, layer, inputs, dy, options=None, draw=None, training=True, **parameters):
    """A layer's value and gradients; values of stages in torch's order here, R's there."""
    arrays = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    s = {
        "x": [np.asarray(x, np.float64).T for x in inputs],
        "draw": None if draw is None else draw.T,
        "options": options or {},
        "training": training,
    } | arrays
    told = r.call("run", layer=layer, s=s, dy=dy.T if np.ndim(dy) else dy)
    back = told["back"]
    return SimpleNamespace(
        y=told["y"].T,
        x=[None if d is None else d.T for d in back["x"]],
        weight=back.get("weight"),
        bias=back.get("bias"),
        buffers=told.get("buffers"),
    )


def close(found, expected, atol=1e-12):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=atol)


def assert_is_torchs(r, rng, layer, function, inputs, options=None, draw=None, training=True):
    """Values and gradients with respect to all inputs of a layer without parameters."""
    x = [torch.tensor(value, requires_grad=True) for value in inputs]
    y = function(*x)
    dy = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    found = in_r(r, layer, inputs, dy, options, draw, training)
    close(found.y, y)
    for ours, theirs in zip(found.x, x, strict=True):
        close(ours, theirs.grad)


@pytest.mark.parametrize(
    ("make", "layer", "options"),
    [
        (lambda k, s, p: nn.Conv2d(3, 4, k, s, p), "conv2d", (4, 1, 2)),
        (lambda k, s, p: nn.Conv2d(3, 4, k, s, p), "conv2d", (4, 2, 1)),
        (lambda k, s, p: nn.Conv2d(3, 4, k, s, p), "conv2d", (3, 3, 0)),
        (lambda k, s, p: nn.Conv2d(3, 1, k, s, p), "conv2d", (5, 2, 4)),
        (lambda k, s, p: nn.Conv2d(3, 4, k, s, p), "conv2d", (1, 1, 0)),
        (lambda k, s, p: nn.ConvTranspose2d(3, 4, k, s, p), "conv_transpose2d", (4, 1, 2)),
        (lambda k, s, p: nn.ConvTranspose2d(3, 4, k, s, p), "conv_transpose2d", (4, 2, 1)),
        (lambda k, s, p: nn.ConvTranspose2d(3, 1, k, s, p), "conv_transpose2d", (2, 3, 0)),
        (lambda k, s, p: nn.ConvTranspose2d(3, 4, k, s, p), "conv_transpose2d", (3, 2, 2)),
    ],
)
@pytest.mark.parametrize("block", [1, 150, 2**20])  # images at a time: one, two, all three
def test_convolutions_are_torchs(r, rng, make, layer, options, block):
    k, stride, padding = options
    r.evaluate(f"conv2d_block <- {block}; NULL")
    module = make(k, stride, padding).double()
    x = torch.tensor(rng.normal(size=(3, 3, 7, 5)), requires_grad=True)
    y = module(x)
    dy = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    found = in_r(
        r,
        layer,
        [x.detach().numpy()],
        dy,
        {"stride": stride, "padding": padding},
        weight=module.weight.detach(),
        bias=module.bias.detach(),
    )
    close(found.y, y)
    close(found.x[0], x.grad)
    close(found.weight, module.weight.grad)
    close(found.bias, module.bias.grad)


def test_conv2d_views_flat_images_as_one_channel(r, rng):
    module = nn.Conv2d(1, 2, 3, 2, 1).double()
    x = torch.tensor(rng.normal(size=(2, 49)), requires_grad=True)
    y = module(x.reshape(2, 1, 7, 7))
    dy = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    parameters = {"weight": module.weight.detach(), "bias": module.bias.detach()}
    options = {"stride": 2, "padding": 1}
    found = in_r(r, "conv2d", [x.detach().numpy()], dy, options, **parameters)
    close(found.y, y)
    close(found.x[0], x.grad)
    with pytest.raises(RError, match="48 features are no 1 channel"):
        in_r(r, "conv2d", [np.zeros((2, 48))], dy, options, **parameters)


def test_a_kernel_that_does_not_fit_is_told(r):
    for shape in ((1, 2, 7, 7), (1, 3, 2, 7)):
        with pytest.raises(RError, match="expected 3 channels, no smaller than the kernel"):
            in_r(
                r,
                "conv2d",
                [np.zeros(shape)],
                np.zeros(1),
                {"stride": 1, "padding": 0},
                weight=np.zeros((2, 3, 3, 3)),
            )


def test_linear_is_torchs(r, rng):
    module = nn.Linear(5, 4).double()
    x = torch.tensor(rng.normal(size=(3, 5)), requires_grad=True)
    y = module(x)
    dy = rng.normal(size=(3, 4))
    y.backward(torch.tensor(dy))
    weight, bias = module.weight.detach(), module.bias.detach()
    found = in_r(r, "linear", [x.detach().numpy()], dy, weight=weight, bias=bias)
    close(found.y, y)
    close(found.x[0], x.grad)
    close(found.weight, module.weight.grad)
    close(found.bias, module.bias.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "shape"), [(nn.BatchNorm1d, ()), (nn.BatchNorm2d, (5, 3))])
def test_batch_norm_is_torchs(r, rng, make, shape, training):
    module = make(4, eps=1e-3, momentum=0.3).double().train(training)
    with torch.no_grad():
        for tensor in (module.weight, module.bias, module.running_mean):
            tensor.copy_(torch.tensor(rng.normal(size=4)))
        module.running_var.copy_(torch.tensor(rng.uniform(0.5, 2, size=4)))
    given = {name: value.clone() for name, value in module.state_dict().items()}
    del given["num_batches_tracked"]
    x = torch.tensor(rng.normal(3, 2, size=(2, 4, *shape)), requires_grad=True)
    y = module(x)
    dy = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    options = {"momentum": 0.3, "eps": 1e-3}
    found = in_r(r, "batch_norm", [x.detach().numpy()], dy, options, training=training, **given)
    close(found.y, y)
    close(found.x[0], x.grad)
    close(found.weight, module.weight.grad)
    close(found.bias, module.bias.grad)
    close(found.buffers["running_mean"], module.running_mean)
    close(found.buffers["running_var"], module.running_var)


def test_batch_norm_of_one_value_is_an_error(r):
    one = {name: np.ones(4) for name in ("weight", "bias", "running_mean", "running_var")}
    options = {"momentum": 0.1, "eps": 1e-5}
    with pytest.raises(RError, match="one value per channel"):
        in_r(r, "batch_norm", [np.zeros((1, 4))], np.zeros((1, 4)), options, **one)


MAPS = (2, 3, 5, 4)
POINTWISE = {
    "relu": (torch.relu, {}),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), {"slope": 0.2}),
    "sigmoid": (torch.sigmoid, {}),
    "softplus": (F.softplus, {}),
    "flatten": (lambda x: x.flatten(1), {}),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), {}),
}


@pytest.mark.parametrize("layer", POINTWISE)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_plain_layers_are_torchs(r, rng, layer, scale):
    """At 0, where all are equal, and where exponentials are large, too."""
    function, options = POINTWISE[layer]
    assert_is_torchs(r, rng, layer, function, [scale * rng.normal(size=MAPS)], options)


def test_logarithm_is_torchs(r, rng):
    assert_is_torchs(r, rng, "log", torch.log, [rng.uniform(0.1, 3, size=(2, 3))])


def test_max_pool_gives_ties_to_the_first_in_reading_order(r, rng):
    """All sixteen patterns of a window's corners being equal to its largest, in odd maps."""
    patterns = np.array([[(k >> i) & 1 for i in range(4)] for k in range(16)], dtype=float)
    windows = patterns.reshape(4, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(4, 1, 4, 4)
    x = np.pad(windows, [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=2.0)
    assert_is_torchs(r, rng, "max_pool2d", lambda x: F.max_pool2d(x, 2), [x])


def test_unflatten_and_halves_are_torchs(r, rng):
    x = rng.normal(size=(2, 12))
    unflatten = lambda x: x.reshape(2, 3, 2, 2)  # noqa: E731
    assert_is_torchs(r, rng, "unflatten", unflatten, [x], {"channels": 3})
    assert_is_torchs(r, rng, "first_half", lambda x: x[:, :6], [x])
    assert_is_torchs(r, rng, "second_half", lambda x: x[:, 6:], [x])


@pytest.mark.parametrize("shape", [(2, 7), MAPS])
def test_dropout_is_torchs_formula(r, rng, shape):
    x, keep = rng.normal(size=shape), rng.random(shape) > 0.3

    def dropout(x):
        return x * torch.tensor(keep) / (1 - 0.3)

    assert_is_torchs(r, rng, "dropout", dropout, [x], {"p": 0.3}, keep)
    flat = keep.reshape(2, -1)
    assert_is_torchs(r, rng, "dropout", dropout, [x], {"p": 0.3}, flat)
    assert_is_torchs(r, rng, "dropout", lambda x: 1 * x, [x], {"p": 0.3})


@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_softmax_is_torchs(r, rng, scale):
    x = scale * rng.normal(size=(3, 4))
    assert_is_torchs(r, rng, "softmax", lambda x: torch.softmax(x, 1), [x])


def test_gumbel_softmax_is_the_papers(r, rng):
    pi, g = rng.dirichlet(np.ones(4), 3), rng.gumbel(size=(3, 4))
    options = {"temperature": 0.7}

    def sample(pi):
        return torch.softmax((torch.log(pi + 1e-20) + torch.tensor(g)) / 0.7, 1)

    assert_is_torchs(r, rng, "gumbel_softmax", sample, [pi], options, g)
    assert_is_torchs(r, rng, "gumbel_softmax", lambda pi: 1 * pi, [pi], options)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 5), (2, 1)), ((2, 1, 3, 2), (2, 4, 3, 2))], ids=["features", "channels"]
)
def test_concat_is_torchs(r, rng, shapes):
    inputs = [rng.normal(size=shape) for shape in shapes]
    assert_is_torchs(r, rng, "concat", lambda *x: torch.cat(x, 1), inputs)


def test_multiply_is_torchs(r, rng):
    inputs = [rng.normal(size=MAPS), rng.normal(size=MAPS)]
    assert_is_torchs(r, rng, "multiply", torch.mul, inputs)


@pytest.mark.parametrize("noisy", [True, False])
def test_reparameterise_is_torchs(r, rng, noisy):
    mu, log_var, noise = rng.normal(size=(3, 2, 5))

    def sample(mu, log_var):
        return mu + torch.exp(0.5 * log_var) * (torch.tensor(noise) if noisy else 0)

    draw = noise if noisy else None
    assert_is_torchs(r, rng, "reparameterise", sample, [mu, log_var], draw=draw)


def kl_gaussians(mu1, log_var1, mu2, log_var2):
    p = torch.distributions.Normal(mu1, torch.exp(log_var1 / 2))
    q = torch.distributions.Normal(mu2, torch.exp(log_var2 / 2))
    return torch.distributions.kl_divergence(p, q)


def kl_normal(mu, log_var):
    return kl_gaussians(mu, log_var, torch.zeros_like(mu), torch.zeros_like(mu))


TERMS = {  # by name: its elements in PyTorch, its options
    "bce": (lambda p, x: F.binary_cross_entropy(p, x, reduction="none"), {}),
    "mse": (lambda p, x: F.mse_loss(p, x, reduction="none"), {}),
    "gaussian": (
        lambda m, x: -torch.distributions.Normal(m, math.sqrt(0.3)).log_prob(x),
        {"variance": 0.3},
    ),
    "cross_entropy": (lambda x, onehot: -onehot * F.log_softmax(x, 1), {}),
    "kl_normal": (kl_normal, {}),
    "kl_gaussians": (kl_gaussians, {}),
    "kl_categorical": (
        lambda pi: pi * torch.log(pi + 1e-20) - pi * math.log(1 / 4 + 1e-20),
        {},
    ),
}


def inputs_of(term, rng):
    """One of each term's inputs, and how many of them get a gradient."""
    if term in ("bce", "mse", "gaussian"):  # a target of another shape
        return [rng.uniform(size=(3, 2, 5, 4)), rng.uniform(size=(3, 40))], 1
    if term == "cross_entropy":
        return [rng.dirichlet(np.ones(4), 3), np.eye(4)[[2, 0, 0]]], 1
    if term == "kl_categorical":
        return [rng.dirichlet(np.ones(4), 3)], 1
    count = {"kl_normal": 2, "kl_gaussians": 4}[term]
    return list(rng.normal(size=(count, 3, 5))), count


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("per", [None, "sum", "image", "element"])
def test_loss_terms_are_torchs(r, rng, term, per):
    function, options = TERMS[term]
    inputs, graded = inputs_of(term, rng)
    x = [torch.tensor(value, requires_grad=i < graded) for i, value in enumerate(inputs)]
    elements = function(*(value.reshape(x[0].shape) for value in x))
    divisor = {"image": 3, "element": x[0].numel()}.get(per or "sum", 1)
    loss = elements.sum() / divisor
    (1.7 * loss).backward()
    found = in_r(r, term, inputs, 1.7, options | ({"per": per} if per else {}))
    np.testing.assert_allclose(found.y, [loss.item()], rtol=1e-13)
    for ours, theirs in zip(found.x, x, strict=True):
        if theirs.requires_grad:
            close(ours, theirs.grad)
        else:
            assert ours is None


def test_what_a_loss_term_cannot_do_is_told(r):
    x = [np.full((2, 3), 0.5), np.full((2, 3), 0.5)]
    with pytest.raises(RError, match="per is 'batch'; expected sum, image or element"):
        in_r(r, "mse", x, 1.0, {"per": "batch"})
    with pytest.raises(RError, match="the target has 8 elements; expected 6"):
        in_r(r, "mse", [x[0], np.zeros((2, 4))], 1.0)


def test_bces_edges_are_torchs(r):
    p = np.array([[0.0, 1.0, 0.0, 1.0, 1e-300, 1 - 1e-16, 0.3, 1e-13]])
    x = np.array([[0.0, 1.0, 1.0, 0.0, 0.5, 0.5, 0.7, 0.2]])
    tensor = torch.tensor(p, requires_grad=True)
    loss = F.binary_cross_entropy(tensor, torch.tensor(x), reduction="sum")
    loss.backward()
    found = in_r(r, "bce", [p, x], 1.0)
    np.testing.assert_allclose(found.y, [loss.item()], rtol=1e-15)
    np.testing.assert_allclose(found.x[0], tensor.grad, rtol=1e-15)


def test_a_sum_passes_weights_to_its_terms(r):
    weights = [1.0, 0.5, 100.0]
    options = {"weights": np.array(weights)}
    found = in_r(r, "sum", [np.array([v]) for v in (2.0, 3.0, 5.0)], 2.0, options)
    assert found.y == [503.5]
    assert [d[0] for d in found.x] == [2.0, 1.0, 200.0]
