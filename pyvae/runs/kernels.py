"""Which kernels a run that is kept goes on with: those that it began with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyvae.engines.engine import Engine
from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE
from pyvae.model.kernels.choice import KERNELS
from pyvae.trace.header import read_about
from pyvae.training.checkpoint import Checkpoint

__all__ = ["as_begun", "kept_kernels"]


def kept_kernels(folder: Path) -> str | None:
    """Which kernels a run began with, as `PyTorchEngine` names them: PyTorch's where it does not
    say so, as none did before there were others. None if the folder holds no run that can be
    read, or one with kernels that are not known here."""
    found = Checkpoint.find(folder).checkpoint
    environment = None if found is None else found.run.get("environment")
    if environment is None:
        try:
            environment = read_about(folder / "trace.json")["environment"]
        except (UserError, *UNREADABLE):
            return None
    kernels = environment.get("kernels", "torch") if isinstance(environment, dict) else None
    return kernels if kernels in KERNELS else None


@contextmanager
def as_begun(engine: Engine, folders: Iterable[Path]) -> Iterator[None]:
    """Lets an engine that has a choice of kernels compute with those that the runs of some folders
    began with, within the block.

    A run would else not go on with the same bits: it would be taken for another one.
    """
    chosen = getattr(engine, "kernels", None)
    begun = next(filter(None, map(kept_kernels, folders)), None)
    if chosen is None or begun is None:
        yield
        return
    engine.kernels = begun  # type: ignore[attr-defined]
    try:
        yield
    finally:
        engine.kernels = chosen  # type: ignore[attr-defined]
