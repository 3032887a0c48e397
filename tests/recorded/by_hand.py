"""Programs in which a layer's parameters are used by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace


class Images(nn.Module):
    """Its convolution, and the norm after it, are given."""

    def __init__(self, conv, norm) -> None:
        super().__init__()
        self.conv, self.norm, self.out = conv, norm, nn.Linear(64, 4)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.conv(x))).flatten(1))


class Written(nn.Module):
    """A layer's parameters, and what is computed with them by hand."""

    def __init__(self, layer, compute) -> None:
        super().__init__()
        for name, one in layer.named_parameters():
            self.register_parameter(name, one)
        for name, one in layer.named_buffers():
            self.register_buffer(name, one)
        self.compute = compute

    def forward(self, x):
        return self.compute(x, self)


def conv():
    return nn.Conv2d(2, 4, 3, stride=2, padding=1)


def batch_norm():
    return nn.BatchNorm2d(4)


def of_images(folder, conv=conv, norm=batch_norm):
    torch.manual_seed(1)
    network = Images(conv(), norm()).double()
    torch.manual_seed(2)
    batches = [(torch.randn(6, 2, 8, 8).double(), torch.randint(0, 4, (6,))) for _ in range(2)]
    return record_steps(folder, network, batches, F.cross_entropy)


def record_steps(folder, network, batches, loss):
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, steps=len(batches)):
        for x, y in batches:
            optimiser.zero_grad()
            loss(network(x), y).backward()
            optimiser.step()
    return ProgramTrace.load(folder)
