"""`published.csv`: what the write-ups say beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE, read_rows
from pyvae.reproduction.article import Article, Claim
from pyvae.reproduction.measured import is_cut, trained_epochs
from pyvae.trace.trace import Trace

__all__ = ["merge_published", "published_row"]


def published_row(
    claim: Claim, article: Article, runs: Mapping[str, Sequence[Trace]]
) -> dict[str, object]:
    """The row of a claim.

    Arguments:
        claim: Of the article.
        article: What it belongs to.
        runs: The article's traces, by the planned run's key.
    """
    row = claim.row(article.name)
    first = {key: traces[0] for key, traces in runs.items() if key in (claim.keys or runs)}
    epochs = {key: f"{trained_epochs(trace):.3g}" for key, trace in first.items()}
    if len(set(epochs.values())) == 1:
        row["epochs"] = next(iter(epochs.values()))
    else:
        row["epochs"] = " ".join(f"{key}:{number}" for key, number in epochs.items())
    if any(is_cut(trace) for trace in first.values()):
        row["verdict"] += " (cut)"
    row["data"] = next(iter(runs.values()))[0].data["name"]
    return row


def merge_published(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """A table of an earlier call, its articles replaced by those that were reproduced now.

    Arguments:
        path: Of the earlier table, if there is one.
        new: The rows of now.

    Raises:
        UserError: If the earlier one cannot be read.
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
            "delete it and run the same command again",
        ) from error
    old = pd.DataFrame(rows, columns=heads)
    kept = old[~old["article"].isin(new["article"])]
    return pd.concat([kept, new], ignore_index=True)
