"""Jobs: pieces of work that any process can do.

Images are shared as files, written once for all jobs of a command and read once by each process.
As arguments they would be sent with every job (MNIST has 47 MB). In the memory of a cluster's
workers they would be lost with the last worker that is killed, and the jobs with them. Loaded by
name they would have to be on every machine. What is trained needs a shared folder anyway.
"""

from __future__ import annotations

import platform
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE
from pyvae.version import __version__

__all__ = ["Finished", "Job", "Shared", "Workers", "do", "read_back", "share", "versions"]

ARRIVES = 10.0  # seconds until a shared file system shows what another machine has written
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        key: Identifies it when it is done.
        name: Its name in an error.
        function: Does it; can be imported by its name. It is called with `arguments`, then a list
            of the images, and last `on_step`, which it calls after every step: that raises an
            error if the job is not wanted any more.
        arguments: For the function.
        images: The keys of the shared images that it needs.
    """

    key: str
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    images: tuple[str, ...]


class Finished(NamedTuple):
    """A job that is done, what its function returned, and on which worker (empty: one of this
    machine)."""

    job: Job
    result: Any
    where: str = ""


class Workers(Protocol):
    """Does jobs: `pyvae.parallel.processes.Processes` and `pyvae.parallel.dask_client.Cluster`."""

    lasting: bool  # whether their processes outlive the jobs, which must leave nothing in them

    @property
    def at_once(self) -> int:
        """How many jobs are done at the same time."""

    def share(self, jobs: int) -> float:
        """The part of its threads' time that each of so many jobs gets that are done at the same
        time, as far as it is known."""

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """Does jobs in parallel. Closing the generator ends those that are under way.

        Arguments:
            jobs: The jobs.
            images: What they need, by key.
            folder: Where the jobs write; workers on other machines must see it, too.

        Yields:
            The jobs, as they finish.

        Raises:
            UserError: If one fails, or a process is lost.
        """

    def __str__(self) -> str:
        """Number and kind of the workers, for a line at the start."""


class SharedImages(NamedTuple):
    """Images in a file."""

    file: Path
    name: str
    source: str
    sha256: str


@dataclass(frozen=True)
class Shared:
    """What all jobs of a command share.

    Attributes:
        images: By key.
        threads: PyTorch's, for each job; another number changes the order of sums.
        versions: Of Python and the packages that the numbers depend on.
    """

    images: Mapping[str, SharedImages]
    threads: int
    versions: Mapping[str, str]

    @property
    def wanted(self) -> bool:
        """Whether the client that submitted the jobs is still there."""
        return all(images.file.is_file() for images in self.images.values())


@contextmanager
def share(
    images: Mapping[str, ImageData], threads: int, folder: Path | None = None
) -> Iterator[Shared]:
    """Writes images for other processes, and removes them at the end.

    Arguments:
        images: By key.
        threads: PyTorch's, for each job.
        folder: That all processes see; by default the system's for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".images-") as place:
        written = {}
        for number, (key, data) in enumerate(images.items()):
            file = Path(place).resolve() / f"{number}.npz"
            arrays = {"pixels": data.pixels, "labels": data.labels}
            there = {name: value.numpy() for name, value in arrays.items() if value is not None}
            np.savez(file, **there)  # type: ignore[arg-type]
            written[key] = SharedImages(file, data.name, data.source, data.checksum)
        yield Shared(written, threads, versions())


def versions() -> dict[str, str]:
    """The versions that the numbers depend on, in this process."""
    return {
        "python": platform.python_version(),
        "pyvae": __version__,
        "torch": torch.__version__,
    }


def do(job: Job, shared: Shared, on_step: Callable[[], object] = lambda: None) -> Any:
    """Does a job in this process.

    Arguments:
        job: The job.
        shared: What it needs.
        on_step: The job calls it after every step; raises an error to end the job.

    Raises:
        UserError: If the images cannot be read, or the job fails.
    """
    torch.set_num_threads(shared.threads)
    return job.function(*job.arguments, [_load(shared.images[key]) for key in job.images], on_step)


_loaded: dict[Path, ImageData] = {}


def _load(images: SharedImages) -> ImageData:
    """Reads images that `share` wrote, once in a process."""
    if images.file not in _loaded:
        for file in [file for file in _loaded if file.parent != images.file.parent]:
            del _loaded[file]  # of an earlier command
        try:
            with np.load(images.file, allow_pickle=False) as arrays:
                pixels = torch.from_numpy(arrays["pixels"])
                labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None
        except FileNotFoundError as error:
            raise UserError(
                f"{platform.node()} cannot see '{images.file.parent.parent}'",
                "choose an --out folder on a shared file system",
            ) from error
        except (*UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
            raise _changed(images) from error
        data = ImageData(images.name, pixels, labels, images.source)
        if data.checksum != images.sha256:
            raise _changed(images)
        _loaded[images.file] = data
    return _loaded[images.file]


def _changed(images: SharedImages) -> UserError:
    return UserError(
        f"the images in '{images.file}' have changed since they were written",
        "run the same command again",
    )


def read_back(read: Callable[[], T | None], path: Path, where: str) -> T:
    """Reads what a worker has written, waiting a while for a shared file system to show it.

    Arguments:
        read: Returns it, or None while there is nothing.
        path: The path that it reads.
        where: The worker that wrote it; empty: one of this machine.

    Raises:
        UserError: If it cannot be read.
    """
    deadline = time.monotonic() + (ARRIVES if where else 0)
    while (found := read()) is None:
        if time.monotonic() > deadline:
            raise _absent(path, where)
        time.sleep(0.2)
    return found


def _absent(path: Path, where: str) -> UserError:
    if not where:
        return UserError(f"'{path}' was written but cannot be read", "run the same command again")
    return UserError(
        f"worker {where} has written '{path}', which cannot be seen here",
        "choose an --out folder on a shared file system",
    )
