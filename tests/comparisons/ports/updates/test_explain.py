"""Optimisers that a program writes by hand, each with one mistake: which mistake it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded.trained import ByHand, Training, adam, say
from safetensors.numpy import load_file, save_file
from torch import nn, optim

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow

# Adam (Kingma & Ba 2015, algorithm 1), written out once more, with a mistake ----------------------


def by_hand(mistake: str = "", decay: float = 0.0, **about):
    rate, beta1, beta2 = about.get("lr", 1e-3), about.get("beta1", 0.9), about.get("beta2", 0.999)
    eps, corrected = about.get("eps", 1e-8), about.get("corrected", (beta1, beta2))
    late = about.get("late", (0, 0))

    known = {}

    def rule(p, g, state, group, t):
        if mistake == "l2":
            g = g + decay * p
        if mistake == "decoupled":
            p.mul_(1 - rate * decay)
        if mistake == "not times the rate":
            p.mul_(1 - decay)
        if mistake == "biases are not decayed":
            g = g + (decay * p if p.ndim > 1 else 0)
        if mistake == "amsgrad":
            known[p] = state["exp_avg_sq"] * beta2 + g * g * (1 - beta2)
            known[p] = torch.maximum(known[p], known.get((p, "most"), known[p]))
            known[p, "most"] = known[p]
        if mistake == "counted from 0":
            t = max(t - 1, 1)
        if mistake == "not counted":
            t = 1
        kept = {"m": state["exp_avg"].clone(), "v": state["exp_avg_sq"].clone()}
        state["exp_avg"].mul_(beta1).add_(
            g, alpha=1.0 if mistake == "no (1 - beta1)" else 1 - beta1
        )
        state["exp_avg_sq"].mul_(beta2).add_(g * g, alpha=1 - beta2)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        v = known[p] if mistake == "amsgrad" else v
        m = m if "first moment" in mistake else m / (1 - corrected[0] ** (t + late[0]))
        if mistake == "keras eps":
            p.sub_(rate * m * (1 - beta2**t) ** 0.5 / (v.sqrt() + eps))
            return
        m = kept["m"] / (1 - beta1**t) if mistake == "late" else m
        v = kept["v"] if mistake == "late" else v
        v = v if "second moment" in mistake else v / (1 - corrected[1] ** (t + late[1]))
        size = (v + eps).sqrt() if mistake == "inside" else v.sqrt() + eps
        size = v + eps if mistake == "no root" else size
        p.add_(rate * m / size, alpha=1.0 if mistake == "added" else -1.0)

    return lambda network: ByHand(
        network.parameters(), rule, ("exp_avg", "exp_avg_sq"), lr=1e-3, betas=(0.9, 0.999),
        eps=1e-8 if mistake not in BIG_EPS else eps, weight_decay=decay, amsgrad=False,
    )  # fmt: skip


BIG_EPS = ("inside", "keras eps")
ADAM = {
    "the learning rate": (by_hand(lr=1e-4), {}, "lr = 0.0001 where it is 0.001"),
    "first moment": (
        by_hand("first moment"), {}, "no bias correction of the first moment",
    ),
    "second moment": (
        by_hand("second moment"), {}, "no bias correction of the second moment",
    ),
    "both": (
        by_hand("first moment, second moment"), {}, "no bias correction of the moments",
    ),
    "inside the root": (
        by_hand("inside", eps=1e-3), {"eps": 1e-3}, "eps inside the square root",
    ),
    "Keras's eps": (
        by_hand("keras eps", eps=1e-3), {"eps": 1e-3},
        "eps added before the bias correction (Keras's and TensorFlow's way)",
    ),
    "another eps": (by_hand(eps=1e-4), {}, "eps = 0.0001 where it is 1e-08"),
    "betas": (by_hand(beta1=0.8), {}, "betas = (0.8, 0.999) where it is (0.9, 0.999)"),
    "the second beta": (by_hand(beta2=0.99), {}, "betas = (0.9, 0.99) where it is (0.9, 0.999)"),
    "both betas": (
        by_hand(beta1=0.8, beta2=0.95), {}, "betas = (0.8, 0.95) where it is (0.9, 0.999)",
    ),
    "the second beta of the moment alone": (
        by_hand(beta2=0.99, corrected=(0.9, 0.999)), {},
        "beta2 = 0.99 in the second moment, 0.999 in its bias correction",
    ),
    "the first beta of the correction alone": (
        by_hand(corrected=(0.5, 0.999)), {},
        "beta1 = 0.5 in the first moment's bias correction, 0.9 in the moment",
    ),
    "the step of one moment": (
        by_hand(late=(1, 0)), {},
        "the step counted one too far in the bias correction of the first moment",
    ),
    "(1 - beta1)": (
        by_hand("no (1 - beta1)"), {}, "(1 - beta1) is missing in the first moment",
    ),
    "the step": (
        by_hand("counted from 0"), {}, "the step counted from 0 in the bias correction",
    ),
    "no step": (
        by_hand("not counted"), {}, "the step is 1 for ever in the bias correction",
    ),
    "amsgrad": (
        by_hand("amsgrad"),
        {},
        "amsgrad: divided by the largest second moment so far",
    ),
    "no root": (by_hand("no root"), {}, "no square root of the second moment"),
    "late": (by_hand("late"), {}, "the moments of the step before in the update"),
    "its sign": (by_hand("added"), {}, "the update is added where it should be subtracted"),
    "decoupled decay": (
        by_hand("decoupled", 0.1), {"weight_decay": 0.1},
        "weight decay decoupled from the gradient (as AdamW does), not added to it",
    ),
    "decay of no biases": (
        by_hand("biases are not decayed", 0.1), {"weight_decay": 0.1},
        "weight_decay = 0 where it is 0.1, of the parameters of one dimension (biases and norms) "
        "alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADAM)
def test_a_mistake_of_adam(pair, name):
    wrong, settings, words = ADAM[name]
    dtype = torch.float64 if name == "amsgrad" else torch.float32  # rounding is as large
    right = Training(optimiser=lambda n: adam(n, **settings), dtype=dtype)
    pair(right, Training(optimiser=wrong, dtype=dtype))
    say("r", "adam", "python")
    found = compare_programs("python", "r")
    assert found.first.wrong == "r"
    assert found.first.words == (f"r: {words}",)
    step = 2 if name in ("the step", "no step", "amsgrad") else 1
    assert found.first.place.startswith(f"step {step}, optimizer (adam), update of ")


def test_a_count_of_steps_that_is_not_written_is_asked_for(pair):
    pair(Training(), Training(optimiser=by_hand("not counted")))
    say("r", "adam", "python")
    for file in Path("r/steps").iterdir():
        kept = {k: x for k, x in load_file(file).items() if not k.endswith(".step")}
        save_file(kept, file)
    words = (
        "r's cannot be computed again without the number of its steps: write it as `step` of each "
        "parameter's state"
    )
    assert compare_programs("python", "r").first.words == (words,)


def test_whichever_side_it_is_and_whatever_the_class_is_called(pair):
    wrong, _, words = ADAM["second moment"]
    pair(Training(dtype=torch.float64), Training(optimiser=wrong, dtype=torch.float64))
    for sides in (("python", "r"), ("r", "python")):
        found = compare_programs(*sides)
        assert found.first.wrong == "r"
        assert found.first.words == (f"r: {words}",)


def test_adamw_whose_decay_is_not_times_the_learning_rate(pair):
    right = Training(optimiser=lambda n: optim.AdamW(n.parameters(), 1e-3, weight_decay=0.1))
    for mistake, words in (
        ("l2", "weight decay added to the gradient (L2, as Adam does), not decoupled from it"),
        (
            "not times the rate",
            "weight decay decoupled from the gradient, and not times the learning rate",
        ),
        ("", "weight_decay = 0 where it is 0.1"),
    ):
        pair(right, Training(optimiser=by_hand(mistake, 0.1)))
        say("r", "adamw", "python")
        assert compare_programs("python", "r").first.words == (f"r: {words}",)


def test_a_right_adam_of_the_program_s_own_is_right(pair):
    """Its class is another one, and that is no mistake."""
    for dtype in (torch.float32, torch.float64):
        pair(Training(dtype=dtype), Training(optimiser=by_hand(), dtype=dtype))
        found = compare_programs("python", "r")
        assert found.agrees, found.lines


def test_two_that_are_one_number_in_the_first_step_are_told_apart_by_the_next(pair):
    for wrong, name in ((by_hand(lr=1e-4), "rate"), (by_hand("first moment"), "correction")):
        pair(Training(steps=1), Training(optimiser=wrong, steps=1))
        say("r", "adam", "python")
        (said,) = compare_programs("python", "r").first.words
        assert "lr = 0.0001 where it is 0.001" in said, name
        assert "no bias correction of the first moment" in said
        assert said.endswith(": step 2 would tell them apart")


# Other optimisers in Adam's place, and others --------------------------------------------------


def named(kind, said, **about):
    """One of PyTorch's optimisers whose trace says something else."""
    return lambda network: getattr(optim, kind)(network.parameters(), **about), said


