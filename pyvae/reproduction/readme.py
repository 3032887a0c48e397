"""The README.md files of reproduced write-ups."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pyvae.errors import printable
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import Article, Claim, Drawing
from pyvae.reproduction.articles import ARTICLES
from pyvae.reproduction.measured import Measured
from pyvae.reproduction.published import published_row
from pyvae.trace.trace import Trace

__all__ = ["article_readme", "folder_readme"]


def article_readme(
    article: Article,
    measured: Measured,
    drawn: Iterable[Drawing],
    left_out: Iterable[str],
    claims: Iterable[Claim],
) -> str:
    """An article's README.md.

    Arguments:
        article: The write-up.
        measured: Its trained runs.
        drawn: The figures that are in its folder.
        left_out: A line for each figure that could not be drawn.
        claims: What it says, with the values that were measured.
    """
    runs, note = measured.runs, measured.note
    lines = [f"# {article.name}: {article.title}", ""]
    lines += [f"Source: {get_recipe(next(iter(runs.values()))[0].recipe).source}.", ""]
    if note:
        lines += [f"**{note[0].upper()}{note[1:]}.**", ""]
    data = next(iter(runs.values()))[0].data["name"]
    lines += [f"Data: {data}.", "", "| run | objective | settings | seeds |", "|---|---|---|---|"]
    lines += [_run_line(key, traces) for key, traces in runs.items()]
    lines += ["", "## Figures", ""]
    for drawing in drawn:
        lines += [f"![{drawing.caption}]({drawing.file})", "", f"{drawing.caption}.", ""]
    lines += [f"- {_markdown(words)}" for words in left_out]
    lines += ["", "## What the article says, and what was measured", ""]
    lines += ["| claim | published | median | range | unit | seeds | verdict |"]
    lines += ["|---|---|---|---|---|---|---|", *_claim_lines(article, claims, runs)]
    return "\n".join(lines) + "\n"


def _run_line(key: str, traces: Sequence[Trace]) -> str:
    settings = traces[0].settings
    return (
        f"| {key} | {OBJECTIVES[settings.objective].formula} | {traces[0].steps} steps of "
        f"{settings.batch_size}, {settings.latent_dim} latent dimensions, Adam "
        f"{settings.learning_rate:g}"
        + "".join(f", {name} {value:g}" for name, value in settings.hyper.items())
        + f" | {', '.join(str(trace.settings.seed) for trace in traces)} |"
    )


def _claim_lines(
    article: Article, claims: Iterable[Claim], runs: Mapping[str, Sequence[Trace]]
) -> Iterator[str]:
    for claim in claims:
        row = published_row(claim, article, runs)
        yield (
            f"| {_markdown(claim.claim)} | {claim.published} | {row['median']:.4g} | "
            f"{row['least']:.4g} to {row['greatest']:.4g} | {claim.unit} | {row['seeds']} | "
            f"{row['verdict']} |"
        )


def _markdown(text: str) -> str:
    """A text, which may hold a path or what a file holds, as it is: without HTML, ends of cells and
    links."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(printable(text), quote=False))


def folder_readme(out: Path) -> str:
    """The README.md of the folder that holds the articles' folders."""
    done = [a for a in ARTICLES.values() if (out / a.name / "README.md").is_file()]
    what = f"{len(done)} write-ups" if len(done) > 1 else f"The write-up {done[0].name}"
    lines = [f"# {what}, reproduced", ""]
    lines += [f"- [{article.name}]({article.name}/README.md): {article.title}" for article in done]
    lines += ["", "What the articles say beside what was measured: [published.csv](published.csv)."]
    return "\n".join(lines) + "\n"
