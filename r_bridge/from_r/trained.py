"""What R asks of a trained network: latents, reconstructions, new images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.data.images import ImageData, load_data
from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError
from pyvae.files.arrays import parse_arrays
from pyvae.files.reading import UNREADABLE
from pyvae.metrics.latents import kl_by_dimension
from pyvae.model.recipe import VAE, Recipe
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe, open_recipe
from pyvae.recipes.clustering_modules import ClusteringVAE
from pyvae.runs.trained.network import load_network
from pyvae.runs.trained.posterior import BATCH, encode, reconstruct
from pyvae.trace.trace import Trace
from pyvae.training.inputs import check_data
from r_bridge.from_r.exchange import Packed, answers, images_from_r, pack, unpack

__all__ = ["dimensions", "generate", "measure_dimensions", "predict"]

Model: TypeAlias = Mapping[str, Any]  # parameters (safetensors), recipe, settings


@answers
@torch.no_grad()
def predict(model: Model, kind: str, x: Mapping[str, Any]) -> dict[str, Any]:
    """Passes images through a trained network in evaluation mode.

    Arguments:
        model: The network.
        kind: `latent`: posterior means (N, L); `posterior`: means and logarithms of variances, by
            the names `mu` and `log_var`; `reconstruction`: the decoded means, (N, 784), pixels in
            [0, 1]; `cluster`: q(y|x), (N, K).
        x: The images, an array with its name, or `{"data": PATH}` of an .npz file.

    Raises:
        UserError: If the images cannot be read, the recipe cannot take them, or has no clusters.
    """
    trace, data = _trace(model), _data(model, x)
    if kind == "cluster":
        network = load_network(trace)
        if not isinstance(network, ClusteringVAE):
            raise UserError(
                f"recipe {model['recipe']} has no clusters",
                'use type = "latent" or "reconstruction"',
            )
        batches = _batches(data, trace.settings)
        return pack(torch.cat([network.cluster(batch) for batch in batches]).numpy())
    if kind == "reconstruction":
        return pack(reconstruct(trace, data))
    posterior = {name: pack(array) for name, array in encode(trace, data)._asdict().items()}
    return posterior if kind == "posterior" else posterior["mu"]


@answers
def dimensions(model: Model, x: Mapping[str, Any]) -> dict[str, Any]:
    """Measures the latent dimensions of a trained network on images, as `measure_dimensions`.

    Raises:
        UserError: If the images cannot be read, or the recipe cannot take them.
    """
    trace, data = _trace(model), _data(model, x)
    return measure_dimensions(load_network(trace), _batches(data, trace.settings))


@torch.no_grad()
def measure_dimensions(network: VAE, batches: Iterator[Tensor]) -> dict[str, Any]:
    """Measures each latent dimension on images, in evaluation mode.

    Returns:
        Packed, (L,) each: `kl`, the divergence of the posterior from the prior, the mean over
        images in nats; `variance`, of the posterior means over images; `sd`, the mean of the
        posterior's standard deviations. And the number of `images`.
    """
    network.eval()
    parts = [_posterior_and_prior(network, batch) for batch in batches]
    mu, log_var, prior_mu, prior_log_var = (
        torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True)
    )
    found: dict[str, NDArray] = {
        "kl": kl_by_dimension(mu, log_var, prior_mu, prior_log_var),
        "variance": mu.var(axis=0),
        "sd": np.exp(0.5 * log_var).mean(axis=0),
    }
    return {name: pack(value) for name, value in found.items()} | {"images": len(mu)}


@answers
@torch.no_grad()
def generate(model: Model, noise: Packed) -> dict[str, Any]:
    """Decodes draws from the prior.

    Arguments:
        model: The network.
        noise: (N, L), draws from N(0, I): the latents. Of a recipe with clusters the latents are
            drawn with this noise from p(z|y), each cluster y in turn.

    Returns:
        (N, 784), pixels in [0, 1].
    """
    trace = _trace(model)
    network = load_network(trace)
    drawn = torch.from_numpy(np.ascontiguousarray(unpack(noise))).to(trace.settings.torch_dtype)
    parts = [network.decode(z) for z in network.from_prior(drawn).split(BATCH)]
    return pack(torch.cat(parts).numpy())


def _posterior_and_prior(network: VAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means and logarithms of variances, (B, L) each. Where the prior is p(z|y), y is q(y|x), as
    the network itself takes it in evaluation mode."""
    if isinstance(network, ClusteringVAE):
        mu, log_var = network.posterior(x)
        return mu, log_var, *network.prior(network.cluster(x))
    mu, log_var = network.posterior(x)
    return mu, log_var, torch.zeros_like(mu), torch.zeros_like(mu)


def _recipe(model: Model) -> Recipe:
    """A fit's recipe; of the user's own the file is run that the user has named in this session,
    never one that a fit names."""
    named = model.get("recipe_file")
    return open_recipe(named) if named else get_recipe(model["recipe"])


def _trace(model: Model) -> Trace:
    """A fit as the trace of a finished run: its recipe, settings and parameters."""
    recipe = _recipe(model)
    settings = recipe.settings(
        objective=model["objective"],
        latent_dim=int(model["latent_dim"]),
        dtype=model["dtype"],
        hyper=dict(model["hyper"]),
    )
    try:
        parameters = parse_arrays(bytes(model["parameters"]))
    except UNREADABLE as error:
        raise UserError(
            f"the fit's parameters cannot be read ({error})",
            "use a fit as vae_fit() returned it",
        ) from error
    return Trace("pytorch", recipe.name, settings, {}, {}, parameters=parameters)


def _data(model: Model, x: Mapping[str, Any]) -> ImageData:
    recipe = _recipe(model)
    data = load_data(x["data"], shape=recipe.shape or DIGITS) if "data" in x else images_from_r(x)
    check_data(recipe, data)
    return data


def _batches(data: ImageData, settings: Settings) -> Iterator[Tensor]:
    for rows in torch.arange(len(data)).split(BATCH):
        yield data.batch(rows.numpy(), settings.torch_dtype)
