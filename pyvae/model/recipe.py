"""What a recipe is: one published write-up's network, draws and settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError, choose
from pyvae.model.derive.stages import derive_stages
from pyvae.model.draws import Draw
from pyvae.model.hyperparameters import Hyper, settle_hyper
from pyvae.model.modules import Reparameterise
from pyvae.model.objectives import OBJECTIVES, Objective, add_objective
from pyvae.model.settings import Settings
from pyvae.model.stages import Quantity, Stage, quantities

if TYPE_CHECKING:
    from pyvae.data.images import ImageData

__all__ = ["VAE", "GaussianVAE", "Given", "Recipe", "RecipeFile", "VAEOutput"]

_Hyper = tuple[tuple[str, float], ...]  # hyperparameters by name, sorted: a key of what is kept

SIZES = (5, 7)  # of the batches that stages are derived from


class VAEOutput(NamedTuple):
    """What a network returns for a batch of B images and L latent dimensions."""

    pixels: Tensor  # (B, 784), probabilities in [0, 1]
    mu: Tensor  # (B, L), posterior means
    log_var: Tensor  # (B, L), logarithms of the posterior variances


class VAE(nn.Module):
    """What every recipe's network has.

    Attributes:
        encoder: Maps (x, draws) to mu and log_var.
        decoder: Maps (z, draws), z (B, L), to pixels (B, 784) in [0, 1].
    """

    encoder: nn.Module
    decoder: nn.Module

    def posterior(
        self, x: Tensor, draws: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The posterior's means and log-variances, (B, L) each."""
        return self.encoder(x, draws)

    def decode(self, z: Tensor, draws: Mapping[str, Tensor] | None = None) -> Tensor:
        """Pixels (B, 784) in [0, 1] of latents (B, L)."""
        return self.decoder(z, draws)

    def from_prior(self, noise: Tensor) -> Tensor:
        """Latents (B, L) of the prior from standard normal noise (B, L): for N(0, I) the noise."""
        return noise


class GaussianVAE(VAE):
    """An encoder, a reparameterised sample of its posterior, a decoder.

    Shapes:
        x: (B, 784), pixels in [0, 1].
        draws: `noise` (B, L), and the masks of encoder and decoder, by name. What is absent is
            drawn natively.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.reparameterise = Reparameterise()
        self.decoder = decoder

    def forward(self, x: Tensor, draws: Mapping[str, Tensor] | None = None) -> VAEOutput:
        mu, log_var = self.encoder(x, draws)
        z = self.reparameterise(mu, log_var, (draws or {}).get("noise"))  # (B, L)
        return VAEOutput(self.decoder(z, draws), mu, log_var)


@dataclass(frozen=True)
class Given:
    """What every step is given besides its batch, such as images with labels; goes with the draws.

    Attributes:
        shapes: The shape of one row of each, by name, for the recipe's hyperparameters.
        read: Takes it from the data, for the settings of a run.
    """

    shapes: Callable[..., Mapping[str, tuple[int, ...]]]
    read: Callable[[ImageData, Settings], dict[str, NDArray]]

    def __call__(self, data: ImageData, settings: Settings) -> dict[str, NDArray]:
        return self.read(data, settings)


class RecipeFile(NamedTuple):
    """Where a recipe of the user's own comes from.

    Attributes:
        path: The file's absolute path.
        name: The recipe's name in it.
        sha256: The checksum of the file.
    """

    path: str
    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


@dataclass(frozen=True)
class Recipe:
    """One published write-up, or a network of the user's own.

    Attributes:
        name: The name on the command line.
        title: What it is, in a line.
        source: Where it was published.
        network: Builds the network for a number of latent dimensions and the recipe's
            hyperparameters by name; parameters are created in the article's order.
            `network(L)(x, draws)` gives what the objective takes, a `VAEOutput` or more.
        draws: What chance brings to one image, for the same arguments.
        objectives: The objectives it was published with; the first is the default.
        epochs, batch_size, latent_dim, learning_rate: Its settings.
        further: Objectives that it can be trained with, too.
        hyper: Settings that it alone has.
        features: Numbers in one input: 784 pixels, or 2 coordinates of a point.
        given: What every step is given besides its batch.
        shape: The shape of an image, (channels, height, width), if it is not (1, 28, 28): the
            network takes and returns its numbers in this order, in one row.
        own_objectives: Those of its objectives that pyvae does not have.
        optimizer: Makes the optimiser of the parameters with a learning rate; by default Adam.
        clip: The largest norm of all gradients together: where it is above, they are made smaller.
        file: Where it comes from, if it is the user's own.
        exact: Whether every bit of a run stays that of PyTorch's own kernels, whatever an engine's
            `kernels` are.
    """

    name: str
    title: str
    source: str
    network: Callable[..., VAE]
    draws: Callable[..., Mapping[str, Draw]]
    objectives: tuple[str, ...]
    epochs: int
    batch_size: int
    latent_dim: int
    learning_rate: float
    further: tuple[str, ...] = ()
    hyper: tuple[Hyper, ...] = ()
    features: int = 784
    given: Given | None = None
    shape: tuple[int, ...] = ()
    own_objectives: tuple[Objective, ...] = ()
    optimizer: Callable[[list[nn.Parameter], float], torch.optim.Optimizer] | None = None
    clip: float | None = None
    file: RecipeFile | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        if self.shape:
            object.__setattr__(self, "features", math.prod(self.shape))
        elif self.features == math.prod(DIGITS):
            object.__setattr__(self, "shape", DIGITS)
        for objective in self.own_objectives:
            add_objective(objective)
        for name in (*self.objectives, *self.further):
            choose(f"objective of recipe {self.name}", name, OBJECTIVES)
        if self.clip is not None and not self.clip > 0:
            raise UserError(f"recipe {self.name} has clip={self.clip}", expected="a number above 0")

    @property
    def reference(self) -> str:
        """What `pyvae.recipes.open_recipe` finds it by, in another process, too."""
        return self.name if self.file is None else str(self.file)

    def settings(self, **changes: Any) -> Settings:
        """The published settings, with the `changes` that are not None; `hyper` may hold some of
        the recipe's hyperparameters.

        Raises:
            UserError: If a value is out of its range.
        """
        hyper = settle_hyper(self.name, self.hyper, changes.get("hyper") or {})
        published: dict[str, Any] = {
            "objective": self.objectives[0],
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "latent_dim": self.latent_dim,
            "learning_rate": self.learning_rate,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        return Settings(**published | given | {"hyper": hyper})

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of a step with the published settings."""
        return self.stages_for(self.settings())

    def stages_for(self, settings: Settings) -> tuple[Stage, ...]:
        """The stages of a step: inputs, the network's layers and the terms of the loss, in the
        order of computation, derived from the network and the objective.

        Raises:
            UserError: If the network or the objective computes what no stage describes.
        """
        objective = OBJECTIVES[settings.objective]
        return _stages(self, objective, settings.latent_dim, _sorted(settings.hyper))

    def runs(self, objective: str | None = None, **changes: Any) -> list[Settings]:
        """The settings of one run for each objective.

        Arguments:
            objective: One of them, `both` for all that were published, `all` for these and the
                further ones, None for the first.
            changes: As `settings` takes them.

        Raises:
            UserError: If there is no such objective, or a value is out of its range.
        """
        several = {"both": self.objectives, "all": (*self.objectives, *self.further)}
        if objective is not None:
            together = several if len(several["all"]) > 1 else ()
            choose("objective", objective, (*several["all"], *together))
        names = several.get(objective or "", (objective,))
        return [self.settings(objective=name, **changes) for name in names]

    def initial_parameters(self, seed: int, latent_dim: int, **hyper: float) -> dict[str, Tensor]:
        """The parameters (and buffers) that PyTorch's initialisers draw after
        `torch.manual_seed(seed)`.

        The global generator is left as it was. R's torch draws the same bits after
        `torch_manual_seed(seed)`. Always float32, so that runs in either precision start
        from the same point.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network(latent_dim, **hyper)
        return {name: value.detach().clone() for name, value in network.state_dict().items()}

    def parameter_names(self, latent_dim: int, **hyper: float) -> list[str]:
        """The parameters' names, in the order in which the network creates them."""
        return list(_names(self, latent_dim, _sorted(hyper))[0])

    def buffer_names(self, latent_dim: int, **hyper: float) -> list[str]:
        """The names of batch norm's running statistics, which are in the state but not trained."""
        return list(_names(self, latent_dim, _sorted(hyper))[1])

    def quantities(self, settings: Settings) -> list[Quantity]:
        """All that a probe of a run holds, in the order of computation; of an optimiser other than
        Adam without its state, which has names of its own."""
        objective = OBJECTIVES[settings.objective]
        return list(_quantities(self, objective, settings.latent_dim, _sorted(settings.hyper)))