OTHERS = {
    "SGD for Adam": (adam, *named("SGD", "adam", lr=1e-3), "optimiser sgd where it is adam"),
    "SGD with momentum for Adam": (
        adam, *named("SGD", "adam", lr=1e-3, momentum=0.9),
        "optimiser sgd (momentum 0.9) where it is adam",
    ),
    "SGD of another rate for Adam": (
        adam, *named("SGD", "adam", lr=0.05), "optimiser sgd (lr 0.05) where it is adam",
    ),
    "NAdam": (
        adam, *named("NAdam", "adam", lr=1e-3), "NAdam: the next step's momentum in the update",
    ),
    "RMSprop for Adam": (
        adam, *named("RMSprop", "adam", lr=1e-3), "optimiser rmsprop where it is adam",
    ),
    "amsgrad": (
        adam, *named("Adam", "adam", lr=1e-3, amsgrad=True),
        "amsgrad = true where it is false",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimiser(pair, name):
    right, wrong, kind, words = OTHERS[name]
    pair(Training(optimiser=right), Training(optimiser=wrong))
    say("r", kind, "python")
    assert compare_programs("python", "r").first.words == (f"r: {words}",)


def rule_of(kind, mistake):
    """SGD, RMSprop and Adagrad, written out, with a mistake."""

    def sgd(p, g, state, group, t):
        if mistake == "rate inside":
            state["momentum_buffer"].mul_(0.9).sub_(0.1 * g)
            p.add_(state["momentum_buffer"])
            return
        first = t == 1 and mistake != "dampened"
        before = state["momentum_buffer"].clone()
        buffer = state["momentum_buffer"].mul_(0.9)
        buffer.add_(g, alpha=0.1 if mistake == "average" else 1.0 if first else 0.5)
        buffer = before if mistake == "late" else buffer
        rate = 0.1 / t if mistake == "rate" else 0.1
        p.sub_(rate * (g + 0.9 * buffer if mistake == "nesterov" else buffer))

    def rmsprop(p, g, state, group, t):
        square = state["square_avg"]
        alpha = 0.9 if mistake == "alpha" else 0.99
        before = square.clone()
        square.mul_(alpha).add_(g.abs() if mistake == "power" else g * g, alpha=1 - alpha)
        size = before if mistake == "late" else square
        size = (size + 1e-3).sqrt() if mistake == "inside" else size.sqrt() + 1e-3
        size = square + 1e-3 if mistake == "root" else size
        p.sub_(0.01 * g / size)

    def adagrad(p, g, state, group, t):
        if t == 1 and mistake == "initial":
            state["sum"].add_(0.1)
        before = state["sum"].clone()
        state["sum"].add_(g.abs() if mistake == "power" else g * g)
        size = before if mistake == "late" else state["sum"]
        size = (size + 1e-3).sqrt() if mistake == "inside" else size.sqrt() + 1e-3
        size = state["sum"] + 1e-3 if mistake == "root" else size
        p.sub_(0.01 * g / size)

    rule = {"sgd": sgd, "rmsprop": rmsprop, "adagrad": adagrad}[kind]
    key = {"sgd": "momentum_buffer", "rmsprop": "square_avg", "adagrad": "sum"}[kind]
    return lambda network: ByHand(network.parameters(), rule, (key,))


def sgd(network, **about):
    return optim.SGD(network.parameters(), **{"lr": 0.1, "momentum": 0.9} | about)


def rmsprop(network):
    return optim.RMSprop(network.parameters(), lr=0.01, eps=1e-3)


def adagrad(network):
    return optim.Adagrad(network.parameters(), lr=0.01, eps=1e-3)


RULES = {
    ("sgd", "rate inside"): (
        sgd,
        "the learning rate is inside the momentum (Keras's way: velocity = momentum * velocity - "
        "lr * gradient)",
    ),
    ("sgd", "average"): (
        sgd, "the momentum is an average: (1 - momentum) times the new gradient",
    ),
    ("sgd", "dampened"): (
        lambda n: sgd(n, dampening=0.5), "the first gradient is dampened, too",
    ),
    ("sgd", "nesterov"): (lambda n: sgd(n, dampening=0.5), "Nesterov's momentum"),
    ("sgd", "late"): (
        lambda n: sgd(n, dampening=0.5), "the momentum buffer of the step before in the update",
    ),
    ("rmsprop", "root"): (rmsprop, "no square root of the average of squares"),
    ("rmsprop", "power"): (rmsprop, "the gradient is not squared in the average"),
    ("rmsprop", "late"): (rmsprop, "the average of squares of the step before in the update"),
    ("adagrad", "root"): (adagrad, "no square root of the sum of squares"),
    ("adagrad", "power"): (adagrad, "the gradient is not squared in the sum"),
    ("adagrad", "late"): (adagrad, "the sum of squares of the step before in the update"),
    ("rmsprop", "inside"): (rmsprop, "eps inside the square root (TensorFlow's way)"),
    ("rmsprop", "alpha"): (rmsprop, "alpha = 0.9 where it is 0.99"),
    ("adagrad", "inside"): (adagrad, "eps inside the square root"),
    ("adagrad", "initial"): (adagrad, "the sum of squares starts from 0.1 (Keras's way)"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "mistake"), RULES)
def test_a_mistake_of_other_optimisers(pair, kind, mistake):
    right, words = RULES[kind, mistake]
    pair(Training(optimiser=right), Training(optimiser=rule_of(kind, mistake)))
    say("r", kind, "python")
    assert compare_programs("python", "r").first.words == (f"r: {words}",)


def test_a_rate_that_falls_is_told_though_no_constant_can_be_told_of_small_biases(pair):
    """Of a bias of one or two numbers no factor is known: that of the weights holds."""
    falls = rule_of("sgd", "rate")
    about = {"network": lambda: nn.Sequential(nn.Linear(9, 2), nn.Tanh(), nn.Linear(2, 9))}
    about["dtype"] = torch.float64
    right = Training(optimiser=lambda n: sgd(n, dampening=0.5), **about)
    pair(right, Training(optimiser=falls, **about))
    say("r", "sgd", "python")
    assert compare_programs("python", "r").first.words == ("r: lr = 0.05 where it is 0.1",)


# The state -------------------------------------------------------------------------------------


def anew(network, optimiser, step):
    if step == 2:
        optimiser.state.clear()


def count_anew(network, optimiser, step):
    if step == 2:
        for state in optimiser.state.values():
            state["step"].zero_()


def moments_anew(network, optimiser, step):
    if step == 2:
        for state in optimiser.state.values():
            state["exp_avg"].zero_()
            state["exp_avg_sq"].zero_()


def exchanged(network, optimiser, step):
    if step == 2:
        one, two = network.encoder[2], network.decoder[0]
        for first, second in ((one.weight, two.weight), (one.bias, two.bias)):
            optimiser.state[first], optimiser.state[second] = (
                optimiser.state[second], optimiser.state[first],
            )  # fmt: skip


STATES = {
    "anew": (
        anew, "r: the optimiser's state begins anew at this step (a resume without it?)",
    ),
    "the count": (
        count_anew,
        "r: the count of steps begins anew at this step (bias correction as in step 1), the "
        "moments go on",
    ),
    "the moments": (
        moments_anew,
        "r: the moments begin anew at this step, the count of steps goes on",
    ),
    "exchanged": (
        exchanged,
        "r: decoder.0.weight goes on from the state of encoder.2.weight: the states are "
        "exchanged, or in another order, of encoder.2.*, decoder.0.* alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_not_what_the_step_before_left(pair, name):
    wrong, words = STATES[name]
    found = compare_programs(*pair(Training(), Training(after=wrong)))
    assert found.first.place.startswith("step 3, optimizer (adam), update of ")
    assert found.first.words == (words,)


def test_a_resume_without_the_optimiser_s_state(pair):
    """In the first step that was recorded: the step before is not known."""

    def start_anew(network, optimiser, step):
        if step == 2:
            optimiser.state.clear()

    right = Training(resumed=3)
    found = compare_programs(*pair(right, Training(resumed=3, after=start_anew)))
    assert found.first.words == (
        "r's optimiser starts without a state where python's goes on from one: a resume without "
        "the optimiser's state",
    )
    assert compare_programs("python", "python").agrees


def test_what_is_no_known_mistake_has_no_name(pair):
    """Updates that are moved by noise of all sizes."""
    generator = torch.Generator().manual_seed(1)

    def noisy(size):
        def after(network, optimiser, step):
            pass

        def rule(p, g, state, group, t):
            m = state["exp_avg"].mul_(0.9).add_(g, alpha=0.1)
            v = state["exp_avg_sq"].mul_(0.999).add_(g * g, alpha=0.001)
            update = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.sub_(1e-3 * update * (1 + size * noise))

        return lambda network: ByHand(
            network.parameters(), rule, ("exp_avg", "exp_avg_sq"), lr=1e-3
        )  # fmt: skip

    Training(dtype=torch.float64).record("python")
    for exponent in (-6, -3, -1):
        Training(optimiser=noisy(10.0**exponent), dtype=torch.float64).record("r")
        say("r", "adam", "python")
        found = compare_programs("python", "r")
        assert found.first.wrong == "r"
        assert all("r: " not in word for word in found.first.words), found.first.words
