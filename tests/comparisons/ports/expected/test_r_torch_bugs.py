from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from comparisons.ports.expected.r_torch_bugs import known_bugs
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStage, ProgramStep

NAMES = ("a.weight", "a.bias", "b.weight")
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def r_torch(kind: str, by_place: bool, dtype: torch.dtype, **settings: float) -> Iterator[
    tuple[ProgramStep, dict[str, NDArray]]
]:  # fmt: skip
    """R torch's optim_sgd and optim_rmsprop, line by line (R/optim-sgd.R, R/optim-rmsprop.R); with
    `by_place` as they are, else as they are meant."""
    generator = torch.Generator().manual_seed(4)
    wd, momentum, lr = settings["weight_decay"], settings["momentum"], settings["lr"]
    parameters = [torch.randn(3, 2, generator=generator, dtype=dtype) for _ in NAMES]
    state: list[dict[str, torch.Tensor]] = [{} for _ in NAMES]
    group = OptimiserGroup(NAMES, settings)
    for number in (1, 2, 3):
        arrays = {}
        for place, (name, param) in enumerate(zip(NAMES, parameters, strict=True), 1):
            grad = torch.randn(3, 2, generator=generator, dtype=dtype)
            arrays[f"start/{name}"] = param.numpy().copy()
            arrays[f"gradient/{name}"] = grad.numpy().copy()
            d = grad.add(place if by_place else param, alpha=wd)
            held = state[place - 1]
            if kind == "rmsprop":
                average = held.setdefault("square_avg", torch.zeros_like(param))
                average.mul_(0.99).addcmul_(d, d, value=1 - 0.99)
                param.addcdiv_(d, average.sqrt().add_(1e-8), value=-lr)
            else:
                if "momentum_buffer" in held:
                    held["momentum_buffer"].mul_(momentum).add_(d)
                else:
                    held["momentum_buffer"] = d.clone()
                param.add_(held["momentum_buffer"], alpha=-lr)
            arrays[f"parameter/{name}"] = param.numpy().copy()
            for key, value in held.items():
                arrays[f"state/{name}.{key}"] = value.numpy().copy()
        yield ProgramStep(number, 0, Optimiser("optimizer", kind, (group,))), arrays


def said(
    kind: str,
    by_place: bool,
    dtype: torch.dtype,
    engine: str = "r-torch",
    weight_decay: float = 0.01,
) -> list[list[str]]:
    before: dict[str, NDArray] = {}
    words = []
    momentum = 0.9 if kind == "sgd" else 0.0
    settings = {"lr": 0.05, "momentum": momentum, "weight_decay": weight_decay}
    for step, arrays in r_torch(kind, by_place, dtype, **settings):
        words.append(known_bugs(step, arrays, before, engine))
        before = arrays
    return words


@PRECISIONS
@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
@pytest.mark.parametrize("weight_decay", [0.01, 5e-4])
def test_weight_decay_by_place_is_r_torch_s_own(kind, dtype, weight_decay):
    for words in said(kind, True, dtype, weight_decay=weight_decay):
        assert len(words) == 1
        assert f"optim_{kind}" in words[0]
        assert words[0].endswith(f"Use optim_ignite_{kind}")


@PRECISIONS
@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_weight_decay_as_it_is_meant_is_no_bug(kind, dtype):
    assert said(kind, False, dtype) == [[], [], []]


def test_no_other_engine_has_r_torch_s_bugs():
    assert said("sgd", True, torch.float64, engine="pytorch") == [[], [], []]


def test_a_mistake_of_the_user_s_is_not_r_torch_s():
    for step, arrays in r_torch("sgd", True, torch.float64, lr=0.1, momentum=0.0, weight_decay=0.1):
        arrays["parameter/a.bias"] = arrays["parameter/a.bias"] + 0.01
        assert known_bugs(step, arrays, {}, "r-torch") == []


