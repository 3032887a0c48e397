"""A map of names between two programs, as a CSV file with the columns a and b."""

from __future__ import annotations

from pathlib import Path

from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE, read_rows

__all__ = ["read_name_map"]

COLUMNS = ("a", "b")
REMEDY = "give a CSV file with columns a and b, such as the names.csv that pyvae compare writes"


def read_name_map(path: Path) -> list[tuple[str, str]]:
    """Reads a map of names, as `pyvae compare` writes it; other columns are left out.

    Returns:
        The names in columns a and b, row by row.

    Raises:
        UserError: If it cannot be read, or lacks a column.
    """
    try:
        rows = read_rows(path)
        heads = next(rows)
        absent = [name for name in COLUMNS if name not in heads]
        if absent:
            raise UserError(f"map '{path}' has no column {' and no column '.join(absent)}", REMEDY)
        places = [heads.index(name) for name in COLUMNS]
        found = [(row[places[0]], row[places[1]]) for row in rows]
    except FileNotFoundError as error:
        raise UserError(f"there is no map '{path}'", REMEDY) from error
    except UNREADABLE as error:
        raise UserError(f"map '{path}' cannot be read: {_reason(error)}", REMEDY) from error
    if not found:
        raise UserError(f"map '{path}' has no row", REMEDY)
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
