"""The R article: VAE against EMAE, and the objective `em` that its words describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd
import torch

from pyvae.figures import images as image_figures
from pyvae.figures import spread as spread_figures
from pyvae.figures.runs import latent_means_figure, loss_history_figure
from pyvae.metrics.clusters import ClassShares, class_shares
from pyvae.metrics.elbo import elbo_parts, importance_weighted_bound, reconstruction_at
from pyvae.metrics.latents import active_units, marked_gap, posterior_spread
from pyvae.model.objectives import OBJECTIVES
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.planned import Planned

__all__ = ["CONV_ARTICLE", "measure_objectives"]

NAMES = ("vae", "emae", "em")
PUBLISHED = ("vae", "emae")
TREND = 5  # epochs: from one to the next a loss moves by more than it falls in the end
GENERATED = 1000  # images whose classes are counted


def _drawings(measured: Measured) -> Iterable[Drawing]:
    first = [measured.runs[name][0] for name in PUBLISHED]
    yield Drawing(
        "loss_hist.png",
        "loss of VAE and EMAE over the epochs (the article's first figure)",
        lambda: loss_history_figure(first, note=measured.note),
    )
    for name in NAMES:
        title = OBJECTIVES[name].title
        yield Drawing(
            f"{name}_gen.png",
            f"16 images from N(0, I), {title}" + _ours(name),
            lambda name=name, title=title: image_figures.generated_figure(  # type: ignore[misc]
                measured.generated(name, 16).numpy(), f"{title}: 16 images from N(0, I)",
                measured.note, columns=4,
            ),
        )  # fmt: skip
    for name in NAMES:
        title = OBJECTIVES[name].title
        yield Drawing(
            f"mu_{name.upper()}.png",
            f"latent means of the last batch, dropout on, {title}" + _ours(name),
            lambda name=name: latent_means_figure(  # type: ignore[misc]
                measured.runs[name][:1], note=measured.note
            ),
        )
    yield Drawing(
        "spread.png",
        "spread of each dimension's mean over the test images, three objectives (not in the "
        "article)",
        lambda: spread_figures.spread_figure(
            {n: posterior_spread(*measured.posterior(n)).mu_sd for n in NAMES},
            "Spread of the latent means over the test images, evaluation mode",
            measured.note,
        ),
    )
    yield Drawing(
        "means_and_variances.png",
        "what the means carry and what the variances carry (not in the article)",
        lambda: spread_figures.mean_and_variance_figure(
            {n: posterior_spread(*measured.posterior(n)) for n in NAMES},
            "Spread over the test images of mu and of log_var, evaluation mode", measured.note,
        ),
    )  # fmt: skip


def _ours(name: str) -> str:
    return "" if name in PUBLISHED else " (not in the article)"


def shares(measured: Measured, name: str, index: int) -> ClassShares:
    """The digits that a classifier sees among generated images."""
    images = measured.generated(name, GENERATED, index, seed=7)
    return class_shares(measured.classifier.predict(images))


@torch.no_grad()
def measure_objectives(measured: Measured) -> pd.DataFrame:
    """One row per objective and seed: what the posterior carries, in evaluation mode and, where
    the name begins with `training_`, with dropout on; what the samples show; bounds."""
    k, images = (50, 200) if measured.quick else (500, 1000)
    rows = []
    for name in NAMES:
        for index in measured.seeds(name):
            trace = measured.runs[name][index]
            network = measured.network(name, index)
            x = measured.images[:images]
            row: dict[str, object] = {
                "objective": name,
                "seed": trace.settings.seed,
                "epochs": float(trace.steps) / trace.settings.steps_per_epoch(len(measured.train)),
                "training_loss": float(trace.epoch_table()["nats_per_image"].iloc[-1]),
            }
            for mode in ("", "training_"):
                posterior = measured.posterior(name, index, training=bool(mode))
                spread = posterior_spread(*posterior)
                gap = marked_gap(posterior.mu)
                row |= {
                    f"{mode}active_units": active_units(posterior.mu),
                    f"{mode}gap_ratio": gap.ratio,
                    f"{mode}dimensions_above_gap": float(gap.above),
                    f"{mode}mu_sd_least": float(spread.mu_sd.min()),
                    f"{mode}mu_sd_greatest": float(spread.mu_sd.max()),
                    f"{mode}log_var_sd": float(spread.log_var_sd.mean()),
                    f"{mode}mean_sigma": float(spread.mean_sigma.mean()),
                }
            at = reconstruction_at(x, network.posterior, network.decode)
            with_masks = reconstruction_at(
                x, partial(measured.posterior, name, index, training=True), network.decode
            )
            parts = elbo_parts(x, network.posterior, network.decode)
            bound = importance_weighted_bound(x, network.posterior, network.decode, k)
            found = shares(measured, name, index)
            row |= {
                "reconstruction_at_mu": at.at_mu,
                "reconstruction_sampled": at.at_samples,
                "training_reconstruction_at_mu": with_masks.at_mu,
                "training_reconstruction_sampled": with_masks.at_samples,
                "kl": parts.kl,
                "negative_elbo": parts.negative_elbo,
                f"importance_weighted_bound_{k}": bound,
                "classes_seen": float(found.seen),
                "class_entropy": found.entropy,
                "largest_share": found.largest,
                "share_of_0": float(found.shares[0]),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _claims(measured: Measured) -> Iterable[Claim]:
    yield from _loss_claims(measured)
    yield from _sample_claims(measured)
    yield from _latent_claims(measured)
    yield from _bound_claims(measured)


def _values(measured: Measured, name: str, column: str) -> list[float]:
    """A measure of each seed of an objective."""
    table = _measured_once(measured)
    return [float(value) for value in table.loc[table["objective"] == name, column]]


def _loss_claims(measured: Measured) -> Iterable[Claim]:
    for name in PUBLISHED:
        title = OBJECTIVES[name].title
        losses = [trace.epoch_table()["nats_per_image"] for trace in measured.runs[name]]
        if len(losses[0]) > 1:
            yield Claim(
                f"{title}: the loss falls over the epochs: last minus first", "falls",
                [float(loss.iloc[-1] - loss.iloc[0]) for loss in losses], "nats per image",
                lambda value: value < 0,
            )  # fmt: skip
            several = min(TREND, len(losses[0]) // 2)
            yield Claim(
                f"{title}: it has not levelled off: mean loss of the last {several} epochs minus "
                f"that of the {several} before",
                "falls", [_trend(loss, several) for loss in losses], "nats per image",
                lambda value: value < -0.01,
            )  # fmt: skip


def _trend(losses: pd.Series[float], several: int) -> float:
    """How far the mean loss of the last epochs is above that of as many before."""
    before = losses.iloc[-2 * several : -several]
    return float(losses.iloc[-several:].mean() - before.mean())


def _sample_claims(measured: Measured) -> Iterable[Claim]:
    accuracy = f"(classifier of accuracy {measured.classifier.test_accuracy:.3f})"
    yield Claim(
        f"VAE samples show various digits: entropy of the classes of 1,000 images {accuracy}",
        "various", _values(measured, "vae", "class_entropy"), "nats, at most 2.30",
        lambda value: value > 1.5,
    )  # fmt: skip
    yield Claim(
        f"EMAE samples are nearly all like 0: share of 0 among 1,000 images {accuracy}",
        "nearly all", _values(measured, "emae", "share_of_0"), "share", lambda value: value > 0.8,
    )  # fmt: skip
    yield Claim(
        "EMAE samples are nearly all alike: share of the most frequent class", "nearly all",
        _values(measured, "emae", "largest_share"), "share", lambda value: value > 0.8,
    )  # fmt: skip


def _latent_claims(measured: Measured) -> Iterable[Claim]:
    for mode, words in (("training_", "dropout on, as published"), ("", "evaluation mode")):
        yield Claim(
            f"VAE: a few marked dimensions, the others near 0: active units of 30 ({words})",
            "a few", _values(measured, "vae", f"{mode}active_units"), "dimensions",
            lambda value: 0 < value < 20,
        )  # fmt: skip
        yield Claim(
            f"VAE: a clear gap between the two kinds: widest ratio of neighbouring spreads "
            f"({words})", "clear", _values(measured, "vae", f"{mode}gap_ratio"), "ratio",
            lambda value: value > 3,
        )  # fmt: skip
        for name in ("emae", "em"):
            yield Claim(
                f"{OBJECTIVES[name].title}: all 30 dimensions carry a little: active units "
                f"({words})", "30" if name == "emae" else "not in the article",
                _values(measured, name, f"{mode}active_units"), "dimensions",
                (lambda value: value == 30) if name in PUBLISHED else None,
            )  # fmt: skip


def _bound_claims(measured: Measured) -> Iterable[Claim]:
    table = _measured_once(measured)
    bound = next(str(name) for name in table if "importance_weighted_bound" in str(name))
    for name in NAMES:
        title = OBJECTIVES[name].title
        bounds = _values(measured, name, bound)
        yield Claim(f"{title}: {bound.replace('_', ' ')}", "-", bounds, "nats per image")
        at_mu = _values(measured, name, "reconstruction_at_mu")
        sampled = _values(measured, name, "reconstruction_sampled")
        yield Claim(
            f"{title}: reconstruction at z = mu minus at sampled z", "-",
            [a - b for a, b in zip(at_mu, sampled, strict=True)], "nats per image",
        )  # fmt: skip
        claim = f"{title}: spread of log_var over images, mean over dimensions"
        yield Claim(claim, "-", _values(measured, name, "log_var_sd"), "standard deviation")


def _tables(measured: Measured) -> Mapping[str, pd.DataFrame]:
    return {"measures.csv": _measured_once(measured)}


def _measured_once(measured: Measured) -> pd.DataFrame:
    if "objectives" not in measured.tables:
        measured.tables["objectives"] = measure_objectives(measured)
    return measured.tables["objectives"]


CONV_ARTICLE = Article(
    name="conv",
    title="VAE and EMAE of the R article, and the objective em",
    planned=tuple(
        # with seed 1 the encoder dies
        Planned(name, "conv", {"objective": name}, seeds=3, first_seed=2, quick={"steps": 240})
        for name in NAMES
    ),
    drawings=_drawings,
    claims=_claims,
    tables=_tables,
)
