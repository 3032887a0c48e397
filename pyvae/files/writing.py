"""Writing files so that none is ever half there."""

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
        if error.errno in FULL:
            raise _full(path) from error
        if error.errno == errno.EFBIG:
            raise _too_large(path) from error
        raise UserError(
            f"output folder '{path}' cannot be written ({error.strerror})",
            "choose another with --out",
            expected="a folder with write permission",
        ) from error
    return path


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file under a temporary name in the same folder, syncs and renames it.

    Raises:
        UserError: If it cannot be written; what was there before stays.
    """
    if isinstance(content, str):
        content = content.encode()
    handle, temporary = -1, ""
    with _saying_why(path):
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
    """A name to write a file under that takes the place of `path` once it is whole.

    Raises:
        UserError: If it cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with _saying_why(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _saying_why(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # none of the system's
            raise
        if error.errno in FULL:
            raise _full(path) from error
        if error.errno == errno.EFBIG:
            raise _too_large(path) from error
        raise UserError(
            f"'{path}' cannot be written ({error.strerror})",
            "choose a folder in which you may write, or change its permissions",
        ) from error


def _too_large(path: Path) -> UserError:
    return UserError(
        f"'{path}' would be larger than a file of this process may be",
        "raise the limit (ulimit -f) and give the same command again: what was kept before is "
        "whole",
    )


def _full(path: Path) -> UserError:
    return UserError(
        f"no space is left for '{path}'",
        "make room and give the same command again: what was kept before is whole",
        expected="room on its disk",
    )


def _sync_folder(folder: Path) -> None:
    """A power cut must not undo the renaming, or change its order with the next one."""
    with suppress(OSError):  # not every file system can, and the file itself is there
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
