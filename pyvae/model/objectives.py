r"""Objectives: a reconstruction term plus a regulariser.

Each objective declares its scale: a sum over the images of a batch, as in the R article, or a mean
over them. The terms are in `pyvae.model.loss_terms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyvae.errors import UserError
from pyvae.model.loss_terms import (
    bernoulli_reconstruction,
    cross_entropy,
    expected_prior,
    gaussian_reconstruction,
    half_mu_squared,
    kl,
    kl_categorical,
    kl_gaussians,
    squared_error,
)

__all__ = ["LOSSES", "OBJECTIVES", "Losses", "Objective", "add_objective"]

LOSSES = ("total", "reconstruction", "regulariser")
Losses = dict[str, Tensor]  # `LOSSES`, then further terms; each of shape ()
Hyper = Mapping[str, float]


@dataclass(frozen=True)
class Objective:
    """A loss that training minimises.

    Attributes:
        name: The name on the command line.
        title: The name in figures.
        formula: The loss and its scale, in words.
        parts: Returns the reconstruction, the regulariser and further terms by name, each of
            shape () and before it is weighted, from the images x (B, 784), the network's output
            for them and the recipe's hyperparameters.
        weight: The hyperparameter that the regulariser is multiplied by in the total, if any.
        further: Names of the further terms.
        mean: Whether terms are means over the images of a batch, not sums.
        unit: The unit of the loss of one image; empty if it has none.
        regulariser: The name of the regulariser.
        is_kl: Whether the regulariser is the KL divergence of q from the prior; if so, and it is
            0, the latents carry no information.
        schedule: Returns the hyperparameters that have other values in a step, from the step's
            number (from 1) and the recipe's hyperparameters, such as a beta that grows.
    """

    name: str
    title: str
    formula: str
    parts: Callable[[Tensor, Any, Hyper], Losses]
    weight: str = ""
    further: tuple[str, ...] = ()
    mean: bool = False
    unit: str = "nats per image"
    regulariser: str = "KL"
    is_kl: bool = True
    schedule: Callable[[int, Hyper], Hyper] | None = None

    def hyper_at(self, step: int, hyper: Hyper) -> Hyper:
        """The hyperparameters of a step, counted from 1."""
        return hyper if self.schedule is None else {**hyper, **self.schedule(step, hyper)}

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of all terms that are recorded of a step, in order."""
        return (*LOSSES, *self.further)

    @property
    def column(self) -> str:
        """The name of the loss of one image in tables."""
        return "nats_per_image" if self.unit == "nats per image" else "loss"

    def per_image(self, total: Any, images: Any) -> Any:
        """Returns the loss of one image from that of a batch of `images`."""
        return total if self.mean else total / images

    def words(self, loss: float, digits: int = 3) -> str:
        """Returns the loss of one image with its unit."""
        return f"{loss:.{digits}f} {self.unit}" if self.unit else f"loss {loss:.5g}"

    def words_of_parts(self, parts: Mapping[str, float]) -> str:
        """Returns the terms of one image, without the total, before they are weighted."""
        names = {term: term.replace("_", " ").replace("kl", "KL") for term in self.terms[1:]}
        names["regulariser"] = self.regulariser
        digits = ".3f" if self.unit else ".5g"
        return ", ".join(f"{name} {parts[term]:{digits}}" for term, name in names.items())

    def __call__(self, x: Tensor, output: Any, hyper: Hyper | None = None) -> Losses:
        parts = self.parts(x, output, hyper or {})
        weight = (hyper or {}).get(self.weight, 1.0)
        weighted = parts["regulariser"] * weight if self.weight else parts["regulariser"]
        return {"total": parts["reconstruction"] + weighted, **parts}


def _of_normal(regulariser: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Losses]:
    """Makes the parts of a Bernoulli likelihood and a regulariser of mu and log_var, summed."""

    def parts(x: Tensor, output: Any, hyper: Hyper) -> Losses:
        return {
            "reconstruction": bernoulli_reconstruction(output.pixels, x),
            "regulariser": regulariser(output.mu, output.log_var),
        }

    return parts


def _elbo(x: Tensor, output: Any, hyper: Hyper) -> Losses:
    images = len(x)
    return {
        "reconstruction": bernoulli_reconstruction(output.pixels, x) / images,
        "regulariser": kl(output.mu, output.log_var) / images,
    }


def _beta(x: Tensor, output: Any, hyper: Hyper) -> Losses:
    return {
        "reconstruction": squared_error(output.pixels, x),
        "regulariser": kl(output.mu, output.log_var) / len(x),
    }


def _divergences(output: Any) -> Losses:
    return {
        "categorical_kl": kl_categorical(output.pi),
        "gaussian_kl": kl_gaussians(
            output.mu, output.log_var, output.prior_mu, output.prior_log_var
        ),
    }


