"""The folder of a program's trace: nothing of the user's is overwritten."""

from __future__ import annotations

from pathlib import Path

from pyvae.errors import UserError
from pyvae.trace.program import is_program_trace

__all__ = ["check_new_folder", "remove_program"]


def check_new_folder(
    folder: Path, overwrite: bool, *, how_to_overwrite: str = "overwrite=True"
) -> None:
    """Makes sure that a trace overwrites nothing of the user's.

    Arguments:
        folder: The trace's.
        overwrite: Whether a trace that it holds already may be replaced.
        how_to_overwrite: How the user asks for that, for the message.

    Raises:
        UserError: If it would.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not is_program_trace(folder):
            raise UserError(
                f"folder '{folder}' is not empty, and holds no trace of a program",
                "choose a new folder",
            )
        if not overwrite:
            raise UserError(
                f"folder '{folder}' holds a trace already",
                f"choose a new folder, or replace the trace with {how_to_overwrite}",
            )
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file", "choose a new folder")


def remove_program(folder: Path) -> None:
    """Removes a trace, and nothing else that is in its folder."""
    (folder / "trace.json").unlink(missing_ok=True)
    steps = folder / "steps"
    for path in steps.glob("step-*.safetensors"):
        path.unlink()
    if steps.is_dir() and not any(steps.iterdir()):
        steps.rmdir()
