"""Reproducing write-ups: trains what they train, draws what they show, measures what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pyvae.data.images import ImageData, load_split
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.figures.style import draw_figure
from pyvae.files.csv import csv_text
from pyvae.files.writing import output_folder, write_file
from pyvae.metrics.digit_classifier import DigitClassifier
from pyvae.parallel.jobs import Workers
from pyvae.reproduction.article import Article, Drawing
from pyvae.reproduction.articles import choose_articles
from pyvae.reproduction.cost import measure_cost
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.parallel import train_in_parallel
from pyvae.reproduction.plan import Plan
from pyvae.reproduction.planned import PlannedRun, Split
from pyvae.reproduction.published import merge_published, published_row
from pyvae.reproduction.readme import article_readme, folder_readme
from pyvae.reproduction.report import Report
from pyvae.reproduction.training import check_folders, train_planned
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.trace import Trace

__all__ = ["reproduce"]

PIXELS = 784


def reproduce(
    article: str,
    out: Path | str = "reproduced",
    plan: Plan | None = None,
    *,
    data: str = "auto",
    device: str = "auto",
    workers: Workers | None = None,
    report: Report | None = None,
    arguments: Sequence[str] = (),
) -> pd.DataFrame:
    """Reproduces a write-up: trains its runs, draws its figures, measures its claims.

    Leaves in `out` a folder for each article with its figures and a `README.md` that shows them,
    `published.csv` with what the articles say and what was measured, and `runs` with what was
    trained. A second call trains nothing twice, and goes on where the first was interrupted.

    Arguments:
        article: Its name, as in `pyvae.reproduction.articles.ARTICLES`, or `all`.
        out: The folder.
        plan: What to do differently from the write-up; by default nothing.
        data: The images' name, as `pyvae.data.images.load_data` takes it.
        device: Where to train.
        workers: Who trains the runs in parallel, from `pyvae.parallel.workers.open_workers`; None:
            this process, one after the other.
        report: Gets news and progress; by default news are printed.
        arguments: The command that does this, for `run.json`; without, there is none.

    Returns:
        What is in `published.csv`: a row for each claim.

    Raises:
        UserError: If an argument or the data cannot be used, another process writes into the
            folder, a folder of `runs` holds another run, or a run fails.

    Example:
        >>> pyvae.reproduce("beta", "looks", pyvae.Plan(quick=True))  # doctest: +SKIP
    """
    articles = choose_articles(article)
    plan, report, out = plan or Plan(), report or Report(), Path(out)
    split = _load_images(data, report.log)
    planned = plan.article_runs(articles, split, out / "runs")
    runs = [run for keys in planned.values() for several in keys.values() for run in several]
    with RunFolder(out, arguments, report.log) as folder:
        report.cost(measure_cost(runs, check_folders(runs, device), device, workers))
        folder.write_about([run.run for run in runs], [PyTorchEngine(device)])
        finished: dict[Path, Trace] = {}
        if workers is not None:
            finished = train_in_parallel(runs, out / "runs", device, workers, report)
        classifier = _classifier(split, report.log)
        rows: list[dict] = []
        for one in articles:
            report.log(f"{one.name}: {one.title}")
            traces = {
                key: [finished.get(run.folder) or _train(run, device, report) for run in several]
                for key, several in planned[one.name].items()
            }
            measured = Measured(traces, planned[one.name], split, plan.quick, classifier)
            rows += _write_article(one, measured, out, report.log)
        return _write_table(rows, out, report.log)


def _train(run: PlannedRun, device: str, report: Report) -> Trace:
    return train_planned(run, device, report.callbacks(run), report.log)


def _load_images(data: str, log: Callable[[str], object]) -> Split:
    """Images of labelled digits, to train on and to test with.

    Raises:
        UserError: If they are none.
    """
    split = load_split(data, log)
    if split[0].pixels.shape[1] != PIXELS:
        raise UserError(
            f"--data {data} holds no images of 28x28 pixels",
            "use --data mnist (the clustering article makes its points itself)",
        )
    for part in split:
        if part.labels is None:
            raise UserError(f"--data {data} has no labels", "use --data mnist")
        part.check_counted_from_0(10)
    return split


def _classifier(split: Split, log: Callable[[str], object]) -> Callable[[], DigitClassifier]:
    """A function that makes the classifier when it is first called."""

    @cache
    def make() -> DigitClassifier:
        (x, labels), (test_x, test_labels) = (_labelled(data) for data in split)
        classes = int(labels.max()) + 1
        classifier = DigitClassifier(x, labels, test_x, test_labels, classes=classes)
        log(f"digit classifier: test accuracy {classifier.test_accuracy:.4f}")
        return classifier

    return make


def _labelled(data: ImageData) -> tuple[torch.Tensor, torch.Tensor]:
    assert data.labels is not None  # noqa: S101 (checked when they were loaded)
    return data.batch(np.arange(len(data)), torch.float32), data.labels


def _write_article(
    article: Article, measured: Measured, out: Path, log: Callable[[str], object]
) -> list[dict]:
    """Writes an article's figures, tables and README.md; returns its rows of published.csv."""
    folder = output_folder(out / article.name)
    drawn, left_out = _draw(article.drawings(measured), folder, log)
    claims = list(article.claims(measured))
    for name, table in article.tables(measured).items():
        write_file(folder / name, csv_text(table))
    text = article_readme(article, measured, drawn, left_out, claims)
    write_file(folder / "README.md", text)
    return [published_row(claim, article, measured.runs) for claim in claims]


def _draw(
    drawings: Iterable[Drawing], folder: Path, log: Callable[[str], object]
) -> tuple[list[Drawing], list[str]]:
    """Draws all figures that can be drawn.

    Returns:
        Those that were drawn, and a line for each that was not.
    """
    drawn, left_out = [], []
    for drawing in drawings:
        try:
            draw_figure(drawing.draw, folder / drawing.file)
        except UserError as error:
            left_out.append(f"{drawing.file} is left out: {error}")
            log(left_out[-1])
            with suppress(OSError):
                (folder / drawing.file).unlink(missing_ok=True)
        else:
            drawn.append(drawing)
    return drawn, left_out


def _write_table(rows: list[dict], out: Path, log: Callable[[str], object]) -> pd.DataFrame:
    """Writes published.csv, with the rows of earlier calls, and the README.md of the folder."""
    table = merge_published(out / "published.csv", pd.DataFrame(rows))
    write_file(out / "published.csv", csv_text(table))
    write_file(out / "README.md", folder_readme(out))
    log(f"written: {out}")
    return table
