from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW

from pyvae.cli.main import main
from pyvae.engines.precision import Precision, multiplies_bf16
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.feeds import batches
from pyvae.training.loop import train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    """Says what the processor can; at first it has AMX. PyTorch computes in bfloat16 on any."""

    def say(**abilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)

    say(avx2=True, amx_bf16=True)
    return say


class Pair(NamedTuple):
    one: torch.Tensor
    other: object


def test_what_a_device_or_a_dtype_does_not_have_is_told():
    with pytest.raises(UserError, match=r"--precision tf32 needs an NVIDIA GPU\. Use"):
        Precision("tf32", CPU)
    with pytest.raises(UserError, match="--precision bf16 with --dtype float64"):
        Precision("bf16", CPU, torch.float64)
    with pytest.raises(UserError, match=r"unknown precision 'bf61'.*Did you mean 'bf16'"):
        Precision("bf61", CPU)


@pytest.mark.parametrize(
    ("abilities", "has"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "amx_tile": True, "amx_bf16": True}, True),
        ({"architecture": "x86_64", "amx_tile": True, "amx_int8": True}, False),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_bfloat16_is_asked_of_the_processor(abilities, has, processor):
    processor(**abilities)
    assert multiplies_bf16() is has
    if has:
        assert PyTorchEngine("cpu", precision="bf16").environment()["precision"] == "bf16"
        return
    words = (
        "--precision bf16 needs a processor with AMX or AVX512-BF16, and this one has neither. Use "
        "--precision full."
    )
    with pytest.raises(UserError, match=f"^{re.escape(words)}$"):
        PyTorchEngine("cpu", precision="bf16")
    PyTorchEngine("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_an_older_pytorch_is_asked_otherwise(has, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert multiplies_bf16() is has


def test_without_the_instructions_the_command_is_refused_before_it_writes(
    processor, tmp_path, capsys
):
    processor(avx2=True)
    arguments = ["conv", "--data", "digits", "--device", "cpu", "--precision", "bf16"]
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pyvae: --precision bf16 needs a processor with AMX or AVX512-BF16, ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_gradient_of_a_max_pool_is_brought_into_its_inputs_order():
    """And it is the same gradient."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.MaxPool2d(2))
    x = torch.rand(2, 1, 8, 8)
    plain = torch.autograd.grad(network(x).square().sum(), network[0].weight)[0]
    Precision("bf16", CPU).prepare(network)
    y = network(x)
    seen = []
    y.register_hook(lambda g: seen.append(g.is_contiguous(memory_format=torch.channels_last)))
    ordered = torch.autograd.grad(y.contiguous().square().sum(), network[0].weight)[0]
    assert seen == [True]
    assert not plain.isnan().any()
    torch.testing.assert_close(ordered, plain)
    with torch.no_grad():
        network(x)  # as a figure asks


class Volumes(torch.nn.Module):
    """Has a layer with weights in five dimensions, and max-pools of all kinds."""

    def __init__(self):
        super().__init__()
        self.volume = torch.nn.Conv3d(2, 3, 2)
        self.image = torch.nn.Conv2d(3, 4, 2)
        self.pool = torch.nn.MaxPool2d(2)
        self.indexed = torch.nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        maps = self.image(self.volume(x).squeeze(2))
        single = self.pool(maps[0])  # one image, without a batch
        return single.sum() + self.indexed(maps)[0].square().sum()


def test_what_has_no_channels_last_is_left_as_it_is():
    network, x = Volumes(), torch.rand(5, 2, 2, 8, 8)
    contiguous = network.volume.weight.stride()
    plain = torch.autograd.grad(network(x), list(network.parameters()))
    Precision("bf16", CPU).prepare(network)
    assert network.volume.weight.stride() == contiguous
    weight = network.image.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    ordered = torch.autograd.grad(network(x), list(network.parameters()))
    for one, other in zip(ordered, plain, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_a_run_in_bfloat16_says_so_and_is_verified_in_it(tmp_path, capsys, processor, undrawn):
    out = tmp_path / "run"
    arguments = ["conv", "--data", "digits", "--batch-size", "10", "--steps", "3", "--objective",
                 "vae", "--device", "cpu", "--threads", "1", "--precision", "bf16"]  # fmt: skip
    assert main(["train", *arguments, "--out", str(out)]) == 0
    about = json.loads((out / "run.json").read_text())
    assert about["engines"]["pytorch"]["precision"] == "bf16"
    assert "--precision=bf16" in about["arguments"]
    capsys.readouterr()
    assert main(["verify", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 steps run again: every bit of the losses, parameters," in said
    processor(avx2=True)
    assert main(["verify", str(out)]) == 2
    assert "--precision bf16 needs a processor with" in capsys.readouterr().err


def test_what_a_network_returns_is_brought_to_single_precision_at_any_depth():
    half = torch.ones(2, dtype=torch.bfloat16)
    found = Precision("bf16", CPU).finish(Pair(half, (Pair(half, None), "text")))
    assert type(found) is Pair
    assert found.one.dtype == found.other[0].one.dtype == torch.float32
    assert found.other[0].other is None
    assert found.other[1] == "text"
    assert Precision("full", CPU).finish(half) is half


@pytest.mark.slow
def test_bfloat16_trains_nearly_the_same(conv, settings, digits):
    run = settings(dtype="float32", batch_size=100, steps=8)
    full = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    engine = PyTorchEngine("cpu", precision="bf16")
    half = train(Run(conv, run, digits), engine)
    difference = np.abs(half.losses[:, 0] / full.losses[:, 0] - 1)
    assert 1e-6 < difference.max() < 0.01  # rounded otherwise, and not much
    assert {value.dtype for value in half.parameters.values()} == {np.dtype("float32")}
    assert engine.environment()["precision"] == "bf16"
    assert "precision" not in PyTorchEngine("cpu").environment()


@pytest.mark.parametrize("own", [False, True])
def test_a_run_in_bfloat16_goes_on_from_a_state_to_the_bit(digits, own):
    """Parameters have the channels last there, a checkpoint's arrays do not."""
    recipe = NARROW["strided-conv"]
    if own:
        recipe = replace(
            recipe,
            optimizer=lambda parameters, rate: torch.optim.AdamW(parameters, rate, fused=True),
        )
    settings = recipe.settings(dtype="float32", batch_size=9, steps=6)
    given = [one[1:] for one in batches(Run(recipe, settings, digits))]

    def started(seed):
        engine = PyTorchEngine("cpu", precision="bf16")
        engine.start(recipe, settings, recipe.initial_parameters(seed, settings.latent_dim))
        return engine

    whole, fresh = started(1), started(2)
    for one in given[:3]:
        whole.step(*one)
    fresh.restore({key: np.array(value, order="C") for key, value in whole.state().items()})
    for one in given[3:]:
        assert torch.equal(fresh.step(*one), whole.step(*one))
    ends = whole.state(), fresh.state()
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][key], value, err_msg=key)


def test_probabilities_near_1_are_not_rounded_to_1(conv, settings, digits):
    engine = PyTorchEngine("cpu", precision="bf16")
    run = settings(dtype="float32")
    engine.start(conv, run, conv.initial_parameters(1, run.latent_dim))
    with torch.no_grad():
        engine.network.decoder.conv2.bias.fill_(8.0)  # sigmoid(8) = 0.99966, in bfloat16 1
    x = digits.batch(np.arange(4), torch.float32)
    with engine.precision.computing():
        pixels = engine.network(x).pixels
    assert pixels.dtype == torch.float32
    assert 0.999 < float(pixels.min().detach()) <= float(pixels.max().detach()) < 1


def test_another_precision_is_another_run(conv, settings, digits):
    """Of the trace, so that a run does not go on in another precision."""
    run = settings(dtype="float32")
    one, other = (
        Trace.of_run(Run(conv, run, digits), PyTorchEngine("cpu", precision=name))
        for name in ("full", "bf16")
    )
    assert one.environment != other.environment
