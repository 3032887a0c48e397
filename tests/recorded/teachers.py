"""A network that learns from a teacher, which follows it in one way or another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyvae.recording.record import record


class Net(nn.Module):
    """An embedding, a norm with buffers, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.fc, self.norm, self.out = nn.Linear(10, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return self.out(F.relu(self.norm(self.fc(torch.cat([x, self.embed(k)], 1)))))


class Renamed(nn.Module):
    """The same under other names."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.first, self.bn = copy.deepcopy(net.fc), copy.deepcopy(net.norm)
        self.last, self.words = copy.deepcopy(net.out), copy.deepcopy(net.embed)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return self.last(F.relu(self.bn(self.first(torch.cat([x, self.words(k)], 1)))))


class Wrapped(nn.Module):
    def __init__(self, net: Net) -> None:
        super().__init__()
        self.module = copy.deepcopy(net)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return self.module(x, k)


@dataclass(frozen=True)
class Average:
    """A teacher's parameters are a moving average of the network's.

    Attributes:
        decay: What is kept of the teacher's; a function of the step, where it changes.
        form: How it is written.
        left_out: Parameters that it forgets.
        buffers: Whether they are copied (`copy`), averaged, or left.
    """

    decay: float | Callable[[int], float] = 0.99
    form: str = "lerp"
    left_out: tuple[str, ...] = ()
    buffers: str = "copy"

    @torch.no_grad()
    def __call__(self, teacher: nn.Module, net: nn.Module, step: int) -> None:
        keep = self.decay(step) if callable(self.decay) else self.decay
        followed = dict([*net.named_parameters(), *net.named_buffers()])
        if isinstance(teacher, Renamed):
            names = {"first": "fc", "bn": "norm", "last": "out", "words": "embed"}
        else:
            names = {}
        for name, own in (*teacher.named_parameters(), *teacher.named_buffers()):
            first, _, rest = name.removeprefix("module.").partition(".")
            theirs = f"{names.get(first, first)}.{rest}"
            value = followed[theirs]
            is_buffer = not isinstance(own, nn.Parameter)
            if value is own or theirs in self.left_out or (is_buffer and self.buffers == "leave"):
                continue
            if is_buffer and (self.buffers == "copy" or own.dtype is torch.int64):
                own.copy_(value)
            elif self.form == "lerp":
                own.lerp_(value, 1 - keep)
            elif self.form == "data":
                own.data.mul_(keep).add_(value.data, alpha=1 - keep)
            else:
                own.copy_(keep * own + (1 - keep) * value)


def copied(every: int, anew: bool = False) -> Callable[..., nn.Module | None]:
    """A target network that is the network's copy after every so many steps."""

    def follow(teacher: nn.Module, net: nn.Module, step: int) -> nn.Module | None:
        if step % every:
            return None
        if anew:
            return copy.deepcopy(net)
        teacher.load_state_dict(net.state_dict())
        return None

    return follow


def without_gradients(teacher: nn.Module, x: Tensor, k: Tensor) -> Tensor:
    with torch.no_grad():
        return teacher(x, k)


def detached(teacher: nn.Module, x: Tensor, k: Tensor) -> Tensor:
    return teacher(x, k).detach()


@dataclass
class Learning:
    """A program.

    Attributes:
        make: Makes the teacher of the network.
        follow: Moves the teacher; may return a new one.
        when: `after` the optimiser's step, `before` it, or at the `top` of the loop.
        call: What the teacher is asked.
        since: The step in which it is called first.
        inside: Whether the teacher is recorded as a part of the model.
        shared: Whether the teacher has the network's embedding, which is frozen then.
        training: Whether the teacher is in training mode.
        rounding: Of what goes into the network.
        look: Called with the teacher after the optimiser's step.
    """

    make: Callable[[Net], nn.Module] = copy.deepcopy
    follow: Callable[..., nn.Module | None] = Average()
    when: str = "after"
    call: Callable[[nn.Module, Tensor, Tensor], Tensor] = without_gradients
    since: int = 1
    inside: bool = False
    shared: bool = False
    frozen: bool = False
    training: bool = False
    rounding: float = 0.0
    optimiser: str = "Adam"
    lr: float = 1e-3
    steps: int = 4
    dtype: torch.dtype = torch.float32
    look: Callable[[nn.Module, Tensor, Tensor], Any] = lambda teacher, x, k: None

    def record(self, folder: str) -> str:
        torch.manual_seed(1)
        net = Net().to(self.dtype)
        net.embed.weight.requires_grad_(not (self.shared or self.frozen))
        teacher = self.make(net)
        if self.shared:
            teacher.embed = net.embed
        trained = [one for one in net.parameters() if one.requires_grad]
        optimiser = getattr(torch.optim, self.optimiser)(trained, self.lr)
        model = {"net": net, "teacher": teacher} if self.inside else net
        with record(model, optimiser, folder, steps=self.steps, overwrite=True, quiet=True):
            for step in range(1, self.steps + 1):
                teacher.train(self.training)
                x, k = torch.randn(20, 6, dtype=self.dtype), torch.randint(0, 7, (20,))
                if self.when == "top":
                    self.follow(teacher, net, step)
                y = self.call(teacher, x, k) if step >= self.since else x[:, :3]
                optimiser.zero_grad()
                F.mse_loss(net(x * (1 + self.rounding), k), y).backward()
                if self.when == "before":
                    self.follow(teacher, net, step)
                optimiser.step()
                self.look(teacher, x, k)
                if self.when == "after":
                    teacher = self.follow(teacher, net, step) or teacher
        return folder
