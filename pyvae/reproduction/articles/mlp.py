"""The MLP write-up: the network that it prints, and one that gives its printed losses."""

from __future__ import annotations

from collections.abc import Iterable

from pyvae.figures import images as image_figures
from pyvae.figures import latents as latent_figures
from pyvae.figures import losses as loss_figures
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.articles.measures import neighbours
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned

__all__ = ["MLP_ARTICLE", "PRINTED"]

# the losses that the article prints, epochs 0 to 19, nats per image
PRINTED = (
    259.4754333496094, 198.2902374267578, 185.74327087402344, 171.2009735107422,
    151.1637725830078, 142.47804260253906, 136.46971130371094, 132.12322998046875,
    128.97467041015625, 125.9026107788086, 122.81126403808594, 120.819580078125,
    119.18617248535156, 117.93606567382812, 116.92920684814453, 115.95458984375,
    115.18840026855469, 114.4017105102539, 113.82874298095703, 113.18940734863281,
)  # fmt: skip
CLOSE = 0.05  # of the printed value
LABELS = {"mlp": "as printed, 20 hidden units", "wide": "variant wide, 200 and 200"}


def _drawings(measured: Measured) -> Iterable[Drawing]:
    traces = {label: list(measured.runs[key]) for key, label in LABELS.items()}
    yield Drawing(
        "loss.png",
        "training loss of both networks over the epochs, beside the losses that the article prints",
        lambda: loss_figures.losses_figure(
            traces, PRINTED, "MLP VAE: the printed losses and two networks", measured.note
        ),
    )
    for key, label in LABELS.items():
        yield Drawing(
            f"rows_{key}.png",
            f"test images, their reconstructions, and the way from the first latent to the second "
            f"in ten steps ({label})",
            lambda key=key, label=label: _rows(measured, key, label),  # type: ignore[misc]
        )
        yield Drawing(
            f"tsne_{key}.png",
            f"t-SNE of the latents of 1,000 test images ({label})",
            lambda key=key, label=label: latent_figures.tsne_scatter(  # type: ignore[misc]
                measured.latents(key)[:1000].numpy(), measured.labels[:1000].numpy(),
                f"MLP VAE ({label}): sampled latents", measured.note, seed=0,
            ),
        )  # fmt: skip


def _rows(measured: Measured, key: str, label: str):
    x = measured.images[:10]
    z = measured.latents(key)[:10]
    between = image_figures.interpolation(z[0], z[1], 10)
    rows = [
        ("test images", x.numpy()),
        ("reconstructed", measured.decode(key, z).numpy()),
        ("from the first\nto the second", measured.decode(key, between).numpy()),
    ]
    return image_figures.rows_figure(rows, f"MLP VAE ({label})", measured.note)


def _claims(measured: Measured) -> Iterable[Claim]:
    for key, label in LABELS.items():
        tables = [trace.epoch_table() for trace in measured.runs[key]]
        for epoch in (0, 19):
            values = [float(table["total"].iloc[epoch]) for table in tables if len(table) > epoch]
            if not values:
                continue
            printed = PRINTED[epoch]
            yield Claim(
                f"training loss of epoch {epoch}, network {label}", f"{printed:.2f}", values,
                "nats per image",
                lambda value, printed=printed: abs(value / printed - 1) < CLOSE,  # type: ignore[misc]
            )  # fmt: skip
        distances = [
            max(abs(loss / printed - 1) for loss, printed in zip(table["total"], PRINTED))  # noqa: B905
            for table in tables
        ]
        yield Claim(
            f"printed losses of epochs 0 to {len(tables[0]) - 1}: largest relative difference, "
            f"network {label}", "0", distances, "of the printed loss",
            lambda value: value < CLOSE,
        )  # fmt: skip
        yield Claim(
            f"digits gather in latent space: accuracy of 10 nearest neighbours, network {label}",
            "in words", [neighbours(measured, key, index) for index in measured.seeds(key)],
            "share of test images", lambda value: value > 0.5,
        )  # fmt: skip


MLP_ARTICLE = Article(
    name="mlp",
    title="multilayer perceptron, batch norm and dropout; and the network that fits its losses",
    planned=(
        Planned("mlp", "mlp", seeds=5, quick={"epochs": 4}, test=True),
        Planned("wide", "mlp-wide", seeds=5, quick={"epochs": 4}, test=True),
    ),
    drawings=_drawings,
    claims=_claims,
)
