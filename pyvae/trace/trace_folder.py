"""The folder that a trace is read from."""

from __future__ import annotations

from pathlib import Path

from pyvae.errors import UserError

__all__ = ["HEADER", "check_folder", "header_of"]

HEADER = "trace.json"


def check_folder(folder: Path) -> None:
    """Makes sure that a folder is there.

    Raises:
        UserError: If it is not.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"'{folder}' is a file", "give the folder of a trace")
    raise UserError(f"there is no folder '{folder}'", "check the path")


def header_of(folder: Path, how_to_record: str) -> Path:
    """Returns the path of a trace's `trace.json`.

    Arguments:
        folder: The trace's.
        how_to_record: What to do where it holds no trace.

    Raises:
        UserError: If there is no such folder, or no `trace.json` in it.
    """
    check_folder(folder)
    path = folder / HEADER
    if not path.is_file():
        raise UserError(f"'{folder}' holds no trace: there is no {HEADER} in it", how_to_record)
    return path
