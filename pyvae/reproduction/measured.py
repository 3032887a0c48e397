"""The trained runs of a write-up, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.metrics.digit_classifier import DigitClassifier
from pyvae.model.recipe import VAE
from pyvae.recipes import get_recipe
from pyvae.reproduction.planned import PlannedRun, Split
from pyvae.runs.callbacks.held_out_history import read_test_history
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace

__all__ = ["Measured", "Posterior", "cut_note", "is_cut", "trained_epochs"]


def trained_epochs(trace: Trace) -> float:
    """The number of epochs that a run was trained for."""
    return trace.steps / trace.settings.steps_per_epoch(int(trace.data["images"]))


def is_cut(trace: Trace) -> bool:
    """Whether a run was trained for fewer epochs than the published one."""
    return trained_epochs(trace) < get_recipe(trace.recipe).epochs


def cut_note(runs: Mapping[str, Sequence[Trace]], quick: bool) -> str:
    """Which runs of an article were cut short, in words; empty if none was.

    Arguments:
        runs: The traces of each planned run, by its key, one for each seed.
        quick: Whether `--quick` is why.
    """
    parts: list[str] = []
    for key, traces in runs.items():
        if is_cut(traces[0]):
            words = _epochs(traces[0])
            parts.append(words if len(runs) == 1 else f"{key} {words}")
    alike = {part.partition(" ")[2] for part in parts}
    if len(parts) == len(runs) > 1 and len(alike) == 1:
        parts = [alike.pop()]
    return ("quick look: " if quick else "cut: ") + ", ".join(parts) if parts else ""


def _epochs(trace: Trace) -> str:
    return f"{trained_epochs(trace):.2g} of {get_recipe(trace.recipe).epochs} epochs"


class Posterior(NamedTuple):
    """q(z|x) of N images, as float32 tensors on the CPU."""

    mu: Tensor  # (N, L)
    log_var: Tensor  # (N, L)


class Measured:
    """The trained runs of an article, and what its figures and claims are computed from.

    Arguments:
        runs: The traces of each planned run, by its key, one for each seed.
        planned: The planned runs with their folders, in the same order.
        split: The images that were trained on, and those to test with.
        quick: Whether it is a quick look.
        classifier: Makes the classifier of digits, which articles share, on the first call.

    Attributes:
        note: Which runs were cut short, to be shown on every figure; empty if none was.
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[Trace]],
        planned: Mapping[str, Sequence[PlannedRun]],
        split: Split,
        quick: bool,
        classifier: Callable[[], DigitClassifier],
    ) -> None:
        self.runs = runs
        self.planned = planned
        self.train, self.test = split
        self.quick = quick
        self.note = cut_note(runs, quick)
        self._classifier = classifier
        self._networks: dict[tuple[str, int], VAE] = {}
        self.tables: dict[str, pd.DataFrame] = {}  # measured before, by name

    @cached_property
    def classifier(self) -> DigitClassifier:
        return self._classifier()

    def run_note(self, key: str) -> str:
        """How far a run was cut short, to be shown on its own figures; empty if it was not."""
        return cut_note({key: self.runs[key]}, self.quick)

    @property
    def images(self) -> Tensor:
        """The test images, (N, F), float32, pixels in [0, 1]."""
        return self.test.batch(np.arange(len(self.test)), torch.float32)

    @property
    def labels(self) -> Tensor:
        """The test images' digits, (N,).

        Raises:
            UserError: If the data has none.
        """
        if self.test.labels is None:
            raise UserError(f"{self.test.name} has no labels", "use images with labels")
        return self.test.labels

    def network(self, key: str, index: int = 0) -> VAE:
        """The trained network of a run, in evaluation mode."""
        if (key, index) not in self._networks:
            self._networks[key, index] = load_network(self.runs[key][index])
        return self._networks[key, index].eval()

    def test_history(self, key: str, index: int = 0) -> pd.DataFrame:
        """The losses on the test images after every epoch of a run."""
        return read_test_history(self.planned[key][index].folder)

    @torch.no_grad()
    def posterior(
        self, key: str, index: int = 0, images: Tensor | None = None, training: bool = False
    ) -> Posterior:
        """q(z|x) of the test images; in training mode dropout is on, its masks from a seed."""
        network = self.network(key, index).train(training)
        x = self.images if images is None else images
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            parts = [network.posterior(part) for part in x.split(500)]
        network.eval()
        return Posterior(*(torch.cat(both) for both in zip(*parts, strict=True)))

    @torch.no_grad()
    def decode(self, key: str, z: Tensor | NDArray, index: int = 0) -> Tensor:
        """Pixels of latents, (N, F)."""
        network = self.network(key, index)
        z = torch.as_tensor(z, dtype=torch.float32)
        return torch.cat([network.decode(part) for part in z.split(500)])

    @torch.no_grad()
    def generated(self, key: str, number: int, index: int = 0, seed: int = 1) -> Tensor:
        """Images from the prior, (N, F)."""
        size = self.runs[key][index].settings.latent_dim
        noise = torch.randn((number, size), generator=torch.Generator().manual_seed(seed))
        return self.decode(key, self.network(key, index).from_prior(noise), index)

    def latents(self, key: str, index: int = 0, seed: int = 1) -> Tensor:
        """A sample z of the posterior of every test image, (N, L)."""
        mu, log_var = self.posterior(key, index)
        noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(seed))
        return mu + torch.exp(0.5 * log_var) * noise

    def seeds(self, key: str) -> range:
        """The indices of a run's seeds."""
        return range(len(self.runs[key]))
