"""What is to be done again of one write-up, and what the measuring is done with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.metrics.digit_classifier import DigitClassifier
from pyvae.model.recipe import VAE
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe
from pyvae.runs.keep import read_test_history
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace

__all__ = [
    "Article",
    "Claim",
    "Drawing",
    "Measured",
    "Planned",
    "Posterior",
    "epochs_of",
    "is_cut",
]


FIRST_SEED = 1


@dataclass(frozen=True)
class Planned:
    """A run of a write-up, for some seeds.

    Attributes:
        key: What it is called within the article.
        recipe: The recipe's whole name.
        changes: Of the recipe's published settings.
        seeds: How many, where nothing else is asked for.
        first_seed: The first of them.
        quick: What a quick look runs instead: `epochs` or `steps`.
        test: Whether the loss on the test set is computed after every epoch.
        checkpoint_every: Epochs after which the parameters are written down; 0 for never.
    """

    key: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    first_seed: int = FIRST_SEED
    quick: Mapping[str, int] = field(default_factory=dict)
    test: bool = False
    checkpoint_every: int = 0

    def settings(self, seed: int, quick: bool, epochs: int | None) -> Settings:
        """The settings for one seed."""
        changes = {**self.changes, "seed": seed, "dtype": "float32"}
        if quick:
            changes |= self.quick
        if epochs is not None:
            changes["epochs"] = epochs
        return get_recipe(self.recipe).settings(**changes)

    def folder(self, settings: Settings) -> str:
        """The name of the folder of one run."""
        objectives = get_recipe(self.recipe).objectives
        objective = f"-{settings.objective}" if len(objectives) > 1 else ""
        return f"{self.recipe}{objective}-z{settings.latent_dim}-seed{settings.seed}"


class Drawing(NamedTuple):
    """One figure: its file's name, what it shows, and how it is drawn."""

    file: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Claim:
    """Something that a write-up says, beside what was measured.

    Attributes:
        claim: What it says.
        published: The number that it prints, or what it says in words.
        values: Measured, one for each seed.
        unit: Of the values.
        holds: Whether a value bears the claim out; None where there is nothing to hold it against.
        keys: The runs that it is about; none for all of the article.
    """

    claim: str
    published: str
    values: Sequence[float]
    unit: str = ""
    holds: Callable[[float], bool] | None = None
    keys: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`reproduced`, `not reproduced`, `in N of M seeds`, or `measured`."""
        if self.holds is None:
            return "measured"
        held = sum(bool(self.holds(value)) for value in self.values)
        if held in (0, len(self.values)):
            return "reproduced" if held else "not reproduced"
        return f"in {held} of {len(self.values)} seeds"

    def row(self, article: str) -> dict[str, Any]:
        """Its line in published.csv."""
        return {
            "article": article,
            "claim": self.claim,
            "published": self.published,
            "median": median(self.values),
            "least": min(self.values),
            "greatest": max(self.values),
            "unit": self.unit,
            "seeds": len(self.values),
            "verdict": self.verdict,
        }


def epochs_of(trace: Trace) -> float:
    """How many epochs a run went through."""
    return trace.steps / trace.settings.steps_per_epoch(int(trace.data["images"]))


def is_cut(trace: Trace) -> bool:
    """Whether that is less than was published."""
    return epochs_of(trace) < get_recipe(trace.recipe).epochs


class Posterior(NamedTuple):
    """q(z|x) of N images, as float32 tensors on the CPU."""

    mu: Tensor  # (N, L)
    log_var: Tensor  # (N, L)


class Measured:
    """The trained runs of an article, and what its figures and claims are computed from.

    Arguments:
        runs: The traces of each planned run, by its key, one for each seed.
        folders: Where they are.
        train, test: The data.
        quick: Whether it is a quick look.
        note: What has to be said on every figure.
        classifier: Shared between articles; made when it is first needed.
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[Trace]],
        folders: Mapping[str, Sequence[Path]],
        train: ImageData,
        test: ImageData,
        quick: bool,
        note: str,
        classifier: Callable[[], DigitClassifier],
    ) -> None:
        self.runs = runs
        self.folders = folders
        self.train = train
        self.test = test
        self.quick = quick
        self.note = note
        self._classifier = classifier
        self._networks: dict[tuple[str, int], VAE] = {}
        self.tables: dict[str, pd.DataFrame] = {}  # what was measured already, by name

    @cached_property
    def classifier(self) -> DigitClassifier:
        return self._classifier()

    def note_of(self, key: str) -> str:
        """What has to be said on a figure of one run."""
        trace = self.runs[key][0]
        if not is_cut(trace):
            return ""
        how = "quick look" if self.quick else "cut"
        return f"{how}: {epochs_of(trace):.2g} of {get_recipe(trace.recipe).epochs} epochs"

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
            raise UserError(f"{self.test.name} has no labels", expected="images with labels")
        return self.test.labels

    def network(self, key: str, index: int = 0) -> VAE:
        """The trained network of a run, in evaluation mode."""
        if (key, index) not in self._networks:
            self._networks[key, index] = load_network(self.runs[key][index])
        return self._networks[key, index].eval()

    def test_history(self, key: str, index: int = 0) -> pd.DataFrame:
        return read_test_history(self.folders[key][index])

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


@dataclass(frozen=True)
class Article:
    """One write-up.

    Attributes:
        name: As on the command line: the recipe's name.
        title: What it is, in a line.
        planned: Its runs.
        drawings: Its figures, in its order.
        claims: What it says, as numbers.
        tables: Further tables, by file name.
    """

    name: str
    title: str
    planned: tuple[Planned, ...]
    drawings: Callable[[Measured], Iterable[Drawing]]
    claims: Callable[[Measured], Iterable[Claim]]
    tables: Callable[[Measured], Mapping[str, pd.DataFrame]] = lambda measured: {}
