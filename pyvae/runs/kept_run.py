"""A run and its folder: what an earlier process left of it, and writing it as it goes on.

A run goes on from its last checkpoint without a changed bit: parameters, Adam's moments, the
position in the stream of random numbers, the epoch's order of the images and the losses until then
are kept in full.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyvae.environment import read_seconds
from pyvae.errors import UserError
from pyvae.files.writing import output_folder
from pyvae.model.start import start_name
from pyvae.trace.header import RECIPE_FILE
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.checkpoint import Checkpoint, run_identity

__all__ = ["KeptRun", "checkpoint_seconds"]

AGAIN = ": starting again"
UNSAID = {"precision": "full", "kernels": "torch"}  # what an environment does not name
EVERY = 20.0  # seconds between checkpoints, unless PYVAE_CHECKPOINT_SECONDS says otherwise


def checkpoint_seconds() -> float:
    """Between two checkpoints: $PYVAE_CHECKPOINT_SECONDS, else 20.

    Raises:
        UserError: If it is not a number of seconds.
    """
    return read_seconds("PYVAE_CHECKPOINT_SECONDS", EVERY, or_zero=True, most=math.inf)


class KeptRun:
    """A run and the folder in which it is kept.

    Arguments:
        folder: The run's own; is made when there is something to write.
        trace: Of the run that is about to start; is filled with what is found.
        every: Seconds between checkpoints; by default $PYVAE_CHECKPOINT_SECONDS, else 20.
        afresh: Begin at the beginning, whatever is there; it stays until there is something new.
        longer: A run of other epochs or steps is the same run, as far as it went: a complete one
            goes on from its end, for which a checkpoint of it stays.

    Attributes:
        found: What was found of an earlier run, in words; empty if nothing was.
        other: How the run that was found differs from this one; empty if it does not.
        taken: Whether the folder holds another run, or one that cannot be read.
        complete: Whether the earlier run came to its end: the trace is filled.
        finished: Whether there is a run that came to its end, this one or another.
        unfinished: Whether there is a checkpoint of one that did not.
        checkpoint: What to go on from: the trace holds the steps until then.
        saved: The step of the newest checkpoint; 0 if there is none.

    Raises:
        UserError: If $PYVAE_CHECKPOINT_SECONDS is not a number of seconds.
    """

    def __init__(
        self,
        folder: Path,
        trace: Trace,
        every: float | None = None,
        afresh: bool = False,
        longer: bool = False,
    ) -> None:
        self.folder = folder
        self.trace = trace
        self.longer = longer
        self.every = checkpoint_seconds() if every is None else every
        self.found = self.other = ""
        self.taken = self.complete = self.finished = self.unfinished = False
        self.checkpoint: Checkpoint | None = None
        self._last = time.monotonic()
        if not afresh:
            self._find()
        self.saved = 0 if self.checkpoint is None else self.checkpoint.step
        self._unusable = self.checkpoint is None  # what is there, if anything

    def _find(self) -> None:
        """Looks for a complete run, then for a checkpoint."""
        earlier, damage = self._earlier()
        self.finished = earlier is not None and earlier.complete
        if earlier is not None and earlier.complete and self._is_whole(earlier):
            self._take_complete(earlier)
            return
        found = Checkpoint.find(self.folder)
        damages = [*found.damages, *([damage] if damage else [])]
        if found.checkpoint is not None:
            self.unfinished = not self.finished
            self.other = self._differs(found.checkpoint.run) or self._too_far(found.checkpoint.step)
            if not self.other:
                self._take_checkpoint(found.checkpoint, found.damages)
                return
        elif damages:
            self.taken = True
            self.found = f"the run in this folder cannot be used ({'; '.join(damages)}){AGAIN}"
            return
        elif earlier is not None:
            self.other = self._differs(run_identity(earlier))
            if earlier.complete and not self.other:
                no_way = "it has no checkpoint of its last step to go on from"
                self.other = self._too_far(earlier.steps) or no_way
        if self.other:
            self.taken = True
            self.found = f"this folder holds another run ({self.other}){AGAIN}"

    def _take_complete(self, earlier: Trace) -> None:
        self.complete = True
        self._fill(earlier, earlier.steps)
        self.trace.latent_means = earlier.latent_means
        self.trace.samples = earlier.samples
        self.trace.parameters = earlier.parameters
        self.found = f"all {earlier.steps} steps were done before"

    def _take_checkpoint(self, checkpoint: Checkpoint, damages: Sequence[str]) -> None:
        self.checkpoint = checkpoint
        self._fill(checkpoint, checkpoint.step)
        how = "had ended" if self.finished else "was interrupted"
        goes_on = f"going on after step {checkpoint.step}, where it {how}"
        self.found = "; ".join([*damages, goes_on])

    def check(self, remedy: str) -> None:
        """Raises UserError where another run, or one that cannot be read, would be replaced."""
        if not self.taken:
            return
        if not self.other:
            raise UserError(f"'{self.folder}': {self.found.removesuffix(AGAIN)}", remedy)
        how = ", which was interrupted" if self.unfinished else ""
        how = ", which is finished" if self.finished else how
        raise UserError(f"'{self.folder}' holds another run{how} ({self.other})", remedy)

    def _is_whole(self, earlier: Trace) -> bool:
        """Whether a complete run is all of this one."""
        if self._differs(run_identity(earlier)):
            return False
        return not self.longer or earlier.steps == self._steps

    @property
    def _steps(self) -> int:
        return self.trace.settings.total_steps(self.trace.data["images"])

    def _too_far(self, step: int) -> str:
        """In words, that more steps were done than this run has; empty if not."""
        if not self.longer or step <= self._steps:
            return ""
        return f"{step} steps are done, now {self._steps}"

    def _earlier(self) -> tuple[Trace | None, str]:
        """The trace that is there, or why it cannot be read."""
        if not (self.folder / "trace.json").is_file():
            return None, ""
        try:
            return Trace.load(self.folder), ""
        except UserError as error:
            return None, error.problem

    def _differs(self, earlier: Mapping[str, Any]) -> str:
        """How an earlier run differs from this one; empty if it does not."""
        now = run_identity(self.trace)
        # the same images may lie elsewhere: their checksum is among what is compared
        allowed = {("data", "source")}
        if self.longer:
            allowed |= {("settings", "epochs"), ("settings", "steps")}
        starts = [about.get("start", {}) for about in (earlier, now)]
        if starts[0].get("sha256") != starts[1].get("sha256"):
            was, is_now = map(start_name, starts)
            another = "another " if is_now == was else ""
            return f"start {was}, now {another}{is_now}"
        for name in ("engine", "recipe", "settings", "data", "mode", "environment"):
            old, new = earlier.get(name), now[name]
            if not (isinstance(old, dict) and isinstance(new, dict)):
                if old != new:
                    return f"{name} {old}, now {new}"
                continue
            for key in {**old, **new}:
                if key == RECIPE_FILE and old.get(key) != new.get(key):
                    return "the recipe's file has changed since"
                if old.get(key) != new.get(key) and (name, key) not in allowed:
                    values = [one.get(key, UNSAID.get(key)) for one in (old, new)]
                    return f"{key} {values[0]}, now {values[1]}"
        return ""

    def _fill(self, earlier: Trace | Checkpoint, steps: int) -> None:
        self.trace.losses = earlier.losses[:steps]
        self.trace.epochs = earlier.epochs[:steps]

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._last >= self.every

    def save(self, now: Progress) -> None:
        """Writes a checkpoint of the step that was just done, and the trace up to it.

        None is written if its numbers are not finite: the one before is worth more.

        Raises:
            UserError: If it cannot be written.
        """
        if self.saved == now.step:
            return
        output_folder(self.folder)
        self._make_room()
        checkpoint = now.checkpoint()  # completes the trace
        self._last = time.monotonic()
        if checkpoint.is_finite:
            self.trace.save(self.folder)
            checkpoint.save(self.folder)
            self.saved = now.step

    def save_trace(self) -> None:
        """Writes the trace as it stands.

        Checkpoints of an incomplete run stay; of those of a complete run only the one of the last
        step does, if the run may be made longer.
        """
        output_folder(self.folder)
        self._make_room()
        self.trace.save(self.folder)
        if self.trace.complete:
            Checkpoint.remove(self.folder, but=self.trace.steps if self.longer else None)

    def _make_room(self) -> None:
        """Removes what cannot be gone on from.

        A run that is killed while it is being kept must not be taken for a mixture of the two.
        """
        if self._unusable:
            Checkpoint.remove(self.folder)
            Trace.remove(self.folder, keep_folder=True)
            self._unusable = False
