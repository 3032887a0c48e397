"""Writes tables as CSV."""

from __future__ import annotations

import pandas as pd

__all__ = ["csv_text"]


def csv_text(table: pd.DataFrame) -> str:
    """Returns a table as CSV text; reading its floats gives the same bits."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan")
