"""Programs of R that compute in Python, as Keras' do, recorded in R's process.

R's package keras3 runs the Python library Keras through reticulate, so that Python's recorder sees
all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyvae.recording.given.program import Program, set_program
from pyvae.recording.record import record
from pyvae.recording.recording import running
from pyvae.recording.script import Found
from r_bridge.from_r.exchange import answers

__all__ = ["Script", "record_model", "stop"]


@answers
def record_model(
    model: object,
    optimizer: object,
    folder: str,
    options: Mapping[str, Any],
    program: str,
    environment: Mapping[str, str],
) -> None:
    """Begins to record a model, as `pyvae.record` does.

    Arguments:
        model: A model of Keras, or several by name.
        optimizer: Its optimizer, a list of several, or None.
        folder: A new folder for the trace.
        options: Further arguments of `record`.
        program: The name of R's script.
        environment: R's versions.

    Raises:
        UserError: As `record`.
    """
    set_program(Program("r", program, dict(environment)))
    record(model, optimizer, folder, **_whole_numbers(options))  # type: ignore[arg-type]


@answers
def stop(ended: str = "") -> list[str]:
    """Ends the recording that is under way.

    Arguments:
        ended: Why the program ended, if it has; else the trace is as long as was asked for.

    Returns:
        Its folder; none if nothing was being recorded.
    """
    one = running()
    if one is None:
        return []
    one.end_of_program(ended) if ended else one.stop()
    return [str(one.folder)]


class Script:
    """A script of R's, recorded from the moment that it has loaded Keras.

    Arguments:
        script: Its file.
        folder: A new folder for the trace.
        options: Further arguments of `record`.
        environment: R's versions.
    """

    def __init__(
        self, script: str, folder: str, options: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        set_program(Program("r", Path(script).name, dict(environment)))
        self._script = Path(script)
        self._found = Found(Path(folder), _whole_numbers(options))
        self._watching = ExitStack()
        self._watching.enter_context(self._found.watching())

    @answers
    def end(self, ended: str = "") -> int:
        """Ends the recording with its script, and says how many steps it has; returns that.

        Arguments:
            ended: Why the script ended, if not by itself.

        Raises:
            UserError: If the script ended by itself, and its model could not be recorded.
        """
        self._watching.close()
        if self._found.refused is not None and not ended:
            raise self._found.refused
        return self._found.end(self._script, ended, "NULL")


def _whole_numbers(options: Mapping[str, Any]) -> dict[str, Any]:
    """R's numbers are doubles."""
    return {k: int(v) if isinstance(v, float) else v for k, v in options.items()}
