"""Networks declared as stages, in base R (network.R, session.R): a small one that has two
inputs, two modules used twice and batch norm, against PyTorch and finite differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from r_bridge import R_FILES
from r_bridge.engines.stage_network import SOURCES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

TERMS = ["total", "reconstruction", "regulariser", "features"]
WEIGHTS = [1.0, 0.5, 0.1]


def stage(name, layer, *inputs, draw="", module=None, **options):
    return {
        "name": name,
        "layer": layer,
        "inputs": list(inputs),
        "draw": draw,
        "options": options,
        "module": module or name,
    }


def double_use(stages_of_conv):
    """The stages of the network, with these options of its convolution."""
    norm = {"momentum": 0.2, "eps": 1e-5}
    return [
        stage("input", "input"),
        stage("labels", "input", draw="labels"),
        stage("conv", "conv2d", "input", **stages_of_conv),
        stage("norm", "batch_norm", "conv", **norm),
        stage("relu", "leaky_relu", "norm", slope=0.1),
        stage("dropout", "dropout", "relu", draw="mask", p=0.25),
        stage("flat", "flatten", "dropout"),
        stage("joined", "concat", "flat", "labels"),
        stage("fc", "linear", "joined"),
        stage("mu", "first_half", "fc"),
        stage("log_var", "second_half", "fc"),
        stage("z", "reparameterise", "mu", "log_var", draw="noise"),
        stage("decoder", "linear", "z"),
        stage("map", "unflatten", "decoder", channels=3),
        stage("up", "conv_transpose2d", "map", **stages_of_conv),
        stage("pixels", "sigmoid", "up"),
        stage("conv_again", "conv2d", "pixels", module="conv", **stages_of_conv),
        stage("norm_again", "batch_norm", "conv_again", module="norm", **norm),
        stage("reconstruction", "bce", "pixels", "input"),
        stage("regulariser", "kl_normal", "mu", "log_var", per="image"),
        stage("features", "mse", "norm_again", "norm", per="element"),
        stage("total", "sum", "reconstruction", "regulariser", "features", weights=WEIGHTS),
    ]


STAGES = double_use({"stride": 2, "padding": 1})


class DoubleUse(nn.Module):
    """The same in PyTorch; keeps what each stage gave."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 4, 2, 1)
        self.norm = nn.BatchNorm2d(3, momentum=0.2)
        self.fc = nn.Linear(27 + 3, 8)
        self.decoder = nn.Linear(4, 27)
        self.up = nn.ConvTranspose2d(3, 1, 4, 2, 1)

    def encode(self, seen, x, draws):
        seen["input"], seen["labels"] = x, draws["labels"]
        seen["conv"] = self.conv(x.reshape(-1, 1, 6, 6))
        seen["norm"] = self.norm(seen["conv"])
        seen["relu"] = seen["dropout"] = F.leaky_relu(seen["norm"], 0.1)
        if self.training:
            seen["dropout"] = seen["relu"] * draws["mask"] / 0.75
        seen["flat"] = seen["dropout"].flatten(1)
        seen["joined"] = torch.cat([seen["flat"], seen["labels"]], 1)
        seen["fc"] = self.fc(seen["joined"])
        seen["mu"], seen["log_var"] = seen["fc"].clone().chunk(2, 1)

    def decode(self, seen, z):
        seen["z"] = z
        seen["decoder"] = self.decoder(z)
        seen["map"] = seen["decoder"].reshape(-1, 3, 3, 3)
        seen["up"] = self.up(seen["map"])
        seen["pixels"] = torch.sigmoid(seen["up"])

    def losses(self, x, draws, target):
        seen: dict = {}
        self.encode(seen, x, draws)
        mu, log_var = seen["mu"], seen["log_var"]
        self.decode(seen, mu + torch.exp(0.5 * log_var) * draws["noise"])
        seen["conv_again"] = self.conv(seen["pixels"])
        seen["norm_again"] = self.norm(seen["conv_again"])
        losses = [
            F.binary_cross_entropy(seen["pixels"].flatten(1), target, reduction="sum"),
            -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp()) / len(x),
            F.mse_loss(seen["norm_again"], seen["norm"].detach()),
        ]
        total = sum(w * loss for w, loss in zip(WEIGHTS, losses, strict=True))
        return torch.stack([total, *losses]), seen


@pytest.fixture(scope="module")
def r():
    with RProcess(tuple(R_FILES / f"{name}.R" for name in SOURCES), threads=1) as process:
        yield process


