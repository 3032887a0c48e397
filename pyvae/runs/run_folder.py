"""The folder that a command's runs are kept in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from pyvae.engines.engine import Engine
from pyvae.model.run import Run
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.run_json import write_run

__all__ = ["RunFolder"]


def _silent(line: str) -> None:
    """Drops a line."""


class RunFolder:
    """A folder of runs, which one process at a time may write into.

    What lies in it:

        .lock                       held by the process that writes (`FolderLock`)
        run.json                    what is run, and the command (`pyvae.runs.run_json`)
        NAME/                       a folder for each run (`KeptRun`), such as `vae`, with
            trace.json ...              its trace (`Trace`),
            checkpoint-00000040 ...     its checkpoints (`Checkpoint`), and perhaps
            test_history.csv            losses on test images (`EvaluateEpochs`)

    Use it as a context manager. Everything in it is written again if somebody removes the folder
    while a run goes on.

    Arguments:
        path: Is made if need be.
        arguments: The words of the command that writes here, for `run.json`; without them there is
            none.
        log: Called with a line about what is found and done.

    Raises:
        UserError: On entering, if another process writes into the folder, or it cannot be written.

    Example:
        >>> with RunFolder(Path("runs/conv"), ["train", "conv"]) as folder:  # doctest: +SKIP
        ...     folder.write_about([run], [engine])
        ...     train(run, engine, [Keep(KeptRun(folder.path / "vae", trace), folder)])
    """

    def __init__(
        self,
        path: Path | str,
        arguments: Sequence[str] = (),
        log: Callable[[str], object] = _silent,
    ) -> None:
        self.path = Path(path)
        self.log = log
        self.arguments = arguments
        self._write_about: Callable[[], object] = lambda: None
        self._lock = FolderLock(self.path)

    def __enter__(self) -> RunFolder:
        self._lock.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def write_about(self, runs: Sequence[Run], engines: Sequence[Engine]) -> None:
        """Writes `run.json`: what is run, and which engines compute it."""
        if not self.arguments:
            return
        recipes = ", ".join(dict.fromkeys(run.recipe.name for run in runs))
        about = {engine.name: engine.environment() for engine in engines}
        if all(run.is_exact for run in runs):
            for environment in about.values():
                environment.pop("kernels", None)
        self._write_about = partial(
            write_run, self.path, self.arguments, recipes, [run.settings for run in runs],
            runs[0].data.describe(), about,
            runs[0].recipe.file,
            [{} if run.start is None else run.start.describe() for run in runs],
        )  # fmt: skip
        self._write_about()

    def make_again(self) -> bool:
        """Makes the folder again, with `run.json`, if it was removed.

        Returns:
            Whether it had been removed, with all that was in it.

        Raises:
            UserError: If meanwhile another run has begun in it.
        """
        if not self._lock.check():
            return False
        self.log(f"'{self.path}' was removed: writing it again")
        self._write_about()
        return True
