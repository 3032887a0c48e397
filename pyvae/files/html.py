"""What an object shows of itself in a notebook: a title, lines, a short table."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from pyvae.errors import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["notebook_html"]

ROWS = 12  # of a table
# Jupyter must not take the dollar signs of a name for mathematics
START = '<div class="tex2jax_ignore mathjax_ignore">'


def notebook_html(title: str, lines: Iterable[str] = (), table: pd.DataFrame | None = None) -> str:
    """Returns HTML for an object's `_repr_html_`. All text is escaped: it may be from elsewhere.

    Arguments:
        title: What it is, and the verdict, if there is one.
        lines: What else is to be said; an empty one is left out.
        table: Its first 12 rows are shown, and how many there are more.
    """
    parts = [f"<p><b>{_safe(title)}</b></p>"]
    parts += [f"<p>{_safe(line)}</p>" for line in lines if line]
    if table is not None and len(table):
        shown = table.head(ROWS).map(
            lambda cell: printable(cell) if isinstance(cell, str) else cell
        )
        shown.columns = [printable(str(name)) for name in table.columns]
        parts.append(
            shown.to_html(
                index=False, border=0, justify="left", na_rep="", float_format=lambda x: f"{x:.5g}"
            )
        )
        if len(table) > ROWS:
            parts.append(f"<p>and {len(table) - ROWS:,} more rows</p>")
    return "\n".join([START, *parts, "</div>"])


def _safe(text: str) -> str:
    return escape(printable(text))
