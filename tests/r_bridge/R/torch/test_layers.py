"""R torch's layers against those of PyTorch's engine: values, gradients, running statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pyvae.model import loss_terms, modules
from r_bridge import R_FILES
from r_bridge.engines.stage_network import LAYERS, SOURCES, TORCH_SOURCES
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

MAPS, FEATURES, CLASSES = (4, 3, 6, 6), (4, 6), (4, 5)


@dataclass(frozen=True)
class Case:
    """One layer, as PyTorch's engine computes it.

    Attributes:
        make: A module or function of the inputs, and of the draw if there is one.
        shapes: Of the inputs.
        options: Of the stage.
        draw: Draws it, in the shape of the result.
        positive: Inputs are probabilities.
    """

    make: Callable[[], Callable[..., Tensor]]
    shapes: tuple[tuple[int, ...], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[tuple[int, ...]], Tensor] | None = None
    positive: bool = False


def keep(shape):
    return torch.rand(shape, dtype=torch.float64) > 0.4


def noise(shape):
    return torch.randn(shape, dtype=torch.float64)


def term(function, *shapes, positive=False, **options):
    return Case(lambda: lambda *x: function(*x, **options), shapes, options, positive=positive)


STRIDES = {"stride": 2, "padding": 1}
NORM = {"momentum": 0.3, "eps": 1e-3}
CASES = {
    "batch_norm": Case(lambda: modules.BatchNorm(3, **NORM), (MAPS,), NORM),
    "batch_norm of features": Case(lambda: nn.BatchNorm1d(6, **NORM), (FEATURES,), NORM),
    "bce": term(loss_terms.bernoulli_reconstruction, FEATURES, FEATURES, positive=True),
    "concat": Case(modules.Concat, (FEATURES, CLASSES)),
    "concat of maps": Case(modules.Concat, (MAPS, (4, 2, 6, 6))),
    "conv2d": Case(lambda: nn.Conv2d(3, 2, 3, **STRIDES), (MAPS,), STRIDES),
    "conv2d without bias": Case(
        lambda: nn.Conv2d(3, 2, (3, 5), bias=False), (MAPS,), {"stride": 1, "padding": 0}
    ),
    "conv_transpose2d": Case(lambda: nn.ConvTranspose2d(3, 2, 3, **STRIDES), (MAPS,), STRIDES),
    "cross_entropy": term(loss_terms.cross_entropy, CLASSES, CLASSES, positive=True),
    "dropout": Case(lambda: modules.Dropout(0.4), (MAPS,), {"p": 0.4}, keep),
    "expected_prior": term(loss_terms.expected_prior, FEATURES, FEATURES),
    "first_half": Case(modules.FirstHalf, (CLASSES,)),
    "flatten": Case(nn.Flatten, (MAPS,)),
    "gaussian": term(loss_terms.gaussian_reconstruction, FEATURES, FEATURES, variance=0.05),
    "gumbel_softmax": Case(
        lambda: modules.GumbelSoftmax(0.7), (CLASSES,), {"temperature": 0.7}, noise, positive=True
    ),
    "half_mu_squared": term(loss_terms.half_mu_squared, FEATURES, FEATURES),
    "kl_categorical": term(loss_terms.kl_categorical, CLASSES, positive=True),
    "kl_gaussians": term(loss_terms.kl_gaussians, *[FEATURES] * 4),
    "kl_normal": term(loss_terms.kl, FEATURES, FEATURES),
    "leaky_relu": Case(lambda: nn.LeakyReLU(0.2), (MAPS,), {"slope": 0.2}),
    "linear": Case(lambda: nn.Linear(6, 3), (FEATURES,)),
    "linear without bias": Case(lambda: nn.Linear(6, 3, bias=False), (FEATURES,)),
    "log": Case(modules.Log, (FEATURES,), positive=True),
    "max_pool2d": Case(lambda: nn.MaxPool2d(2), (MAPS,)),
    "mse": Case(lambda: loss_terms.squared_error, (FEATURES, FEATURES), {"per": "element"}),
    "multiply": Case(modules.Multiply, (FEATURES, FEATURES)),
    "relu": Case(nn.ReLU, (MAPS,)),
    "reparameterise": Case(modules.Reparameterise, (FEATURES, FEATURES), draw=noise),
    "second_half": Case(modules.SecondHalf, (CLASSES,)),
    "sigmoid": Case(nn.Sigmoid, (FEATURES,)),
    "softmax": Case(lambda: nn.Softmax(1), (CLASSES,)),
    "softplus": Case(nn.Softplus, (FEATURES,)),
    "sum": Case(lambda: lambda a, b: a + 0.3 * b, ((), ()), {"weights": [1.0, 0.3]}),
    "unflatten": Case(lambda: modules.Unflatten(3), ((4, 27),), {"channels": 3}),
}


@pytest.mark.parametrize("interpreter", ["torch", "base_r"])
def test_the_layers_are_those_that_python_declares(interpreter):
    """No R torch is needed to know what it would compute."""
    files = {"torch": ("torch/layers",), "base_r": SOURCES}[interpreter]
    with RProcess(tuple(R_FILES / f"{name}.R" for name in files), threads=1) as process:
        table = {"torch": "torch_layers", "base_r": "layers"}[interpreter]
        process.evaluate(f"known <- function() as.list(names({table})); NULL")
        names = [str(np.ravel(name)[0]) for name in process.call("known")]
    assert sorted(names) == sorted(LAYERS)
    assert len(set(names)) == len(names)


def test_every_layer_has_a_case():
    assert {name.partition(" ")[0] for name in CASES} == set(LAYERS) - {"input"}


@pytest.fixture(scope="module")
def r():
    with RProcess(tuple(R_FILES / f"{name}.R" for name in TORCH_SOURCES), threads=1) as process:
        process.evaluate(
            """run <- function(layer, x, dy, own, options, draw, training) {
              tensor <- function(v) if (!is.null(v)) torch_tensor(v, dtype = torch_double())
              array <- function(v) {
                if (!is.null(v) && !is_undefined_tensor(v)) as_array(v$detach()$contiguous())
              }
              shaped <- function(v) if (length(dim(v))) tensor(v) else tensor(v)$squeeze()
              x <- lapply(unname(x), function(v) shaped(v)$requires_grad_(TRUE))
              own <- lapply(own, tensor)
              for (kind in intersect(names(own), c("weight", "bias"))) {
                own[[kind]]$requires_grad_(TRUE)
              }
              options <- lapply(options, unlist)
              y <- torch_layers[[layer]](c(list(x = x, options = options, draw = tensor(draw),
                                                training = training), own))
              torch_sum(y * tensor(dy))$backward()
              list(y = array(y), x = lapply(x, function(v) array(v$grad)),
                   weight = array(own$weight$grad), bias = array(own$bias$grad),
                   own = lapply(own, array))
            }; NULL"""
        )
        yield process


def inputs(case):
    torch.manual_seed(5)
    draw = torch.rand if case.positive else torch.randn
    values = [draw(shape, dtype=torch.float64) for shape in case.shapes]
    return [x / x.sum(1, keepdim=True) if case.positive and x.ndim == 2 else x for x in values]


@pytest.mark.r_torch
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(r, name, training):
    case = CASES[name]
    torch.manual_seed(3)
    make = case.make()
    own = {}
    if isinstance(make, nn.Module):
        make.double().train(training)
        own = {key: value.numpy().copy() for key, value in make.state_dict().items()}
    taken = [x.requires_grad_() for x in inputs(case)]
    shape = make(*[x.detach() for x in taken]).shape
    if isinstance(make, nn.Module):  # the look at the shape has moved its running statistics
        make.load_state_dict({key: torch.as_tensor(value) for key, value in own.items()})
    draw = case.draw(shape) if case.draw is not None and training else None
    if draw is None and name == "reparameterise":
        y = taken[0] * 1  # mu, in evaluation mode
    else:
        y = make(*taken, *([] if draw is None else [draw]))
    dy = torch.randn(shape, dtype=torch.float64)
    (y * dy).sum().backward()
    told = r.call(
        "run",
        layer=name.partition(" ")[0],
        x=[x.detach().numpy() for x in taken],
        dy=dy.numpy(),
        own={key: np.asarray(value, np.float64) for key, value in own.items()} or None,
        options=dict(case.options) or None,
        draw=None if draw is None else draw.numpy().reshape(len(draw), -1),
        training=training,
    )

    def close(found, expected):
        expected = expected.detach().numpy()
        np.testing.assert_allclose(
            np.reshape(found, expected.shape), expected, rtol=1e-12, atol=1e-14
        )

    close(told["y"], y)
    for found, x in zip(told["x"], taken, strict=True):
        if x.grad is not None:
            close(found, x.grad)
    if not isinstance(make, nn.Module):
        return
    for key, parameter in make.named_parameters():
        close(told[key], parameter.grad)
    for key, buffer in make.named_buffers():
        close(told["own"][key], buffer)
        assert not training or not np.array_equal(np.ravel(buffer), np.ravel(own[key])), key


@pytest.mark.r_torch
def test_a_term_is_divided_as_its_stage_says(r):
    mu, log_var = inputs(CASES["kl_normal"])
    whole = loss_terms.kl(mu, log_var).item()
    for per, divisor in (("sum", 1), ("image", 4), ("element", 24)):
        told = r.call(
            "run", layer="kl_normal", x=[mu.numpy(), log_var.numpy()], dy=np.ones(1), own=None,
            options={"per": per}, draw=None, training=True,
        )  # fmt: skip
        assert told["y"] == pytest.approx(whole / divisor, rel=1e-15)
