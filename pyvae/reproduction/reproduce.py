"""`pyvae reproduce`: trains what a write-up trains, draws what it shows, measures what it says."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from pyvae.data.images import ImageData, load_split
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError, choose, printable
from pyvae.figures.style import draw_figure
from pyvae.files.csv import csv_text
from pyvae.files.reading import UNREADABLE, read_rows
from pyvae.files.writing import output_folder, write_file
from pyvae.metrics.digit_classifier import DigitClassifier
from pyvae.model.objectives import OBJECTIVES
from pyvae.parallel.jobs import Workers
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import (
    Article,
    Claim,
    Drawing,
    Measured,
    epochs_of,
    is_cut,
)
from pyvae.reproduction.beta import BETA_ARTICLE
from pyvae.reproduction.clustering import CLUSTERING_ARTICLE
from pyvae.reproduction.conv import CONV_ARTICLE
from pyvae.reproduction.mlp import MLP_ARTICLE
from pyvae.reproduction.parallel import train_side_by_side
from pyvae.reproduction.planned_runs import (
    PIXELS,
    check_folders,
    runs_of,
    sets_of,
    settings_of,
    train_here,
)
from pyvae.reproduction.strided_conv import STRIDED_CONV_ARTICLE
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.run_json import write_run
from pyvae.trace.trace import Trace

__all__ = ["ARTICLES", "choose_articles", "reproduce"]

ARTICLES = {
    article.name: article
    for article in (
        CONV_ARTICLE,
        MLP_ARTICLE,
        STRIDED_CONV_ARTICLE,
        BETA_ARTICLE,
        CLUSTERING_ARTICLE,
    )
}


def choose_articles(name: str) -> list[Article]:
    """The article of that name, or `all`.

    Raises:
        UserError: If there is none.
    """
    choose("article", name, (*ARTICLES, "all"))
    return list(ARTICLES.values()) if name == "all" else [ARTICLES[name]]


def reproduce(
    articles: Sequence[Article],
    data: str,
    out: Path,
    console: Console,
    *,
    quick: bool = False,
    seeds: int | None = None,
    epochs: int | None = None,
    latent_dim: int | None = None,
    device: str = "auto",
    workers: Workers | None = None,
    arguments: Sequence[str] = (),
) -> pd.DataFrame:
    """Does articles again.

    Leaves in `out` a folder for each article with its figures and a `README.md` that shows them,
    `published.csv` with what the articles say and what was measured, and `runs` with what was
    trained: a second call trains nothing twice, and goes on where the first was interrupted.

    Arguments:
        articles: Which.
        data: The images' name, as `pyvae.data.images.load_data` takes it.
        out: The folder.
        console: Shows the progress.
        quick: Fewer epochs and one seed, for a look; said on every figure.
        seeds: How many seeds, instead of as many as each article plans.
        epochs: How many epochs, instead of the published ones; said on every figure. Points are
            trained in full.
        latent_dim: Latent dimensions, instead of the published ones.
        device: Where to train.
        workers: Who trains, all runs side by side; None: this process, one after the other.
        arguments: The command that does this, for `run.json`; without, there is none.

    Returns:
        What is in published.csv.

    Raises:
        UserError: If an argument is out of its range, the data cannot be had or used, another
            run writes into the folder, a folder of `runs` holds another run, or a run fails.
    """
    for option, value in (("--seeds", seeds), ("--epochs", epochs)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}", expected="1 or more")

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    sets = load_split(data, say)
    if sets[0].pixels.shape[1] != PIXELS:
        raise UserError(
            f"--data {data}", "the points come by themselves", expected="images of 28x28 pixels"
        )
    for part in sets:
        if part.labels is None:
            raise UserError(
                f"--data {data} has no labels",
                "use --data mnist",
                expected="images with labels",
            )
        part.check_counted_from_0(10)
    for article in articles:
        for planned in article.planned:  # asked before anything is trained
            settings = settings_of(planned, planned.first_seed, quick, epochs, latent_dim)
            settings.steps_per_epoch(len(sets_of(planned, sets)[0]))
    with FolderLock(out):
        classifier = _classifier(sets, say)
        asked: dict[str, Any] = {
            "quick": quick,
            "seeds": seeds,
            "epochs": epochs,
            "latent_dim": latent_dim,
        }
        runs_of_articles = {
            article.name: {
                planned.key: runs_of(planned, out / "runs", **asked) for planned in article.planned
            }
            for article in articles
        }
        all_runs = [
            run for keys in runs_of_articles.values() for runs in keys.values() for run in runs
        ]
        check_folders(all_runs, sets, device)
        if arguments:
            about = {"pytorch": PyTorchEngine(device).environment()}
            settings_of_all = [run.settings for run in all_runs]
            write_run(
                out,
                arguments,
                ", ".join(runs_of_articles),
                settings_of_all,
                sets[0].describe(),
                about,
            )
        traces: dict[Path, Trace] = {}
        if workers is not None:
            traces = train_side_by_side(all_runs, sets, out / "runs", device, workers, console, say)
        rows = []
        for article in articles:
            say(f"{article.name}: {article.title}")
            runs: dict[str, list[Trace]] = {}
            folders: dict[str, list[Path]] = {}
            for key, mine in runs_of_articles[article.name].items():
                folders[key] = [run.folder for run in mine]
                runs[key] = [
                    traces.get(run.folder) or train_here(run, sets, device, console, say)
                    for run in mine
                ]
            note = _note(article, runs, quick)
            measured = Measured(runs, folders, *sets, quick, note, classifier)
            folder = output_folder(out / article.name)
            drawn, left_out = _draw(article.drawings(measured), folder, say)
            claims = list(article.claims(measured))
            for name, table in article.tables(measured).items():
                write_file(folder / name, csv_text(table))
            write_file(folder / "README.md", _index(article, runs, drawn, left_out, claims, note))
            rows += [_row(claim, article, runs) for claim in claims]
        published = _merged(out / "published.csv", pd.DataFrame(rows))
        write_file(out / "published.csv", csv_text(published))
        write_file(out / "README.md", _contents(out))
        say(f"written: {out}")
        return published


def _classifier(
    sets: tuple[ImageData, ImageData], say: Callable[[str], object]
) -> Callable[[], DigitClassifier]:
    @cache
    def made() -> DigitClassifier:
        (x, labels), (test_x, test_labels) = (_labelled(data) for data in sets)
        classes = int(labels.max()) + 1
        classifier = DigitClassifier(x, labels, test_x, test_labels, classes=classes)
        say(f"digit classifier: test accuracy {classifier.test_accuracy:.4f}")
        return classifier

    return made


def _labelled(data: ImageData) -> tuple[torch.Tensor, torch.Tensor]:
    assert data.labels is not None  # noqa: S101 (asked for before)
    return data.batch(np.arange(len(data)), torch.float32), data.labels


def _note(article: Article, runs: Mapping[str, Sequence[Trace]], quick: bool) -> str:
    """What was cut, in words; empty where nothing was."""
    parts: list[str] = []
    for planned in article.planned:
        trace = runs[planned.key][0]
        if is_cut(trace):
            words = f"{epochs_of(trace):.2g} of {get_recipe(trace.recipe).epochs} epochs"
            parts.append(words if len(article.planned) == 1 else f"{planned.key} {words}")
    alike = {part.partition(" ")[2] for part in parts}
    if len(parts) == len(article.planned) > 1 and len(alike) == 1:
        parts = [alike.pop()]
    return ("quick look: " if quick else "cut: ") + ", ".join(parts) if parts else ""


def _draw(
    drawings: Iterable[Drawing], folder: Path, say: Callable[[str], object]
) -> tuple[list[Drawing], list[str]]:
    """Draws all figures that can be drawn; says which cannot, and why."""
    drawn, left_out = [], []
    for drawing in drawings:
        try:
            draw_figure(drawing.draw, folder / drawing.file)
        except UserError as error:
            left_out.append(f"{drawing.file} is left out: {error}")
            say(left_out[-1])
            with suppress(OSError):
                (folder / drawing.file).unlink(missing_ok=True)
        else:
            drawn.append(drawing)
    return drawn, left_out


def _row(claim: Claim, article: Article, runs: Mapping[str, Sequence[Trace]]) -> dict:
    row = claim.row(article.name)
    mine = {key: traces[0] for key, traces in runs.items() if key in (claim.keys or runs)}
    done = {key: f"{epochs_of(trace):.3g}" for key, trace in mine.items()}
    same = set(done.values())
    row["epochs"] = same.pop() if len(same) == 1 else " ".join(f"{k}:{v}" for k, v in done.items())
    if any(is_cut(trace) for trace in mine.values()):
        row["verdict"] += " (cut)"
    row["data"] = next(iter(runs.values()))[0].data["name"]
    return row


def _merged(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """The table with the lines of the articles that were done now in place of older ones.

    Memory: 64 times the file's size, and 1 MiB.

    Raises:
        UserError: If there is an older one, and it cannot be read.
    """
    if not path.is_file():
        return new
    try:
        heads, *rows = read_rows(path)
        if "article" not in heads:
            raise ValueError("no column article")
    except UNREADABLE as error:
        raise UserError(
            f"'{path}' cannot be read ({error})",
            "delete it: the articles done now are written again",
            expected="the table as pyvae reproduce wrote it",
        ) from error
    old = pd.DataFrame(rows, columns=heads)
    kept = old[~old["article"].isin(new["article"])]
    return pd.concat([kept, new], ignore_index=True)


def _index(
    article: Article,
    runs: Mapping[str, Sequence[Trace]],
    drawn: Sequence[Drawing],
    left_out: Sequence[str],
    claims: Sequence[Claim],
    note: str,
) -> str:
    """The article's README.md."""
    lines = [f"# {article.name}: {article.title}", ""]
    lines += [f"Source: {get_recipe(next(iter(runs.values()))[0].recipe).source}.", ""]
    if note:
        lines += [f"**{note[0].upper()}{note[1:]}.**", ""]
    lines += ["| run | objective | settings | seeds |", "|---|---|---|---|"]
    for key, traces in runs.items():
        settings = traces[0].settings
        lines.append(
            f"| {key} | {OBJECTIVES[settings.objective].formula} | {traces[0].steps} steps of "
            f"{settings.batch_size}, {settings.latent_dim} latent dimensions, Adam "
            f"{settings.learning_rate:g}"
            + "".join(f", {name} {value:g}" for name, value in settings.hyper.items())
            + f" | {', '.join(str(trace.settings.seed) for trace in traces)} |"
        )
    lines += ["", "## Figures", ""]
    for drawing in drawn:
        lines += [f"![{drawing.caption}]({drawing.file})", "", f"{drawing.caption}.", ""]
    lines += [f"- {_markdown(words)}" for words in left_out]
    lines += ["", "## What the article says, and what was measured", ""]
    lines += ["| claim | published | median | range | unit | seeds | verdict |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for claim in claims:
        row = claim.row(article.name)
        lines.append(
            f"| {_markdown(claim.claim)} | {claim.published} | {row['median']:.4g} | "
            f"{row['least']:.4g} to {row['greatest']:.4g} | {claim.unit} | {row['seeds']} | "
            f"{claim.verdict} |"
        )
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """A text, which may tell a path or what a file holds, as it is: no HTML, no cell's end, no
    link."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(printable(text), quote=False))


def _contents(out: Path) -> str:
    """The whole folder's README.md."""
    done = [a for a in ARTICLES.values() if (out / a.name / "README.md").is_file()]
    what = f"{len(done)} write-ups" if len(done) > 1 else f"The write-up {done[0].name}"
    lines = [f"# {what}, done again", ""]
    lines += [f"- [{article.name}]({article.name}/README.md): {article.title}" for article in done]
    lines += ["", "What the articles say beside what was measured: [published.csv](published.csv)."]
    return "\n".join(lines) + "\n"