@pytest.fixture
def here(r):
    """The network in PyTorch, a batch with its draws, and how to ask R for the same."""
    torch.manual_seed(7)
    network = DoubleUse().double()
    draws = {
        "labels": torch.eye(3, dtype=torch.float64)[[1, 0]],
        "mask": torch.rand(2, 3, 3, 3, dtype=torch.float64) > 0.25,
        "noise": torch.randn(2, 4, dtype=torch.float64),
    }
    x = torch.rand(2, 36, dtype=torch.float64)

    def start(stages=STAGES, learning_rate=0.01, terms=TERMS, sample="z", pixels="pixels"):
        state = network.state_dict()
        kept = {n: v.numpy() for n, v in state.items() if v.is_floating_point()}
        arguments = {
            "stages": stages, "learning_rate": learning_rate, "terms": terms, "sample": sample,
            "pixels": pixels,
        }  # fmt: skip
        session = r.call("session_start", keep="session", parameters=kept, **arguments)

        def ask(name, **rest):
            if name != "probe":
                return r.call(f"session_{name}", session=session, **rest)
            seen = r.call("session_probe_part", session=session, first=True, **rest)
            return (
                seen | r.call("session_probe_end", session=session) | {"stages": seen["gradient"]}
            )

        return ask

    batch = {"x": x.numpy(), "draws": {name: draw.numpy() for name, draw in draws.items()}}
    return SimpleNamespace(network=network, x=x, draws=draws, batch=batch, start=start)


def close(found, expected, atol=1e-12):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=atol)


def buffers(network):
    return {n: v for n, v in network.named_buffers() if not n.endswith("num_batches_tracked")}


def test_every_stage_and_its_gradient_are_autograds(here):
    told = here.start()("probe", **here.batch)
    leaf = here.x.clone().requires_grad_(True)
    draws = here.draws | {"labels": here.draws["labels"].clone().requires_grad_(True)}
    losses, seen = here.network.losses(leaf, draws, target=here.x)
    for value in seen.values():
        value.retain_grad()
    losses[0].backward()
    close(told["losses"], losses)
    assert set(told["forward"]) == set(told["stages"]) == set(seen)
    for name, value in seen.items():
        close(told["forward"][name].T, value)
        close(told["stages"][name].T, value.grad)
    parameters = dict(here.network.named_parameters())
    assert list(told["gradients"]) == list(parameters)
    for name, parameter in parameters.items():
        close(told["gradients"][name], parameter.grad)
    assert set(told["buffers"]) == set(buffers(here.network))
    for name, value in buffers(here.network).items():
        close(told["buffers"][name], value)


def test_steps_are_torchs_adam(here):
    """The bias before batch norm has gradient 0, of which Adam sees the rounding errors only; the
    running mean follows it."""
    ask = here.start(learning_rate=0.01)
    optimiser = torch.optim.Adam(here.network.parameters(), lr=0.01)
    for i in range(4):
        losses, _ = here.network.losses(here.x, here.draws, here.x)
        optimiser.zero_grad()
        losses[0].backward()
        optimiser.step()
        found = ask("probe", **here.batch)["losses"] if i == 2 else ask("step", **here.batch)
        close(found, losses, atol=1e-9)
    state = ask("state")
    assert state["step"] == [4]
    for name, parameter in here.network.named_parameters():
        moments = optimiser.state[parameter]
        close(state["parameter"][name], parameter, atol=1e-7 if name == "conv.bias" else 1e-9)
        close(state["moment1"][name], moments["exp_avg"], atol=1e-9)
        close(state["moment2"][name], moments["exp_avg_sq"], atol=1e-9)
    for name, value in buffers(here.network).items():
        follows = name.endswith("running_mean")
        close(state["buffer"][name], value, atol=1e-7 if follows else 1e-9)
    parameters = ask("parameters")
    assert list(parameters) == [n for n in here.network.state_dict() if "num_batches" not in n]
    assert same(parameters, {n: (state["parameter"] | state["buffer"])[n] for n in parameters})


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return np.array_equal(a, b)


def test_a_session_goes_on_from_its_state_and_a_probe_changes_nothing(here):
    ask = here.start()
    ask("step", **here.batch)
    state = ask("state")
    last = ask("step", **here.batch)
    after = ask("state")
    ask = here.start()
    state["step"] = float(state["step"][0])
    ask("restore", **state)
    assert np.array_equal(ask("probe", **here.batch)["losses"], last)
    assert same(ask("state"), after)


