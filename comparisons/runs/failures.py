"""An engine that cannot compute what the other one computes: that is a disagreement, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyvae.engines.engine import DivergedError, Engine
from pyvae.errors import UserError
from r_bridge.errors import RProcessError
from r_bridge.process.client import NO_MEMORY

__all__ = ["EngineFailure", "Guarded"]

NO_ROOM = (*NO_MEMORY, "can't allocate memory")  # PyTorch's words, too
DOING = {
    "start": "its start",
    "step": "a step",
    "restore": "going on from a state",
    "latent_means": "latent means",
    "decode": "decoded samples",
}


class EngineFailure(Exception):  # noqa: N818 (a finding, not a mistake of the caller)
    """An engine could not compute something of a run.

    Attributes:
        engine: Its name.
        error: What it raised.
        during: What it was computing, in words.
    """

    def __init__(self, engine: str, error: Exception, during: str = DOING["step"]) -> None:
        self.engine, self.error, self.during = engine, error, during
        super().__init__(" ".join(str(error).split()) or type(error).__name__)

    def words(self, step: int) -> str:
        """What failed, in a line.

        Arguments:
            step: The step that it did not take, counted from 1.
        """
        if isinstance(self.error, DivergedError):
            return f"{self.engine}: {self.error.problem}"
        what = f"step {step}" if self.during == DOING["step"] else self.during
        return f"{self.engine} fails in {what}: {self}"


class Guarded:
    """An engine whose failures in computing are told from those of what is around it (a disk, a
    terminal): they are raised as `EngineFailure`.

    A process that died, memory that was not to be had, and settings that an engine cannot take say
    nothing about the network: those errors pass as they are. So does `DivergedError`, which the
    training loop completes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if name not in DOING:
            return value

        def computing(*arguments: Any, **options: Any) -> Any:
            with self._telling(DOING[name]):
                return value(*arguments, **options)

        return computing

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except (RProcessError, DivergedError, MemoryError):
            raise
        except Exception as error:
            if what == DOING["start"] and isinstance(error, UserError):
                raise
            if any(words in str(error) for words in NO_ROOM):
                raise UserError(str(error)) from error
            raise EngineFailure(self._engine.name, error, what) from error
