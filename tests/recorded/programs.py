"""Programs as users write them, for the recorder: a model, its optimisers, and a training step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim


@dataclass
class Program:
    """A model that is trained: `step` is one round of its loop, and returns the loss."""

    model: nn.Module | dict[str, nn.Module]
    optimisers: list[optim.Optimizer]
    step: Callable[[], Tensor]

    @property
    def optimizer(self):
        return self.optimisers[0] if len(self.optimisers) == 1 else self.optimisers

    @property
    def network(self) -> nn.Module:
        return nn.ModuleDict(self.model) if isinstance(self.model, dict) else self.model

    def train(self, steps: int) -> list[float]:
        return [self.step().item() for _ in range(steps)]

    def bits(self) -> str:
        """SHA-256 of parameters, buffers, the optimisers' states and the generator's."""
        found = hashlib.sha256()
        for value in self.network.state_dict().values():
            found.update(value.numpy().tobytes())
        for optimiser in self.optimisers:
            for state in optimiser.state.values():
                for value in state.values():
                    found.update(str(value).encode() if not isinstance(value, Tensor) else b"")
                    if isinstance(value, Tensor):
                        found.update(value.numpy().tobytes())
        found.update(torch.get_rng_state().numpy().tobytes())
        return found.hexdigest()


def simple(model: nn.Module, optimiser: optim.Optimizer, loss: Callable[[], Tensor]) -> Program:
    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return value.detach()

    return Program(model, [optimiser], step)


def mlp(seed: int = 0) -> Program:
    """The smallest: two layers and a function between them."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x, y = torch.randn(7, 3), torch.randn(7, 1)
    return simple(model, optim.SGD(model.parameters(), 0.1), lambda: F.mse_loss(model(x), y))


def cnn() -> Program:
    """Batch norm, dropout of both kinds, in-place ReLU, SGD with momentum, a schedule, clipping."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Dropout2d(0.2),
        ),
        nn.Flatten(), nn.Linear(4 * 4 * 4, 8), nn.LeakyReLU(0.1), nn.Dropout(0.5), nn.Linear(8, 5),
    )  # fmt: skip
    optimiser = optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    schedule = optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.5)
    criterion = nn.CrossEntropyLoss()

    def step() -> Tensor:
        x, y = torch.randn(6, 1, 8, 8), torch.randint(0, 5, (6,))
        optimiser.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.step()
        schedule.step()
        return loss.detach()

    return Program(model, [optimiser], step)


class _Text(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6, padding_idx=0)
        self.rnn = kind(6, 5, 2, batch_first=True, dropout=0.3, bidirectional=True)
        self.norm = nn.LayerNorm(10)
        self.out = nn.Linear(10, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        values, _ = self.rnn(self.embed(tokens))
        return self.out(self.norm(values[:, -1]))


def text(kind: type[nn.RNNBase]) -> Program:
    torch.manual_seed(2)
    model = _Text(kind)
    optimiser = optim.AdamW(model.parameters(), 1e-2)

    def loss() -> Tensor:
        tokens, target = torch.randint(0, 20, (4, 7)), torch.randint(0, 3, (4,))
        return F.cross_entropy(model(tokens), target)

    return simple(model, optimiser, loss)


def lstm() -> Program:
    return text(nn.LSTM)


def gru() -> Program:
    return text(nn.GRU)


class _Transformer(nn.Module):
    """An encoder layer of PyTorch's, attention written out, and weights that are shared."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.1, "gelu", batch_first=True)
        self.attend = nn.Linear(8, 24)
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.encoder(self.embed(tokens) + self.position)
        q, k, v = self.attend(x).chunk(3, dim=-1)
        scores = torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1)
        return self.out(F.gelu(x + scores @ v).mean(1))


def transformer() -> Program:
    torch.manual_seed(3)
    model = _Transformer()
    rest = [one for name, one in model.named_parameters() if name != "position"]
    groups = [{"params": [model.position], "weight_decay": 0.0}, {"params": rest}]
    optimiser = optim.Adam(groups, 1e-2, weight_decay=0.1, amsgrad=True)

    def loss() -> Tensor:
        tokens, target = torch.randint(0, 11, (3, 5)), torch.randint(0, 11, (3,))
        return F.cross_entropy(model(tokens), target, label_smoothing=0.1)

    return simple(model, optimiser, loss)


class Vae(nn.Module):
    """Nearly all of it in functions."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.mu, self.log_var = nn.Linear(9, 6), nn.Linear(6, 2), nn.Linear(6, 2)
        self.fc2 = nn.Linear(2, 9)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.fc1(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return {"x": torch.sigmoid(self.fc2(z)), "mu": mu, "log_var": log_var}


def vae() -> Program:
    torch.manual_seed(4)
    model = Vae()
    images = torch.rand(5, 9).numpy()

    def loss() -> Tensor:
        x = torch.from_numpy(images)
        out = model(x)
        kl = -0.5 * torch.sum(1 + out["log_var"] - out["mu"] ** 2 - out["log_var"].exp())
        return F.binary_cross_entropy(out["x"], x, reduction="sum") + kl

    return simple(model, optim.RMSprop(model.parameters(), 1e-2, centered=True), loss)


def gan() -> Program:
    """As PyTorch's DCGAN example: the generated images serve both steps."""
    torch.manual_seed(5)
    generator = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    discriminator = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))
    adams = [optim.Adam(one.parameters(), 1e-2) for one in (discriminator, generator)]
    criterion = nn.BCEWithLogitsLoss()
    real, ones, zeros = torch.randn(6, 3), torch.ones(6, 1), torch.zeros(6, 1)

    def step() -> Tensor:
        fake = generator(torch.randn(6, 2))
        adams[0].zero_grad()
        criterion(discriminator(real), ones).backward()
        criterion(discriminator(fake.detach()), zeros).backward()
        adams[0].step()
        adams[1].zero_grad()
        loss = criterion(discriminator(fake), ones)
        loss.backward()
        adams[1].step()
        return loss.detach()

    return Program({"g": generator, "d": discriminator}, adams, step)


def accumulation() -> Program:
    """Three batches an update, a frozen layer, and a layer that is called twice."""
    torch.manual_seed(6)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    first.weight.requires_grad_(False)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.second(self.first(x).relu_())
            return h, self.second(h)

    model = Net()
    optimiser = optim.Adagrad([p for p in model.parameters() if p.requires_grad], 0.1)

    def step() -> Tensor:
        optimiser.zero_grad()
        total = torch.zeros(())
        for _ in range(3):
            a, b = model(torch.randn(4, 3))
            loss = (a - b).pow(2).mean() / 3
            loss.backward()
            total += loss.detach()
        optimiser.step()
        return total

    return Program(model, [optimiser], step)


def closure() -> Program:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = optim.LBFGS(model.parameters(), 0.1, max_iter=3)
    x, y = torch.randn(7, 3), torch.randn(7, 1)

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    return Program(model, [optimiser], lambda: optimiser.step(evaluate).detach())


PROGRAMS = {
    one.__name__: one for one in (mlp, cnn, lstm, gru, transformer, vae, gan, accumulation, closure)
}
