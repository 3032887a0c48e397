"""Writes files so that none is left half written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyvae.errors import UserError

__all__ = ["output_folder", "remove_file", "remove_remains", "replacing", "write_file"]

FULL = (errno.ENOSPC, errno.EDQUOT)
AGAIN = "run the same command again; earlier checkpoints are intact"


def output_folder(path: Path) -> Path:
    """Makes an output folder and checks that files can be written into it.

    Raises:
        UserError: If they cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise _full(path) from error
        if error.errno == errno.EFBIG:
            raise _too_large(path) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            for one in (path, *path.parents):
                if one.is_file():
                    raise UserError(f"'{one}' is a file", "choose a folder with --out") from error
        raise UserError(
            f"output folder '{path}' cannot be written ({error.strerror})",
            "choose another folder with --out, or change its permissions",
        ) from error
    return path


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file under a temporary name in the same folder, syncs it and renames it.

    Raises:
        UserError: If it cannot be written; the earlier file is kept.
    """
    if isinstance(content, str):
        content = content.encode()
    handle, temporary = -1, ""
    with _naming(path):
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; it replaces `path` when the block ends without an error.

    Raises:
        UserError: If it cannot be written; the earlier file is kept.
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with _naming(path):
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # safetensors makes its files for the owner alone
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns an error of the system into a UserError that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not an error of the system
            raise
        if error.errno in FULL:
            raise _full(path) from error
        if error.errno == errno.EFBIG:
            raise _too_large(path) from error
        raise UserError(
            f"'{path}' cannot be written ({error.strerror})",
            "choose a folder where you have write permission, or change its permissions",
        ) from error


def _too_large(path: Path) -> UserError:
    return UserError(
        f"'{path}' would exceed the limit on the size of a file",
        f"raise the limit (ulimit -f) and {AGAIN}",
    )


def _full(path: Path) -> UserError:
    return UserError(
        f"disk full while writing '{path}'",
        f"free some space and {AGAIN}",
    )


def _sync_folder(folder: Path) -> None:
    """Syncs a folder, so that a power cut neither undoes a renaming nor swaps it with the next."""
    with suppress(OSError):  # not every file system can, and the file itself is there
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_file(path: Path) -> None:
    """Removes a file, and temporary files of it that a killed process left."""
    for found in (path, *path.parent.glob(f".{path.name}.????????")):
        found.unlink(missing_ok=True)


def remove_remains(folder: Path) -> None:
    """Removes temporary files that a killed process left beside the files that they were for."""
    for found in folder.glob(".*.????????"):
        if (folder / found.name[1:].rpartition(".")[0]).is_file():
            found.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
