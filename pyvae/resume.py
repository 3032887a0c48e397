"""Keeping a run on disk as it goes, so that it can go on after an interruption.

A run goes on from its last checkpoint without a changed bit: parameters, Adam's moments, the
position in the stream of random numbers and the epoch's order of the images are kept in full.
"""

from __future__ import annotations

import time
from pathlib import Path

from pyvae.checkpoint import Checkpoint
from pyvae.errors import UserError
from pyvae.files import output_folder
from pyvae.seconds import seconds_of
from pyvae.trace import Trace
from pyvae.training import Progress

__all__ = ["KeptRun"]

EVERY = 20.0  # seconds between checkpoints, unless PYVAE_CHECKPOINT_SECONDS says otherwise


class KeptRun:
    """A run and the folder in which it is kept.

    Arguments:
        folder: The trace's own; is made when there is something to keep.
        trace: Of the run that is about to start; is filled with what is found.
        every: Seconds between checkpoints; by default $PYVAE_CHECKPOINT_SECONDS, else 20.

    Attributes:
        found: What was found of an earlier run, in words; empty if nothing was.
        taken: Whether the folder holds another run, or one that cannot be read.
        complete: Whether the earlier run came to its end: the trace is filled.
        checkpoint: What to go on from, if it did not: the trace holds the steps until then.
    """

    def __init__(self, folder: Path, trace: Trace, every: float | None = None) -> None:
        self.folder = folder
        self.trace = trace
        if every is None:
            every = seconds_of("PYVAE_CHECKPOINT_SECONDS", EVERY, or_zero=True)
        self.every = every
        self.found = ""
        self.taken = False
        self.complete = False
        self.checkpoint: Checkpoint | None = None
        self._last = time.monotonic()
        self._look()
        self._unusable = self.checkpoint is None  # what is there, if anything

    def _look(self) -> None:
        if not (self.folder / "trace.json").is_file():
            return
        try:
            earlier = Trace.load(self.folder)
            checkpoint = Checkpoint.load(self.folder)
        except UserError as error:
            self.taken = True
            self.found = f"what was kept cannot be used ({error}): starting again"
            return
        other = self._differs(earlier)
        if other:
            self.taken = True
            self.found = f"what was kept is of another run ({other}): starting again"
        elif earlier.complete:
            self.complete = True
            self._fill(earlier, earlier.steps)
            self.trace.latent_means = earlier.latent_means
            self.trace.samples = earlier.samples
            self.trace.parameters = earlier.parameters
            self.found = f"all {earlier.steps} steps were done before"
        elif checkpoint is not None and checkpoint.step <= earlier.steps:
            self.checkpoint = checkpoint
            self._fill(earlier, checkpoint.step)
            self.found = f"going on after step {checkpoint.step}, where it was interrupted"

    def _differs(self, earlier: Trace) -> str:
        """In what an earlier run is another than this one; empty if in nothing."""
        for name in ("engine", "recipe", "settings", "data", "mode", "environment"):
            old, new = getattr(earlier, name), getattr(self.trace, name)
            if old == new:
                continue
            if name == "settings":
                old, new = old.as_dict(), new.as_dict()
            if isinstance(old, dict):
                for key in {**old, **new}:
                    if old.get(key) != new.get(key):
                        return f"{key} {old.get(key)}, now {new.get(key)}"
            return f"{name} {old}, now {new}"
        return ""

    def _fill(self, earlier: Trace, steps: int) -> None:
        self.trace.losses = earlier.losses[:steps]
        self.trace.epochs = earlier.epochs[:steps]

    def observe(self, progress: Progress) -> None:
        """Writes a checkpoint if it is time for one."""
        if time.monotonic() - self._last < self.every or progress.step == progress.steps:
            return
        output_folder(self.folder)
        self._make_room()
        checkpoint = progress.checkpoint()  # completes the trace
        self.trace.save(self.folder)  # first: a checkpoint without its losses is of no use
        checkpoint.save(self.folder)
        self._last = time.monotonic()

    def finish(self) -> None:
        """Writes the complete trace, if anything had been kept, so that it is not run again."""
        if self.folder.is_dir() and not self.complete:
            self.keep()

    def keep(self) -> None:
        """Writes the trace as it stands; the last checkpoint stays, unless the run is complete."""
        output_folder(self.folder)
        self._make_room()
        self.trace.save(self.folder)
        if self.trace.complete:
            Checkpoint.remove(self.folder)

    def _make_room(self) -> None:
        """Removes what cannot be gone on from: a run that is killed while it is being kept must
        not be taken for a mixture of the two."""
        if self._unusable:
            Trace.remove(self.folder, keep_folder=True)
            self._unusable = False
