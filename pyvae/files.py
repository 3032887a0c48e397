"""Writing files so that none is ever half there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pyvae.errors import UserError

__all__ = ["output_folder", "remove_file", "remove_remains", "write_file"]


def output_folder(path: Path) -> Path:
    """The folder, made if need be, after checking that files can be written into it.

    Raises:
        UserError: If they cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"output folder '{path}' cannot be written ({error.strerror})",
            "a folder with write permission",
            "choose another with --out",
        ) from error
    return path


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file under a temporary name in the same folder, syncs and renames it."""
    if isinstance(content, str):
        content = content.encode()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_file(path: Path) -> None:
    """Removes a file, if it is there, and what `write_file` left of it when it was killed."""
    for found in (path, *path.parent.glob(f".{path.name}.????????")):
        found.unlink(missing_ok=True)


def remove_remains(folder: Path) -> None:
    """Removes what `write_file` left of files of a folder when it was killed, if they were
    written again."""
    for found in folder.glob(".*.????????"):
        if (folder / found.name[1:].rpartition(".")[0]).is_file():
            found.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
