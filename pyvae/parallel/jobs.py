"""Jobs: pieces of work that depend on nothing but what they are given, done in any process.

Images are given as files, once for all jobs of a command, and looked for by each process once. As
an argument of every job they would be sent with each of them (MNIST has 47 MB). Held in the
memory of a cluster's workers they would be lost with the last worker that is killed, and the jobs
with them; loaded there by name they would have to be on every machine. A folder that all of them
see has to be there anyway, for what is trained.
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
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE

__all__ = ["Finished", "Job", "Shared", "Workers", "do", "read_back", "share", "versions"]

ARRIVES = 10.0  # seconds until a shared file system shows what another machine has written
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        key: By which it is known again when it is done.
        name: What it is called in an error.
        function: One that can be imported by its name. It is called with `arguments`, then a list
            of the images, and last a function that it calls after every step: that raises where
            the work is not wanted any more.
        arguments: What it is given.
        images: Which of the shared images it is given, by key.
    """

    key: str
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    images: tuple[str, ...]


class Finished(NamedTuple):
    """A job that is done: which, what its function returned, and where that was (empty: on this
    machine)."""

    job: Job
    result: Any
    where: str = ""


class Workers(Protocol):
    """Who does jobs: `pyvae.parallel.processes.Processes`, `pyvae.parallel.dask_client.Cluster`."""

    lasting: bool  # whether their processes go on afterwards, and are to be left as they were

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """Does all jobs, so many at a time; what is under way at the end is ended.

        Arguments:
            jobs: What is to be done.
            images: What the jobs' keys mean.
            folder: Where the jobs write: workers on other machines see it, too.

        Yields:
            The jobs, as they are done.

        Raises:
            UserError: If one fails, or a process is lost.
        """

    def __str__(self) -> str:
        """Who they are, for a line at the start."""


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
        threads: PyTorch's, for each job: another number changes the order of sums.
        versions: What the numbers depend on.
    """

    images: Mapping[str, SharedImages]
    threads: int
    versions: Mapping[str, str]

    @property
    def wanted(self) -> bool:
        """Whether who gave the jobs is still there."""
        return all(images.file.is_file() for images in self.images.values())


@contextmanager
def share(
    images: Mapping[str, ImageData], threads: int, folder: Path | None = None
) -> Iterator[Shared]:
    """Writes images for other processes, for as long as they are needed.

    Arguments:
        images: By key.
        threads: For each job.
        folder: One that all processes see; by default the system's for temporary files.
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
    """Of what the numbers depend on, in this process."""
    return {
        "python": platform.python_version(),
        "pyvae": metadata.version("pyvae"),
        "torch": torch.__version__,
    }


def do(job: Job, shared: Shared, ask: Callable[[], object] = lambda: None) -> Any:
    """Does a job in this process.

    Arguments:
        job, shared: What.
        ask: Handed to the job: raises where the work is not wanted any more.

    Raises:
        UserError: If the images are not there, or the job fails.
    """
    torch.set_num_threads(shared.threads)
    return job.function(*job.arguments, [_load(shared.images[key]) for key in job.images], ask)


_loaded: dict[Path, ImageData] = {}


def _load(images: SharedImages) -> ImageData:
    """Images from a file that `share` wrote; read once."""
    if images.file not in _loaded:
        for file in [file for file in _loaded if file.parent != images.file.parent]:
            del _loaded[file]  # of an earlier command
        try:
            with np.load(images.file, allow_pickle=False) as arrays:
                pixels = torch.from_numpy(arrays["pixels"])
                labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None
        except FileNotFoundError as error:
            raise UserError(
                f"'{images.file.parent.parent}' on {platform.node()} is not what it is here",
                "choose another with --out",
                expected="a folder that all workers share",
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
        f"the images in '{images.file}' are not those that were written there",
        "run the same command again",
        expected=f"SHA-256 {images.sha256}",
    )


def read_back(read: Callable[[], T | None], path: Path, where: str) -> T:
    """What a worker has written, as this machine sees it.

    Arguments:
        read: Returns it, or None where there is nothing.
        path: What is read.
        where: On which worker it was written; empty: on this machine.

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
        return UserError(f"'{path}' was written and cannot be read")
    return UserError(
        f"worker {where} says that it wrote '{path}', which cannot be read here",
        "choose another with --out",
        expected="a folder that all workers share",
    )