def test_without_batch_norm_there_are_no_buffers(here):
    stages = [s for s in double_use({"stride": 2, "padding": 1}) if "again" not in s["name"]]
    stages = [s for s in stages if s["name"] not in ("norm", "features")]
    for s in stages:
        s["inputs"] = ["conv" if i == "norm" else i for i in s["inputs"] if i != "features"]
    stages[-1]["options"]["weights"] = WEIGHTS[:2]
    ask = here.start(stages, terms=["total"])
    assert ask("step", **here.batch).shape == (1,)
    state = ask("state")
    ask("restore", **state | {"step": 1.0, "buffer": {}})
    told = ask("probe", **here.batch)
    assert told["buffers"] == ask("state")["buffer"] == {}
    assert not np.any(told["gradients"]["norm.weight"])  # a module that is not used
    close(ask("parameters")["norm.weight"], here.network.norm.weight)


@pytest.mark.parametrize("training", [True, False])
def test_latent_means_are_torchs_and_change_nothing(here, training):
    here.network.train(training)
    seen: dict = {}
    here.network.encode(seen, here.x, here.draws)
    for stage_name, sample in (("mu", "z"), ("conv", "norm")):  # of what a stage takes: the first
        ask = here.start(sample=sample)
        before = ask("state")
        found = ask("latent_means", training=training, **here.batch)
        close(found, seen[stage_name].flatten(1))
        assert same(ask("state"), before)


def test_decoding_is_torchs_in_evaluation_mode(here):
    ask = here.start()
    seen: dict = {}
    here.network.eval()
    z = torch.randn(5, 4, dtype=torch.float64)
    here.network.decode(seen, z)
    close(ask("decode", z=z.numpy()), seen["pixels"].flatten(1))


def test_gradients_are_finite_differences_of_rs_own_loss(here, r):
    """Independent of PyTorch: a step along a random direction changes the loss as promised. The
    target of `features` gets no gradient, so that term is left out."""
    stages = double_use({"stride": 2, "padding": 1})
    stages[-1]["inputs"] = ["reconstruction", "regulariser", "again"]
    stages.insert(-1, stage("again", "bce", "squashed", "input"))
    stages.insert(-2, stage("up_again", "conv_transpose2d", "norm_again", module="up", stride=2,
                            padding=1))  # fmt: skip
    stages.insert(-2, stage("squashed", "sigmoid", "up_again"))
    here.start(stages, terms=["total"])("state")
    r.evaluate(
        """along <- function(stages, parameters, x, draws, h) {
          session <- session_start(stages, parameters, 0.01, "total", "z", "pixels")
          p <- session$parameters
          set.seed(1)
          direction <- lapply(p, function(v) 0 * v + stats::rnorm(length(v)))
          loss <- function(t) {
            moved <- Map(function(v, d) v + t * d, p, direction)
            network_forward(session$stages, "total", moved, session$buffers,
                            list(input = images_last(x)), lapply(draws, images_last),
                            TRUE)$seen$total$y
          }
          g <- session_gradients(session, x, draws)$gradients
          c((loss(h) - loss(-h)) / (2 * h), sum(mapply(function(a, b) sum(a * b), g, direction)))
        }; NULL"""
    )
    state = {n: v.numpy() for n, v in here.network.state_dict().items() if v.is_floating_point()}
    numeric, promised = r.call("along", stages=stages, parameters=state, h=1e-5, **here.batch)
    assert numeric == pytest.approx(promised, rel=1e-7)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (stage("a", "conv3d", "input"), "stage 'a' has layer 'conv3d'; expected one of batch_norm"),
        (stage("a", "relu", "b"), "stage 'a' reads 'b', which is no stage before it"),
        (stage("input", "input"), "stage 'input' is there twice"),
    ],
)
def test_what_cannot_be_declared_is_told(here, extra, words):
    with pytest.raises(RError, match=words):
        here.start([*STAGES, extra])


def test_what_is_not_given_is_told(here):
    ask = here.start()
    draws = {"mask": here.batch["draws"]["mask"]}
    with pytest.raises(RError, match="input 'labels' was not given; draws are: mask"):
        ask("step", x=here.batch["x"], draws=draws)
    with pytest.raises(RError, match="there is no stage 'picture'"):
        here.start(pixels="picture")("decode", z=np.zeros((1, 4)))
