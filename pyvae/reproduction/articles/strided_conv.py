"""The strided convolutional write-up: two and four latent dimensions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pyvae.figures import images as image_figures
from pyvae.figures import latents as latent_figures
from pyvae.figures import losses as loss_figures
from pyvae.metrics.clusters import class_shares
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.articles.measures import neighbours
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned

__all__ = ["STRIDED_CONV_ARTICLE"]

KEYS = {"z2": 2, "z4": 4}


def _drawings(measured: Measured) -> Iterable[Drawing]:
    for key, size in KEYS.items():
        yield Drawing(
            f"loss_{key}.png",
            f"training and test loss, {size} latent dimensions",
            lambda key=key, size=size: loss_figures.train_test_figure(  # type: ignore[misc]
                measured.runs[key][0], measured.test_history(key),
                f"strided ConvVAE, {size} latent dimensions", measured.note,
                checkpoint_every=10,
            ),
        )  # fmt: skip
        yield Drawing(
            f"latents_{key}.png",
            f"latents of the test images by digit, {size} dimensions"
            + (", by t-SNE" if size > 2 else ""),
            lambda key=key, size=size: _latents(measured, key, size),  # type: ignore[misc]
        )
        yield Drawing(
            f"generated_{key}.png",
            f"100 digits generated from the latents of 100 training images, {size} dimensions",
            lambda key=key, size=size: image_figures.generated_figure(  # type: ignore[misc]
                _of_training_images(measured, key).numpy(),
                f"strided ConvVAE, {size} dimensions: 100 training images anew",
                measured.note, columns=10,
            ),
        )  # fmt: skip
        yield Drawing(
            f"from_prior_{key}.png",
            f"100 images from N(0, I), {size} latent dimensions (not in the article)",
            lambda key=key, size=size: image_figures.generated_figure(  # type: ignore[misc]
                measured.generated(key, 100).numpy(),
                f"strided ConvVAE, {size} dimensions: 100 images from N(0, I)",
                measured.note, columns=10,
            ),
        )  # fmt: skip


def _of_training_images(measured: Measured, key: str, index: int = 0) -> Tensor:
    """What is decoded from a sample of the posterior of the first 100 training images."""
    x = measured.train.batch(np.arange(100), torch.float32)
    mu, log_var = measured.posterior(key, index, images=x)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(1))
    return measured.decode(key, mu + torch.exp(0.5 * log_var) * noise, index)


def _latents(measured: Measured, key: str, size: int):
    title = f"strided ConvVAE, {size} latent dimensions: "
    z, labels = measured.latents(key).numpy(), measured.labels.numpy()
    if size == 2:
        return latent_figures.latent_scatter(
            z, labels, f"{title}latents of the test images", measured.note
        )
    return latent_figures.tsne_scatter(
        z[:2000], labels[:2000], f"{title}sampled latents", measured.note, seed=0, markers=False,
        most=2000,
    )  # fmt: skip


def _claims(measured: Measured) -> Iterable[Claim]:
    last: dict[str, list[float]] = {}
    for key, size in KEYS.items():
        train = [float(trace.epoch_table()["total"].iloc[-1]) for trace in measured.runs[key]]
        last[key] = [
            float(measured.test_history(key, index)["total"].iloc[-1])
            for index in measured.seeds(key)
        ]
        for name, values in (("training", train), ("test", last[key])):
            claim = f"{name} loss of the last epoch, {size} latent dimensions"
            yield Claim(claim, "in a figure", values, "nats per image")
    lower = [four - two for two, four in zip(last["z2"], last["z4"], strict=True)]
    yield Claim(
        "four latent dimensions give a lower loss than two: difference of the test losses",
        "lower", lower, "nats per image", lambda value: value < 0,
    )  # fmt: skip
    near = {
        key: [neighbours(measured, key, index) for index in measured.seeds(key)] for key in KEYS
    }
    for key, size in KEYS.items():
        claim = f"accuracy of 10 nearest neighbours of the means, {size} latent dimensions"
        yield Claim(claim, "in a figure", near[key], "share of test images")
    yield Claim(
        "digits gather better with four: difference of the accuracies", "better",
        [four - two for two, four in zip(near["z2"], near["z4"], strict=True)],
        "share of test images", lambda value: value > 0,
    )  # fmt: skip
    accuracy = measured.classifier.test_accuracy
    for source, words in (("training images", "10"), ("N(0, I)", "not in the article")):
        seen = []
        for index in measured.seeds("z4"):
            images = (
                measured.generated("z4", 100, index)
                if source == "N(0, I)"
                else _of_training_images(measured, "z4", index)
            )
            seen.append(float(class_shares(measured.classifier.predict(images)).seen))
        yield Claim(
            f"with four, each digit is there at least once among 100 images generated from {source}"
            f": digits seen by a classifier of accuracy {accuracy:.3f}",
            words, seen, "digits", (lambda value: value == 10) if words == "10" else None,
        )  # fmt: skip


STRIDED_CONV_ARTICLE = Article(
    name="strided-conv",
    title="strided convolutions, two and four latent dimensions",
    planned=tuple(
        Planned(
            key,
            "strided-conv",
            {"latent_dim": size},
            quick={"epochs": 1},
            test=True,
            checkpoint_every=10,
        )
        for key, size in KEYS.items()
    ),
    drawings=_drawings,
    claims=_claims,
)
