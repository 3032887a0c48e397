"""`record`: writes down what a program does in its first steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pyvae.errors import UserError, print_error
from pyvae.files.writing import output_folder
from pyvae.recording.checks import check_model, check_optimisers
from pyvae.recording.given.in_order import pairs_in_words
from pyvae.recording.given.names import OtherNames, read_map
from pyvae.recording.given.replay import Replay
from pyvae.recording.given.start import load_start
from pyvae.recording.parameters import Parameters
from pyvae.recording.passes import Passes
from pyvae.recording.recording import Recording, running
from pyvae.trace.program import ProgramTrace
from pyvae.trace.program_folder import check_new_folder

__all__ = ["record", "record_passes"]

STOP = "it ends by itself after its last step, or with .stop() of what record returned"


def record(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Optimizer | Sequence[Optimizer] | None,
    folder: Path | str,
    *,
    steps: int | None = 3,
    every: int = 1,
    start: Path | str | None = None,
    replay: Path | str | None = None,
    names: Path | str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Recording:
    """Records the next training steps of a program, or its forward passes, for `pyvae compare`.

    It begins at once, and ends by itself after the last step; nothing else in the program changes.
    Without an optimiser a step is a call of the network with what is computed from it, until the
    next one; of several networks that are called one after the other, a step has each once.
    It can be used in a `with` block as well. No bit of the training changes, unless `start` or
    `replay` is given. If the disk is full, the recording ends, and the training goes on. A function
    (not a model) that torch.compile has compiled runs uncompiled in the recorded steps.

    Arguments:
        model: The network; or several, by name: `{"generator": g, "discriminator": d}`.
        optimizer: Its optimiser, or a list of several; None of a network that is not trained:
            its forward passes are recorded, with or without `torch.no_grad()`.
        folder: A new folder for the trace.
        steps: How many steps to record (of each optimiser); None: all, until `stop()`.
        every: Record every so many steps: 10 for steps 1, 11, 21, ...
        start: A trace from whose initial parameters and buffers the model starts.
        replay: A trace whose dropout masks and draws replace the program's own in the recorded
            steps.
        names: For both: a CSV file with the columns a and b, such as the `names.csv` that `pyvae
            compare` writes, which says what a parameter, a layer, or a module with all that is in
            it, is called on the other side.
        overwrite: Whether a trace that the folder holds already may be replaced.
        quiet: Whether the line on standard error that says how much is recorded is left out.

    Raises:
        UserError: If the arguments do not fit together; the message says what to do.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with record(model, optimizer, "python", steps=1):
        ...     model(torch.ones(3, 2)).sum().backward()
        ...     optimizer.step()
    """
    network = check_model(model)
    optimisers = None if optimizer is None else check_optimisers(network, optimizer)
    given = _Given(Path(folder), network, steps, every, start, replay, names, overwrite, quiet)
    if optimisers is None:
        return _passes(given)
    given.load(Parameters(network, optimisers))
    output_folder(given.folder)
    recording = Recording(network, optimisers, given.folder, steps, every, given.fed, quiet)
    recording.begin()
    return recording


def record_passes(
    folder: Path, whole: Callable[[nn.Module], tuple[nn.Module, str]], **options: Any
) -> Passes:
    """Records the next forward passes of a program, of whatever networks it calls.

    Arguments:
        folder: As in `record`.
        whole: Returns the outermost module that a module is part of, and its name.
        **options: As in `record`.

    Raises:
        UserError: As `record`.
    """
    return _passes(_Given(folder, None, **options), whole)


def _passes(
    given: _Given, whole: Callable[[nn.Module], tuple[nn.Module, str]] | None = None
) -> Passes:
    if given.network is not None:
        given.load(Parameters(given.network, []))
    output_folder(given.folder)
    recording = Passes(
        given.network, given.folder, given.steps, given.every, given.fed, given.load, given.quiet,
        whole,
    )  # fmt: skip
    recording.begin()
    return recording


@dataclass
class _Given:
    """The arguments that say what is recorded and what it begins with, checked."""

    folder: Path
    network: nn.Module | None
    steps: int | None = 3
    every: int = 1
    start: Path | str | None = None
    replay: Path | str | None = None
    names: Path | str | None = None
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        _check_counts(self.steps, self.every)
        _check_running(self.network)
        self._mine: list[str] = []  # the names of the networks' parameters
        self._began = None if self.start is None else ProgramTrace.load(self.start)
        self.fed = None if self.replay is None else Replay(ProgramTrace.load(self.replay))
        check_new_folder(self.folder, self.overwrite)

    def load(self, parameters: Parameters) -> None:
        """Lets a network start from the parameters of another trace, if one was given."""
        self._mine += parameters.names()
        mapped = OtherNames() if self.names is None else read_map(Path(self.names), self._mine)
        if self.fed is not None:
            self.fed.names = mapped
        if self._began is not None:
            ordered = load_start(parameters, self._began, mapped)
            if ordered and not self.quiet:
                print_error(
                    f"begins with '{self._began.folder}' in its order: {pairs_in_words(ordered)}"
                )


def _check_counts(steps: int | None, every: int) -> None:
    for name, value in (("steps", steps), ("every", every)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"{name}={value}", expected="1 or more")


def _check_running(model: nn.Module | None) -> None:
    one = running()
    if one is not None and model is not None and one.shares(model):
        raise UserError(
            f"the model is being recorded already, to '{one.folder}'",
            f"call record once, or end that recording first: {STOP}",
        )
    if one is not None:
        raise UserError(
            f"another model is being recorded, to '{one.folder}'",
            "record both at once: record({'a': model, 'b': other}, [optimizer, other_optimizer], "
            f"...), or end that recording first: {STOP}",
        )
