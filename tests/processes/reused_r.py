"""R processes that serve one test after another: an R takes a second to start, and an empty one
is as good as a new one."""

from __future__ import annotations

from pathlib import Path

from r_bridge.process.client import RProcess

__all__ = ["ReusedR"]

EMPTY = """local({
  everything <- ls(globalenv(), all.names = TRUE)
  rm(list = grep("^bridge_", everything, value = TRUE, invert = TRUE), envir = globalenv())
})
NULL"""


class ReusedR:
    """Stands for `RProcess`: takes one that was closed before, empties it and sources again.

    Only one that was idle when it was closed is taken again: not one that died or was stopped.
    """

    def __init__(self) -> None:
        self.free: list[_Process] = []

    def __call__(self, sources: tuple[Path, ...] = (), threads: int = 1) -> RProcess:
        made = (one for one in reversed(self.free) if one.made_for == (sources, threads))
        process = next(made, None)  # the one that was closed last
        if process is None:
            return _Process(self, sources, threads)
        self.free.remove(process)
        try:
            process.evaluate(EMPTY)
            for source in sources:
                process.call("bridge_source", file=str(source))
        except BaseException:
            process.end()
            raise
        return process

    def end(self) -> None:
        for process in self.free:
            process.end()


class _Process(RProcess):
    def __init__(self, pool: ReusedR, sources: tuple[Path, ...], threads: int) -> None:
        self.pool: ReusedR | None = None  # until it has started
        self.made_for = sources, threads
        super().__init__(sources, threads)
        # functions are sourced for each test: to compile them takes longer than what they do
        self.evaluate("compiler::enableJIT(0)\nNULL")
        self.pool = pool

    def close(self) -> None:
        if self.pool is None or not self._idle or self._process.poll() is not None:
            self.end()
        elif self not in self.pool.free:
            self.pool.free.append(self)

    def end(self) -> None:
        super().close()