def _clustering(x: Tensor, output: Any, hyper: Hyper) -> Losses:
    reconstruction = bernoulli_reconstruction(output.pixels, x)
    return _clustering_of(reconstruction, _divergences(output), hyper)


def _clustering_points(x: Tensor, output: Any, hyper: Hyper) -> Losses:
    reconstruction = gaussian_reconstruction(output.pixels, x, hyper["variance"])
    return _clustering_of(reconstruction, _divergences(output), hyper)


def _clustering_of(reconstruction: Tensor, terms: Losses, hyper: Hyper) -> Losses:
    regulariser = terms["categorical_kl"] + hyper["beta"] * terms["gaussian_kl"]
    return {"reconstruction": reconstruction, "regulariser": regulariser, **terms}


def _semi_supervised(x: Tensor, output: Any, hyper: Hyper) -> Losses:
    labelled = output.labelled
    unlabelled = bernoulli_reconstruction(output.pixels, x)
    of_labels = bernoulli_reconstruction(labelled.pixels, labelled.x)
    reconstruction = unlabelled + hyper["labelled_weight"] * of_labels
    terms = _divergences(output) | {
        "cross_entropy": cross_entropy(labelled.pi, labelled.labels),
        "unlabelled_reconstruction": unlabelled,
        "labelled_reconstruction": of_labels,
    }
    regulariser = (
        terms["categorical_kl"]
        + hyper["beta"] * terms["gaussian_kl"]
        + hyper["alpha"] * terms["cross_entropy"]
    )
    return {"reconstruction": reconstruction, "regulariser": regulariser, **terms}


DIVERGENCES = ("categorical_kl", "gaussian_kl")
OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            "vae",
            "VAE",
            "BCE + KL, summed over pixels and images, weights 1 and 1",
            _of_normal(kl),
        ),
        Objective(
            "emae",
            "EMAE",
            "BCE + sum(mu^2)/2, summed over pixels and images, weights 1 and 1",
            _of_normal(half_mu_squared),
            regulariser="sum(mu^2)/2",
            is_kl=False,
        ),
        Objective(
            "em",
            "EM",
            "BCE + sum(mu^2 + exp(log_var))/2 (the VAE's loss without exactly the entropy of q), "
            "summed over pixels and images, weights 1 and 1",
            _of_normal(expected_prior),
            regulariser="sum(mu^2 + exp(log_var))/2",
            is_kl=False,
        ),
        Objective(
            "elbo",
            "ELBO",
            "BCE + KL, summed over pixels, mean over the batch's images, weights 1 and 1",
            _elbo,
            mean=True,
        ),
        Objective(
            "beta",
            "beta-VAE",
            "squared error, mean over pixels and images, + beta KL, mean over images",
            _beta,
            weight="beta",
            mean=True,
            unit="",
        ),
        Objective(
            "clustering",
            "clustering",
            "BCE + KL(q(y|x) || uniform) + beta KL(q(z|x,y) || p(z|y)), summed over pixels and "
            "images, weights 1, 1 and beta",
            _clustering,
            further=DIVERGENCES,
            regulariser="regulariser",
        ),
        Objective(
            "clustering-points",
            "clustering",
            "Gaussian likelihood of fixed variance + KL(q(y|x) || uniform) + beta KL(q(z|x,y) || "
            "p(z|y)), summed over coordinates and points, weights 1, 1 and beta",
            _clustering_points,
            further=DIVERGENCES,
            regulariser="regulariser",
            unit="nats per point",
        ),
        Objective(
            "semi-supervised",
            "semi-supervised",
            "BCE + labelled_weight BCE of the labelled images + KL(q(y|x) || uniform) + beta "
            "KL(q(z|x,y) || p(z|y)) + alpha cross entropy of the labels, summed over pixels and "
            "images",
            _semi_supervised,
            regulariser="regulariser",
            is_kl=False,
            further=(
                *DIVERGENCES,
                "cross_entropy",
                "unlabelled_reconstruction",
                "labelled_reconstruction",
            ),
        ),
    )
}


def add_objective(objective: Objective) -> None:
    """Makes an objective of a recipe of the user's own known by its name.

    Raises:
        UserError: If there is another one of this name.
    """
    known = OBJECTIVES.get(objective.name, objective)
    if known != objective and _home(known) != _home(objective):
        raise UserError(
            f"objective '{objective.name}' is defined in {_home(known)} already",
            "give yours another name",
        )
    OBJECTIVES[objective.name] = objective


def _home(objective: Objective) -> str:
    """The module that defines an objective; of a file that was loaded again it stays the same."""
    return getattr(objective.parts, "__module__", "") or type(objective.parts).__module__
