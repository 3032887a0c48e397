"""Mistakes in updates, in what goes in, and in noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_

from mistakes.beforehand.layers import classified, images
from mistakes.beforehand.losses import perceptron
from mistakes.beforehand.mistake import Script, beforehand

__all__ = ["UPDATES"]

RATE, DECAY = 0.001, 0.01


@beforehand(
    name="a decoupled weight decay that is not times the learning rate",
    sentence="port multiplies parameters by 0.99 before the update where it is 0.99999: a weight "
    "decay of 0.01 that is not times the learning rate",
    place=r"step 1, .*(update of|between backward|parameter)",
    named=(
        r"decay|multipl|times|factor|shrink",
        r"0\.99\b|0\.01\b|learning rate|\blr\b",
    ),
    in_part=(r"decay|0\.99|changes",),
)
def decoupled_decay(wrong):
    def decay(model, optimiser, step):
        with torch.no_grad():
            for one in model.parameters():
                one.mul_(1 - DECAY * (1 if wrong else RATE))

    return Script(
        perceptron(4), images((12,)), classified, lambda p: torch.optim.Adam(p, RATE),
        between=decay,
    )  # fmt: skip


class SGD(torch.optim.SGD):
    """A user's own, which keeps the velocity as Caffe does: the learning rate is in it."""

    def step(self, closure=None):
        with torch.no_grad():
            for group in self.param_groups:
                for one in group["params"]:
                    state = self.state[one]
                    step = group["lr"] * one.grad
                    velocity = state.get("momentum_buffer")
                    velocity = step if velocity is None else group["momentum"] * velocity + step
                    state["momentum_buffer"] = velocity
                    one.sub_(velocity)


@beforehand(
    name="SGD with the learning rate inside the velocity",
    sentence="port: the learning rate is inside the velocity: momentum_buffer is times 0.05",
    place=r"step 1, .*\(momentum_buffer\)",
    named=(r"learning rate|\blr\b", r"velocity|buffer|moment|inside|times"),
    in_part=(r"0\.05\b|1/20|times 20",),
)
def rate_inside(wrong):
    def optimiser(parameters):
        kind = SGD if wrong else torch.optim.SGD
        return kind(parameters, lr=0.05, momentum=0.9)

    return Script(perceptron(4), images((12,)), classified, optimiser)


@beforehand(
    name="a warm-up that begins at 0",
    sentence="port: lr = 0 where it is 0.025: the warm-up begins one step late",
    place=r"step 1, .*update of",
    named=(r"lr = 0\b(?!\.)|warm|learning rate (is )?0\b(?!\.)",),
    in_part=(r"\blr\b|learning rate",),
)
def warm_up(wrong):
    schedules = []

    def optimiser(parameters):
        adam = torch.optim.RAdam(parameters, lr=0.1)
        late = 0 if wrong else 1
        schedules.append(
            torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1, (step + late) / 4))
        )
        return adam

    def after(model, optimiser, step):
        schedules[0].step()

    return Script(perceptron(4), images((12,)), classified, optimiser, after=after)


@beforehand(
    name="each gradient is clipped to a norm of its own",
    sentence="port clips each parameter's gradient to norm 0.1, not all of them together",
    place=r"step 1, .*gradient that the optimiser gets",
    named=(r"norm", r"\beach|\bown\b|\bper\b|\bevery|separate|one by one"),
    in_part=(r"multipl|scale|clip",),
)
def clipping(wrong):
    def clip(model, optimiser, step):
        if not wrong:
            clip_grad_norm_(model.parameters(), 0.1)
            return
        for one in model.parameters():
            clip_grad_norm_(one, 0.1)

    return Script(
        perceptron(4), images((12,)), classified, lambda p: torch.optim.Adagrad(p, 0.1),
        between=clip,
    )  # fmt: skip


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(45, 4)
    )


@beforehand(
    name="blue, green and red",
    sentence="port: the channels in reverse order: BGR where it is RGB",
    place=r"step 1, input \(input\), input",
    named=(r"channel|BGR", r"revers|BGR|exchang|order|flip"),
    in_part=(r"revers|axis 1|another order|flip",),
)
def channels(wrong):
    def batch(drawn):
        x, y = images()(drawn)
        pixels = x.numpy().copy()
        return torch.from_numpy(pixels[:, ::-1].copy() if wrong else pixels), y

    return Script(small_network(), batch, classified)


@beforehand(
    name="images that went through bfloat16",
    sentence="port: rounded to bfloat16",
    place=r"step 1, input \(input\), input",
    named=(r"bfloat16",),
    in_part=(r"round",),
)
def half_precision(wrong):
    def batch(drawn):
        x, y = images()(drawn)
        through = torch.bfloat16 if wrong else x.dtype
        return torch.from_numpy(x.to(through).to(x.dtype).numpy().copy()), y

    return Script(small_network(), batch, classified)


@beforehand(
    name="one row of noise for all images",
    sentence="port draws one row of noise, (1, 5), for all rows of the batch",
    place=r"step 1, (randn|.*draw)",
    named=(r"shared|one row|every row|same .*(row|noise)|repeat|broadcast|all rows|once",),
    in_part=(r"\(1, 5\)",),
)
def shared_noise(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(12, 5), nn.Linear(5, 12)

        def forward(self, x):
            mean = self.encode(x)
            noise = torch.randn(1 if wrong else len(x), 5)
            return self.decode(torch.tanh(mean + 0.3 * noise))

    return Script(Net(), images((12,)), lambda model, x, y: F.mse_loss(model(x), x))


UPDATES = (
    decoupled_decay, rate_inside, warm_up, clipping, channels, half_precision, shared_noise,
)  # fmt: skip
