"""Keeping a run on disk while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pyvae.engines.data_parallel import ALONE
from pyvae.engines.engine import Engine
from pyvae.errors import UserError
from pyvae.files.arrays import write_arrays
from pyvae.files.writing import output_folder, remove_remains
from pyvae.model.run import Run
from pyvae.runs.callbacks.stop_on_signal import StopOnSignal
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress
from pyvae.training.loop import train

__all__ = [
    "Keep",
    "KeepParameters",
    "train_kept",
]


class Keep(Callback):
    """Keeps a run in its folder, to go on from after an interruption.

    Writes a checkpoint every PYVAE_CHECKPOINT_SECONDS, after a step in which another callback
    failed or was interrupted, and after the last step of a run that may be made longer; at the end
    the trace, complete, or as far as the run came.

    Arguments:
        kept: The run, and what was found of it.
        folder: What the run's folder lies in: made again if it was removed meanwhile.
        temporary: The complete trace goes elsewhere: a run that never needed a checkpoint leaves
            nothing here.

    Example:
        >>> kept = KeptRun(Path("runs/mine"), Trace.of_run(run, engine))  # doctest: +SKIP
        >>> callbacks = [StopOnSignal(), Keep(kept)]  # doctest: +SKIP
        >>> train(  # doctest: +SKIP
        ...     run, engine, callbacks, trace=kept.trace, resume=kept.checkpoint
        ... )
    """

    def __init__(
        self, kept: KeptRun, folder: RunFolder | None = None, *, temporary: bool = False
    ) -> None:
        self.kept = kept
        self.folder = folder
        self.temporary = temporary
        self._lost = False

    def on_step(self, now: Progress) -> None:
        made_again = self._make_again()
        if now.step < now.steps and (made_again or self.kept.is_due()):
            self.kept.save(now)

    def on_last_step(self, now: Progress) -> None:
        if self.kept.longer:
            self.kept.save(now)

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        if self._lost:
            return
        if error is None:
            self._save_trace()
            remove_remains(self.kept.folder)
            return
        with suppress(UserError, OSError):  # the first error is the one to be told
            if now is not None:
                self.kept.save(now)
            if self.kept.trace.steps:
                self._save_trace()

    def _make_again(self) -> bool:
        """Makes the folder again if it was removed; another run may have taken it meanwhile."""
        try:
            return self.folder is not None and self.folder.make_again()
        except UserError:
            self._lost = True
            raise

    def _save_trace(self) -> None:
        if not self.temporary or self.kept.folder.is_dir():
            self.kept.save_trace()


class KeepParameters(Callback):
    """Writes the parameters each time so many epochs are done.

    Arguments:
        folder: The run's own; gets `checkpoints/epoch-010.safetensors` and so on.
        every: Epochs.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder / "checkpoints"
        self.every = every

    def on_step(self, now: Progress) -> None:
        if not now.epoch_ended:
            return
        epoch = int(now.trace.epochs[-1])
        if epoch % self.every == 0:
            path = output_folder(self.folder) / f"epoch-{epoch:03d}.safetensors"
            write_arrays(path, now.engine.parameters())

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        if error is None:
            remove_remains(self.folder)


def train_kept(
    run: Run,
    engine: Engine,
    kept: KeptRun,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    folder: RunFolder | None = None,
) -> Trace:
    """Trains what is left of a run that is kept, and stops on a signal where it can go on from.

    Arguments:
        run, engine: What is trained, and what computes it.
        kept: The run's folder; its trace is of this run and engine.
        callbacks: As for `pyvae.train`; each is called for a step before that step is kept.
        folder: What the run's folder lies in.

    Of several processes that share a batch, the first one keeps the run.

    Raises:
        UserError: If the run cannot be trained, or the folder not be written.
        KeyboardInterrupt: After a signal; if it came in the last step, the run is complete.
    """
    if kept.complete:
        return kept.trace
    called = [*callbacks, StopOnSignal()]
    if getattr(engine, "shares", ALONE).is_first:
        called.append(Keep(kept, folder))
    return train(run, engine, called, trace=kept.trace, resume=kept.checkpoint)
