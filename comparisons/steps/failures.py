"""Disagreement because one engine fails where the other computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyvae.engines.engine import DivergedError, Engine
from pyvae.engines.errors import is_outage
from pyvae.errors import UserError

__all__ = ["EngineFailure", "Guarded"]

DOING = {
    "start": "its start",
    "step": "a step",
    "restore": "going on from a state",
    "latent_means": "latent means",
    "decode": "decoded samples",
}


class EngineFailure(Exception):  # noqa: N818 (a finding, not a mistake of the caller)
    """An engine failed to compute something of a run.

    Attributes:
        engine: Its name.
        error: What it raised.
        during: What it was computing, in words.
    """

    def __init__(self, engine: str, error: Exception, during: str = DOING["step"]) -> None:
        self.engine, self.error, self.during = engine, error, during
        super().__init__(" ".join(str(error).split()) or type(error).__name__)

    def words(self, step: int) -> str:
        """Says in a line what failed.

        Arguments:
            step: The step that it did not take, counted from 1.
        """
        if isinstance(self.error, DivergedError):
            return f"{self.engine}: {self.error.problem}"
        what = f"step {step}" if self.during == DOING["step"] else self.during
        return f"{self.engine} fails in {what}: {self}"


class Guarded:
    """An engine that raises its failures to compute as `EngineFailure`, so that they can be told
    from failures around it (a full disk, a closed terminal).

    Outages (`pyvae.engines.engine.is_outage`: a process that died, no memory) and settings that an
    engine cannot take say nothing about the network: those errors pass unchanged. So does
    `DivergedError`, which the training loop completes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if name not in DOING:
            return value

        def computing(*arguments: Any, **options: Any) -> Any:
            with self._wrapping(DOING[name]):
                return value(*arguments, **options)

        return computing

    @contextmanager
    def _wrapping(self, what: str) -> Iterator[None]:
        try:
            yield
        except (DivergedError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, UserError) and (what == DOING["start"] or is_outage(error)):
                raise
            if is_outage(error):
                raise UserError(str(error)) from error
            raise EngineFailure(self._engine.name, error, what) from error
