"""The clustering write-ups: unsupervised, with 100 labels, and points in the plane."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.data.images import load_split
from pyvae.figures import gumbel as gumbel_figures
from pyvae.figures import images as image_figures
from pyvae.figures import latents as latent_figures
from pyvae.figures import losses as loss_figures
from pyvae.figures import points as points_figures
from pyvae.metrics.clusters import clustering_accuracy, clustering_scores
from pyvae.recipes.clustering_modules import ClusteringVAE
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned
from pyvae.trace.trace import Trace

__all__ = ["CLUSTERING_ARTICLE"]

WORDS = {"unsupervised": "unsupervised", "labelled": "100 labels"}
DICE = np.array([0.1, 0.1, 0.1, 0.2, 0.2, 0.3])  # the article's picture has no numbers
TEMPERATURES = (0.1, 0.5, 1.0, 5.0)


def _network(measured: Measured, key: str, index: int = 0) -> ClusteringVAE:
    network = measured.network(key, index)
    assert isinstance(network, ClusteringVAE)  # noqa: S101 (what this article is about)
    return network


def _drawings(measured: Measured) -> Iterable[Drawing]:
    for key, words in WORDS.items():
        yield Drawing(
            f"losses_{key}.png",
            f"the terms of the loss ({words})",
            lambda key=key: loss_figures.terms_figure(  # type: ignore[misc]
                measured.runs[key][0], measured.run_note(key)
            ),
        )
        if key == "unsupervised":
            yield Drawing(
                "reconstructions.png",
                "test images and their reconstructions",
                lambda: _reconstructions(measured),
            )
        yield Drawing(
            f"clusters_{key}.png",
            f"ten images of each cluster: z from p(z|y), x from p(x|z) ({words})",
            lambda key=key, words=words: _cluster_samples(measured, key, words),  # type: ignore[misc]
        )
        yield Drawing(
            f"latents_{key}.png",
            f"latents of the test images by their true digit ({words})",
            lambda key=key, words=words: latent_figures.latent_scatter(  # type: ignore[misc]
                measured.posterior(key).mu.numpy(), measured.labels.numpy(),
                f"clustering VAE, {words}: latent means of the test images", measured.run_note(key),
                unit="",
            ),
        )  # fmt: skip
        yield Drawing(
            f"prior_{key}.png",
            f"samples of p(z|y), 1,000 of each cluster ({words})",
            lambda key=key, words=words: _prior(measured, key, words),  # type: ignore[misc]
        )
    yield Drawing("toy_clusters.png", "points: the clusters found", lambda: _toy_found(measured))
    yield Drawing(
        "toy_generated.png", "points: 500 generated of each cluster", lambda: _toy_made(measured)
    )
    yield Drawing(
        "gumbel_softmax.png",
        "a categorical distribution, 100 rolls of it, and Gumbel-softmax samples",
        lambda: gumbel_figures.gumbel_softmax_figure(DICE, TEMPERATURES, seed=1),
    )


def _reconstructions(measured: Measured):
    x = measured.images[:10]
    again = measured.decode("unsupervised", measured.posterior("unsupervised", images=x).mu)
    rows = [("test images", x.numpy()), ("reconstructed", again.numpy())]
    return image_figures.rows_figure(
        rows, "clustering VAE, unsupervised", measured.run_note("unsupervised")
    )


@torch.no_grad()
def _from_prior(measured: Measured, key: str, each: int, index: int = 0) -> torch.Tensor:
    """Latents of p(z|y), (K, each, L)."""
    network = _network(measured, key, index)
    mu, log_var = network.prior(torch.eye(network.clusters))  # (K, L)
    noise = torch.randn((each, *mu.shape), generator=torch.Generator().manual_seed(1)).transpose(
        0, 1
    )  # (K, each, L)
    return mu[:, None] + torch.exp(0.5 * log_var)[:, None] * noise


def _cluster_samples(measured: Measured, key: str, words: str):
    z = _from_prior(measured, key, 10)
    images = measured.decode(key, z.flatten(0, 1)).numpy().reshape(*z.shape[:2], -1)
    title = f"clustering VAE, {words}: ten images of each cluster"
    return image_figures.cluster_samples_figure(images, title, measured.run_note(key))


def _prior(measured: Measured, key: str, words: str):
    z = _from_prior(measured, key, 1000)
    clusters = np.repeat(np.arange(len(z)), z.shape[1])
    return latent_figures.latent_scatter(
        z.flatten(0, 1).numpy(), clusters, f"clustering VAE, {words}: samples of p(z|y)",
        measured.run_note(key), groups="cluster", unit="",
    )  # fmt: skip


@torch.no_grad()
def _found(measured: Measured, key: str, index: int = 0) -> NDArray:
    """The most probable cluster of every test image."""
    network = _network(measured, key, index)
    x = measured.images if key in WORDS else _points()[0]
    return torch.cat([network.cluster(part).argmax(1) for part in x.split(500)]).numpy()


def _points() -> tuple[torch.Tensor, NDArray]:
    _, test = load_split("toy")
    assert test.labels is not None  # noqa: S101 (they are made with labels)
    return test.batch(np.arange(len(test)), torch.float32), test.labels.numpy()


def _toy_found(measured: Measured):
    return points_figures.points_figure(
        _points()[0].numpy(), _found(measured, "toy"), "points: the clusters found by q(y|x)",
        measured.run_note("toy"),
    )  # fmt: skip


def _toy_made(measured: Measured):
    z = _from_prior(measured, "toy", 500)
    points = measured.decode("toy", z.flatten(0, 1)).numpy()
    clusters = np.repeat(np.arange(len(z)), z.shape[1])
    title = "points: means of p(x|z), z from p(z|y)"
    return points_figures.points_figure(points, clusters, title, measured.run_note("toy"))


def _claims(measured: Measured) -> Iterable[Claim]:
    labels = measured.labels.numpy()
    accuracies = {}
    for key, words in WORDS.items():
        found = [_found(measured, key, index) for index in measured.seeds(key)]
        scores = [clustering_scores(labels, clusters) for clusters in found]
        accuracies[key] = [score.accuracy for score in scores]
        yield Claim(
            f"clusters stand for digits ({words}): accuracy under the best assignment, test set",
            "in words", accuracies[key], "share of test images", lambda value: value > 0.5,
        )  # fmt: skip
        for name in ("nmi", "ari"):
            values = [float(getattr(score, name)) for score in scores]
            claim = f"{name.upper()} of clusters and digits ({words}), test set"
            yield Claim(claim, "not printed", values)
    pairs = zip(accuracies["unsupervised"], accuracies["labelled"], strict=False)
    yield Claim(
        "with 100 labels fewer digits mix: difference of the accuracies, seed by seed", "better",
        [labelled - without for without, labelled in pairs], "share of test images",
        lambda value: value > 0,
    )  # fmt: skip
    yield Claim(
        "unsupervised, 4, 7, 9 and 5, 8 mix: share of the wrongly clustered test images whose "
        "cluster stands for another digit of the same group", "these",
        [_mixed(labels, _found(measured, "unsupervised", i))
         for i in measured.seeds("unsupervised")], "share", lambda value: value > 0.3,
    )  # fmt: skip
    yield Claim(
        "the KL terms do not fall: Gaussian KL, last over first tenth of the run (unsupervised)",
        "do not fall", [_rise(trace) for trace in measured.runs["unsupervised"]], "ratio",
        lambda value: value > 0.5,
    )  # fmt: skip
    _, groups = _points()
    yield Claim(
        "points: the clusters are found, K = 3: accuracy under the best assignment, test points",
        "in a figure",
        [clustering_accuracy(groups, _found(measured, "toy", i)).accuracy
         for i in measured.seeds("toy")], "share of points", lambda value: value > 0.9, ("toy",),
    )  # fmt: skip


def _mixed(labels: NDArray, clusters: NDArray) -> float:
    """Of the wrong images, the share that stays within {4, 7, 9} or {5, 8}."""
    mapping = clustering_accuracy(labels, clusters).mapping
    told = np.array([mapping.get(int(cluster), -1) for cluster in clusters])
    wrong = told != labels
    within = np.zeros_like(wrong)
    for group in ((4, 7, 9), (5, 8)):
        within |= np.isin(told, group) & np.isin(labels, group)
    return float((within & wrong).sum() / max(1, wrong.sum()))


def _rise(trace: Trace) -> float:
    kl = trace.history()["gaussian_kl"].to_numpy()
    tenth = max(1, len(kl) // 10)
    return float(kl[-tenth:].mean() / kl[:tenth].mean())


CLUSTERING_ARTICLE = Article(
    name="clustering",
    title="clustering VAE with Gumbel-softmax: unsupervised, 100 labels, points",
    planned=(
        Planned("unsupervised", "clustering", seeds=5, quick={"steps": 150}),
        Planned("labelled", "clustering-semi-supervised", seeds=5, quick={"steps": 150}),
        Planned("toy", "clustering-toy", seeds=5, quick={"epochs": 40}),
    ),
    drawings=_drawings,
    claims=_claims,
)
