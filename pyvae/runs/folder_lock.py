"""The lock of a folder: one process at a time writes into it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, SoftFileLock, Timeout

from pyvae.errors import UserError
from pyvae.files.writing import output_folder

__all__ = ["FolderLock", "is_locked"]

NAME = ".lock"


class FolderLock:
    """Holds a folder for as long as a `with` block lasts; makes it if need be.

    The system releases the lock when the process ends, however that happens; a lock file that a
    killed process has left locks nothing.

    Raises:
        UserError: If another process holds it, or the folder cannot be written.

    Example:
        >>> with FolderLock(Path("runs/conv")) as lock:  # doctest: +SKIP
        ...     lock.check()  # still there?
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._lock = FileLock(self._path, thread_local=False)
        self._inode = 0

    def __enter__(self) -> FolderLock:
        output_folder(self.folder)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"'{self.folder}' is being written by another run{self._holder()}",
                "wait until it has ended, or choose another --out",
            ) from None
        if not isinstance(self._lock, SoftFileLock):  # that one names the holder itself
            with suppress(OSError):  # a full disk: it works without the number
                self._path.write_text(f"{os.getpid()}\n")
        self._inode = self._path.stat().st_ino
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours():  # whoever waits for it checks that it is the same file
            self._path.unlink(missing_ok=True)
        self._lock.release()

    def check(self) -> bool:
        """Makes and locks the folder again if it was removed meanwhile.

        Returns:
            Whether it had been removed, with all that was in it.

        Raises:
            UserError: If meanwhile another run has begun in it.
        """
        if self._is_ours():
            return False
        self._lock.release()
        self.__enter__()
        return True

    def _is_ours(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _holder(self) -> str:
        try:
            number = self._path.read_text(errors="replace").strip()
        except OSError:
            return ""
        return f" (process {number})" if number.isdecimal() else ""


def is_locked(folder: Path) -> bool:
    """Whether a process writes into a folder now."""
    path = folder / NAME
    if not path.is_file():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False
