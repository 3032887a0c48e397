"""Tables as CSV."""

from __future__ import annotations

import pandas as pd

__all__ = ["csv_text"]


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV; floats are written so that reading them gives the same bits."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan")
