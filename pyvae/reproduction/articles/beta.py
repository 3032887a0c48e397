"""The beta-VAE write-up: squared error, two latent dimensions."""

from __future__ import annotations

from collections.abc import Iterable

from pyvae.figures import latents as latent_figures
from pyvae.figures.runs import loss_history_figure
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.articles.measures import neighbours
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned

__all__ = ["BETA_ARTICLE"]


def _drawings(measured: Measured) -> Iterable[Drawing]:
    yield Drawing(
        "latent_scatter.png",
        "latents of the test images, coloured by digit",
        lambda: latent_figures.latent_scatter(
            measured.latents("beta").numpy(), measured.labels.numpy(),
            "beta-VAE: sampled latents of the test images", measured.note, colour_bar=True,
        ),
    )  # fmt: skip
    yield Drawing(
        "manifold.png",
        "a grid over the latent space, decoded",
        lambda: latent_figures.manifold_figure(
            lambda z: measured.decode("beta", z).numpy(),
            title="beta-VAE: images over the latent space", note=measured.note,
            latent_dim=measured.runs["beta"][0].settings.latent_dim,
        ),
    )  # fmt: skip
    yield Drawing(
        "loss.png",
        "training loss (squared error + beta KL); the article prints none",
        lambda: loss_history_figure(measured.runs["beta"][:1], note=measured.note),
    )


def _claims(measured: Measured) -> Iterable[Claim]:
    yield Claim(
        "images of the same digit gather: accuracy of 10 nearest neighbours of the means",
        "in words", [neighbours(measured, "beta", index) for index in measured.seeds("beta")],
        "share of test images", lambda value: value > 0.5,
    )  # fmt: skip
    tables = [trace.epoch_table() for trace in measured.runs["beta"]]
    for term, unit in (
        ("total", "squared error per pixel + 0.001 nats per image"),
        ("reconstruction", "squared error per pixel"),
        ("regulariser", "nats per image"),
    ):
        values = [float(table[term].iloc[-1]) for table in tables]
        yield Claim(f"{term} of the last epoch", "not printed", values, unit)
    yield Claim(
        "beta balances both terms: 0.001 KL over the squared error, last epoch",
        "in words",
        [
            float(table["regulariser"].iloc[-1] * trace.settings.hyper["beta"])
            / float(table["reconstruction"].iloc[-1])
            for table, trace in zip(tables, measured.runs["beta"], strict=True)
        ],
        "ratio", lambda value: 0.1 < value < 10,
    )  # fmt: skip


BETA_ARTICLE = Article(
    name="beta",
    title="perceptron with squared error and a weighted KL",
    planned=(Planned("beta", "beta", seeds=3, quick={"epochs": 8}, test=True),),
    drawings=_drawings,
    claims=_claims,
)