def test_the_ignite_optimiser_is_right():
    step, arrays = next(r_torch("sgd", True, torch.float64, lr=0.1, momentum=0.0, weight_decay=0.1))
    assert step.optimiser is not None
    renamed = ProgramStep(1, 0, Optimiser("o", "ignite_sgd", step.optimiser.groups))
    assert known_bugs(renamed, arrays, {}, "r-torch") == []


def embedding(
    padding_idx: int, masked: int | None, dtype: torch.dtype, tied: bool = False
) -> tuple[list[ProgramStage], dict[str, NDArray]]:
    """An embedding that counts from 1, whose backward pass leaves out row `masked` (from 0)."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(5, 3, generator=generator, dtype=dtype, requires_grad=True)
    words = torch.tensor([[1, 2, 3], [4, 5, 2]])
    y = F.embedding(words - 1, weight, masked)
    gradient = torch.randn(2, 3, 3, generator=generator, dtype=dtype)
    stages = [
        ProgramStage("words", "input"),
        ProgramStage("e", "embedding", ("words",), {"padding_idx": padding_idx}, {"weight": "w"}),
    ]
    arrays = {"forward/words": words.numpy(), "start/w": weight.detach().numpy(),
              "gradient/e": gradient.numpy()}  # fmt: skip
    total = (y * gradient).sum()
    if tied:
        stages.append(ProgramStage("logits", "linear", ("e",), {}, {"weight": "w"}))
        arrays |= {"forward/e": y.detach().numpy(), "gradient/logits": np.ones((2, 3, 5))}
        arrays["forward/logits"] = np.ones((2, 3, 5))
        total = total + F.linear(y.detach(), weight).sum()
    total.backward()
    assert weight.grad is not None
    return stages, {**arrays, "gradient/w": weight.grad.numpy()}


@PRECISIONS
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("row", [1, 3, 5])
def test_the_row_after_the_padding_row_is_r_torch_s_own(row, tied, dtype):
    stages, arrays = embedding(row, row if row < 5 else None, dtype, tied)
    (words,) = known_bugs(ProgramStep(1), arrays, {}, "r-torch", stages)
    assert f"nn_embedding(padding_idx = {row})" in words
    assert f"gradient of row {row + 1}" in words


@PRECISIONS
@pytest.mark.parametrize("masked", [2, None, 0])
def test_other_gradients_of_an_embedding_are_no_bug_of_r_torch_s(masked, dtype):
    stages, arrays = embedding(3, masked, dtype)
    assert known_bugs(ProgramStep(1), arrays, {}, "r-torch", stages) == []


def loss(layer: str, said: int, ignored: int, dtype: torch.dtype) -> list[str]:
    """What is said of R torch's loss of classes 1 to 4 that was told to ignore one and ignored
    another (both from 1; 0 for none)."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(8, 4, generator=generator, dtype=dtype).log_softmax(1)
    classes = torch.tensor([1, 2, 3, 4] * 2)
    function = F.cross_entropy if layer == "cross_entropy_loss" else F.nll_loss
    value = function(logits, classes - 1, ignore_index=ignored - 1)
    stages = [
        ProgramStage("x", "input"),
        ProgramStage("y", "input"),
        ProgramStage("loss", layer, ("x", "y"), {"ignore_index": said}),
    ]
    arrays = {"forward/x": logits, "forward/y": classes, "forward/loss": value}
    given = {name: array.numpy() for name, array in arrays.items()}
    return known_bugs(ProgramStep(1), given, {}, "r-torch", stages)


@PRECISIONS
@pytest.mark.parametrize("layer", ["cross_entropy_loss", "nll_loss"])
def test_the_class_after_the_ignored_one_is_r_torch_s_own(layer, dtype):
    """As far as 0.17.0; later versions ignore what they are told to, and users other classes."""
    (words,) = loss(layer, 2, 3, dtype)
    assert "ignores class 3. ignore_index = 1 ignores class 2 there" in words
    assert loss(layer, 4, 0, dtype) != []
    for said, ignored in ((2, 2), (4, 4), (2, 1), (2, 4), (2, 0)):
        assert loss(layer, said, ignored, dtype) == []