def _sorted(hyper: Mapping[str, float]) -> _Hyper:
    return tuple(sorted(hyper.items()))


# To build a network takes longer than a step of it, and comparisons ask at every step.
@lru_cache(maxsize=64)
def _names(
    recipe: Recipe, latent_dim: int, hyper: _Hyper
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    with torch.device("meta"):
        network = recipe.network(latent_dim, **dict(hyper))
    parameters = tuple(name for name, _ in network.named_parameters())
    return parameters, tuple(name for name, _ in network.named_buffers())


@lru_cache(maxsize=64)
def _quantities(
    recipe: Recipe, objective: Objective, latent_dim: int, hyper: _Hyper
) -> tuple[Quantity, ...]:
    names = _names(recipe, latent_dim, hyper)
    found = quantities(_stages(recipe, objective, latent_dim, hyper), *names)
    return tuple(q for q in found if recipe.optimizer is None or not q.passing.endswith("moment"))


@lru_cache(maxsize=64)
def _stages(
    recipe: Recipe, objective: Objective, latent_dim: int, hyper: _Hyper
) -> tuple[Stage, ...]:
    settled = dict(hyper)
    with torch.random.fork_rng(devices=[]):
        # double precision: in single precision some layers change places for speed
        network = recipe.network(latent_dim, **settled).double()

        def derived(size: int) -> tuple[Stage, ...]:
            def rows(*shape: int) -> Tensor:
                return torch.zeros(size, *shape, dtype=torch.float64)

            drawn = recipe.draws(latent_dim, **settled)
            draws = {name: rows(*draw.shape) for name, draw in drawn.items()}
            given = {} if recipe.given is None else recipe.given.shapes(**settled)
            inputs = {"input": rows(recipe.features)}
            inputs |= {name: rows(*shape) for name, shape in given.items()}
            x = inputs["input"]

            def step() -> Mapping[str, Tensor]:
                return objective(x, network(x, {**draws, **inputs}), settled)

            return derive_stages(network, step, inputs, draws)

        one, other = map(derived, SIZES)
    if one != other:
        raise UserError(
            f"objective {objective.name} depends on the number of images in a way that no stage "
            "describes",
            "divide terms of the loss by len(x), or leave them sums",
        )
    return one
