"""Showing how far the runs of a comparison are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from comparisons.steps.pair import Pair
from pyvae.model.run import Run
from pyvae.training.callbacks import Callback

__all__ = ["ProgressOf", "not_shown", "shown"]

# Makes a callback that shows the progress of what is named.
ProgressOf = Callable[[str, Run], Callback]


def not_shown(title: str, run: Run) -> Callback:
    """Shows nothing."""
    return Callback()


@contextmanager
def shown(title: str, pair: Pair, progress: ProgressOf) -> Iterator[Callback]:
    """The callback of steps that both engines take side by side: starts it, and ends it."""
    callback = progress(f"{' and '.join(pair.names)}, {title}", pair.run)
    callback.on_start(pair.run, pair.new_traces()[1])
    try:
        yield callback
    except BaseException as error:
        callback.on_end(None, error)
        raise
    callback.on_end(None, None)
