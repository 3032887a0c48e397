"""Adam in both orders of operations: base R, step by step, beside the optimisers in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.engines.adam import ADAMS
from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

ADAM_R = R_FILES / "base_r" / "adam.R"
STEPS = 20
EPS = 2.0**-53  # what rounding to float64 costs at most, relatively
LARGE = ("encoder.fc1.weight", "decoder.conv2.weight")  # 1.4 of 1.5 million parameters


@pytest.fixture(scope="module")
def r():
    with RProcess(sources=(ADAM_R,)) as process:
        process.evaluate(
            """take <- function(p, g, t, m, v, order) {
              adam_step(p, g, list(t = t, m = m, v = v), learning_rate = 1e-3, order = order)
            }; NULL"""
        )
        yield process


class PyTorch:
    """An optimiser of PyTorch's, in float64."""

    def __init__(self, order, parameters):
        self.leaves = {
            name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
            for name, value in parameters.items()
        }
        self.optimizer = ADAMS[order](self.leaves.values(), lr=1e-3)

    def state(self):
        """Parameters and both moments, as they stand in PyTorch."""
        parameters = {name: leaf.detach().numpy().copy() for name, leaf in self.leaves.items()}
        moments = []
        for key in ("exp_avg", "exp_avg_sq"):
            kept = {name: self.optimizer.state.get(leaf) for name, leaf in self.leaves.items()}
            moments.append(
                {
                    name: state[key].numpy().copy() if state else np.zeros_like(parameters[name])
                    for name, state in kept.items()
                }
            )
        return parameters, *moments

    def step(self, gradients):
        for name, leaf in self.leaves.items():
            leaf.grad = torch.from_numpy(gradients[name])
        self.optimizer.step()
        return self.state()


@pytest.fixture
def step_in_r(r):
    """A step of base R from a given state, after so many."""

    def step(order, done, p, m, v, gradients):
        told = r.call("take", p=p, g=gradients, t=float(done), m=m, v=v, order=order)
        return told["parameters"], told["state"]["m"], told["state"]["v"]

    return step


def zeros(arrays):
    return {name: np.zeros(value.shape) for name, value in arrays.items()}


def flat(arrays):
    return np.concatenate([value.ravel() for value in arrays.values()])


def difference(one, other):
    return np.abs(flat(one) - flat(other)).max()


@pytest.fixture
def network(conv):
    """The network's initial parameters, but its two largest matrices: |theta| < 1/3."""
    initial = conv.initial_parameters(2, 30)
    return {name: value.numpy() for name, value in initial.items() if name not in LARGE}


@pytest.fixture
def gradients(network):
    """Of magnitudes from 1e-6 to 1e3, without regard to those of the step before."""

    def draw(step):
        rng = np.random.default_rng([5, step])
        return {
            name: rng.normal(size=value.shape) * 10.0 ** rng.uniform(-6, 3, value.shape)
            for name, value in network.items()
        }

    return draw


@pytest.mark.parametrize("order", ADAMS)
def test_a_run_of_steps_agrees_to_1e_16(step_in_r, network, gradients, order):
    """Base R goes its own way from the first step to the last."""
    pytorch = PyTorch(order, network)
    own = pytorch.state()
    for done in range(STEPS):
        step = gradients(done)
        parameters, *moments = pytorch.step(step)
        own = step_in_r(order, done, *own, step)
        assert difference(own[0], parameters) <= 1e-16, f"step {done + 1}"
        for mine, theirs in zip(own[1:], moments, strict=True):
            assert difference(mine, theirs) <= 4 * EPS * np.abs(flat(theirs)).max()
    assert np.abs(flat(parameters) - flat(network)).max() > 5e-3  # it has gone somewhere


@pytest.mark.parametrize("order", ADAMS)
def test_each_step_agrees_to_1_ulp(step_in_r, network, gradients, order):
    """From the same state, with parameters that are larger than the network's: half of a ULP of
    |theta| in [0.25, 0.5) for each side, 5.6e-17 together.

    LibTorch's kernels fuse products and sums, base R rounds after each.
    """
    rng = np.random.default_rng(6)
    pytorch = PyTorch(
        order, {name: rng.uniform(-0.4, 0.4, value.shape) for name, value in network.items()}
    )
    before = pytorch.state()
    for done in range(STEPS):
        step = gradients(done)
        own = step_in_r(order, done, *before, step)
        after = pytorch.step(step)
        assert difference(own[0], after[0]) <= 2.0**-54, f"step {done + 1}"
        m, v, g = flat(before[1]), flat(before[2]), flat(step)
        of_m = np.abs(flat(own[1]) - flat(after[1]))
        of_v = np.abs(flat(own[2]) - flat(after[2]))
        # each side rounds its terms, its differences and its sum; g - m is as large as both
        assert (of_m <= 4 * EPS * (np.abs(m) + 0.1 * np.abs(g))).all()
        assert (of_v <= 4 * EPS * (0.999 * v + 0.001 * g**2)).all()
        before = after


def test_the_two_orders_are_rounded_differently_from_the_second_step_on(
    step_in_r, network, gradients
):
    states = dict.fromkeys(ADAMS, (network, zeros(network), zeros(network)))
    for done in range(2):
        states = {
            order: step_in_r(order, done, *state, gradients(done))
            for order, state in states.items()
        }
        one, other = (flat(m) for _, m, _ in states.values())
        share = (one != other).mean()
        assert 0.2 < share < 0.6 if done else share == 0


def test_pytorchs_order_is_the_default(r, step_in_r, network, gradients):
    state = {"t": 1.0, "m": gradients(2), "v": zeros(network)}
    told = r.call(
        "adam_step", parameters=network, gradients=gradients(1), state=state, learning_rate=1e-3
    )
    asked, *_ = step_in_r("torch", 1, network, state["m"], state["v"], gradients(1))
    assert flat(told["parameters"]).tobytes() == flat(asked).tobytes()


def test_an_order_that_there_is_not_is_an_error(r):
    one = {"w": np.ones(1)}
    with pytest.raises(RError, match=r"should be one of .torch., .r-torch."):
        r.call("take", p=one, g=one, t=0.0, m=one, v=one, order="keras")
