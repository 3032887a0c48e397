"""The trace of any program (format 5): it carries the network that was executed.

A saved trace is a folder with `trace.json` (the network, the optimiser's settings, versions) and
`steps/step-000001.safetensors`, ... with the values of each recorded step. Whoever reads it needs
neither the program nor a recipe. docs/reference/trace-of-a-program.md describes the format for
other languages. Nothing in a trace is ever executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.files.arrays import StoredArrays, read_arrays, write_arrays
from pyvae.files.html import notebook_html
from pyvae.files.reading import UNREADABLE
from pyvae.files.writing import output_folder
from pyvae.trace.program_header import (
    PROGRAM_FORMAT,
    json_option,
    read_program_header,
    write_program_header,
)
from pyvae.trace.trace_folder import header_of
from pyvae.trace.values_table import COLUMNS, value_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PROGRAM_FORMAT",
    "Optimiser",
    "OptimiserGroup",
    "ProgramParameter",
    "ProgramStage",
    "ProgramStep",
    "ProgramTrace",
    "is_program_trace",
    "step_path",
]

StepArrays = dict[str, NDArray]


@dataclass(frozen=True)
class ProgramStage:
    """One call of a layer or function, as it was executed.

    Attributes:
        name: The module's path in the network (`features.1`); of a function the path of the module
            that calls it and the function's name (`encoder.relu`). The second call has `#2`.
        layer: What it computes: the class of PyTorch's module in snake case (`batch_norm2d`), or
            the name of the ATen function (`cat`); `input` for a tensor that comes from outside,
            `draw` for random numbers.
        inputs: The values that go in, in the order of the arguments: each the name of an output of
            an earlier stage, or of a parameter or buffer.
        options: Its settings by the names of PyTorch's attributes or arguments; JSON values.
        parameters: The parameters and buffers that it takes, by role (`weight`, `bias`, ...): the
            names of parameters, buffers or outputs.
        outputs: The names of the values that it returns; (name,) if it returns one tensor.
        training: Whether the module was in training mode.
    """

    name: str
    layer: str
    inputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    outputs: tuple[str, ...] = ()
    training: bool = True

    def __post_init__(self) -> None:
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.name,))


@dataclass(frozen=True)
class ProgramParameter:
    """A parameter or buffer of the network.

    Attributes:
        name: As `state_dict` has it.
        shape: Its shape.
        kind: `parameter` or `buffer`.
        trainable: Whether a gradient is asked for.
        same_as: The name under which the same tensor is listed before (shared weights).
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "parameter"
    trainable: bool = True
    same_as: str = ""


@dataclass(frozen=True)
class OptimiserGroup:
    """Parameters that an optimiser updates with the same settings (`lr`, `weight_decay`, ...)."""

    parameters: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Optimiser:
    """An optimiser as it was in one step.

    Attributes:
        name: `optimizer`, or `optimizer.0`, `optimizer.1`, ... where there are several.
        kind: The class in snake case: `sgd`, `adam`, `adamw`, ...
        groups: Its groups of parameters.
    """

    name: str
    kind: str
    groups: tuple[OptimiserGroup, ...] = ()


@dataclass(frozen=True)
class ProgramStep:
    """One update of an optimiser, with what was computed for it; or a forward pass.

    Attributes:
        step: Counted from 1; the number of the call of the optimiser's `step`, or of the network.
        network: Which of the trace's networks was executed.
        optimiser: The optimiser that made the update; None if none did.
        generator: SHA-256 of the state of the random number generator when the step began; empty
            if it is not known.
        returned: Of a forward pass, the names of the values that the networks which the program
            calls have returned to it, in that order.
    """

    step: int
    network: int = 0
    optimiser: Optimiser | None = None
    generator: str = ""
    returned: tuple[str, ...] = ()


@dataclass
class ProgramTrace:
    """What a program did while it trained, or used a network.

    Attributes:
        engine: Who computed: `pytorch`, `r-torch`, `base-r`, or any name.
        language: `python`, `r`, or another; shown.
        index_base: From which number the language counts: classes and indices are recorded so.
        program: The program's file name; shown.
        environment: Versions and the number of threads, on which the numbers depend.
        parameters: Parameters and buffers, in the order of `state_dict`.
        networks: The stages in the order in which they were executed. Most programs execute the
            same network in every step; each different one is there once.
        steps: The recorded steps.
        complete: False if the recording ended early (`ended` says why).
        ended: Why, in words.
        folder: Where it is saved.
    """

    engine: str
    language: str = "python"
    index_base: int = 0
    program: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    parameters: list[ProgramParameter] = field(default_factory=list)
    networks: list[tuple[ProgramStage, ...]] = field(default_factory=list)
    steps: list[ProgramStep] = field(default_factory=list)
    complete: bool = True
    ended: str = ""
    folder: Path | None = None

    def network_of(self, step: int) -> tuple[ProgramStage, ...]:
        """Returns the stages that were executed in a step."""
        return self.networks[self.recorded(step).network]

    def recorded(self, step: int) -> ProgramStep:
        """Returns what is known of a step.

        Raises:
            UserError: If it was not recorded.
        """
        for one in self.steps:
            if one.step == step:
                return one
        raise UserError(
            f"step {step} of '{self.folder}' was not recorded", "record it with steps= or every="
        )

    def arrays(self, step: int) -> StepArrays:
        """Reads the values of a recorded step, by key.

        docs/reference/trace-of-a-program.md lists the keys.

        Raises:
            UserError: If it was not recorded, or the file cannot be read.
        """
        self.recorded(step)
        if self.folder is None:
            raise UserError("the trace is not saved yet", "save it to a folder first")
        path = step_path(self.folder, step)
        try:
            return read_arrays(path)
        except UNREADABLE as error:
            raise unreadable(path, error) from error

    def stored(self, step: int) -> Mapping[str, NDArray]:
        """Opens the values of a recorded step: as `arrays`, but each is read when it is asked for,
        and not kept.

        Raises:
            UserError: As `arrays`, if the file cannot be opened.
        """
        self.recorded(step)
        if self.folder is None:
            raise UserError("the trace is not saved yet", "save it to a folder first")
        path = step_path(self.folder, step)
        try:
            return StoredArrays(path)
        except UNREADABLE as error:
            raise unreadable(path, error) from error

    def losses(self) -> Iterator[tuple[int, float]]:
        """Yields each recorded step and its loss, for the steps that have one."""
        for one in self.steps:
            arrays = self.stored(one.step)
            if "loss/total" in arrays:
                yield one.step, float(arrays["loss/total"])

    def to_pandas(self) -> pd.DataFrame:
        """Returns one tidy table: a row for each recorded value of each recorded step.

        Values are read from the disk one by one: a trace may be larger than memory.

        Columns:
            step: From 1.
            kind: What was recorded: `start`, `forward`, `draw`, `gradient`, `state`, `parameter`,
                `buffer`, `loss`, ...; docs/reference/trace-of-a-program.md lists them.
            name: Of the stage's output, the parameter or the term of the loss.
            layer: The layer or function that returns it; empty of what no stage returns.
            shape, type, numbers: Such as `12x30`, `float32`, 360.
            not_finite: How many of the numbers are NaN or infinite.
            mean, sd, min, max: Over all numbers; a loss is a single one.

        Raises:
            UserError: If a step's file cannot be read.

        Example:
            >>> table = trace.to_pandas()  # doctest: +SKIP
            >>> table[table["kind"] == "gradient"].pivot(index="name", columns="step", values="sd")
            ... # doctest: +SKIP
        """
        import pandas as pd  # takes long, and a program that is recorded does without

        rows: list[dict[str, Any]] = []
        for one in self.steps:
            network = self.networks[one.network] if self.networks else ()
            layers = {output: stage.layer for stage in network for output in stage.outputs}
            rows += value_rows(one.step, self.stored(one.step), layers)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def __repr__(self) -> str:
        return f"<{self._in_words()}>"

    def _in_words(self) -> str:
        """Whose trace it is, and how far it goes."""
        steps = len(self.steps)
        words = f"Trace of {self.program or 'a program'}, {self.engine}: "
        words += f"{steps:,} step{'' if steps == 1 else 's'} recorded"
        return words if self.complete else f"{words}, ended early: {self.ended}"

    def _repr_html_(self) -> str:
        import pandas as pd

        first = self.networks[0] if self.networks else ()
        stages = [
            {
                "stage": stage.name,
                "layer": stage.layer,
                "inputs": ", ".join(stage.inputs),
                "parameters": ", ".join(stage.parameters.values()),
            }
            for stage in first
        ]
        kinds = dict.fromkeys(one.optimiser.kind for one in self.steps if one.optimiser)
        lines = (
            f"{len(first):,} stages, {len(self.parameters):,} parameters and buffers"
            + (f", optimiser {', '.join(kinds)}" if kinds else ""),
            self._losses_in_words(),
            f"saved in {self.folder}" if self.folder else "",
        )
        return notebook_html(self._in_words(), lines, pd.DataFrame(stages))

    def _losses_in_words(self, most: int = 5) -> str:
        try:
            losses = [f"{loss:.6g} in step {step}" for step, loss in islice(self.losses(), most)]
        except UserError as error:  # a notebook is read long after
            return str(error)
        more = ", ..." if len(losses) < len(self.steps) else ""
        return f"loss {', '.join(losses)}{more}" if losses else ""

    def save_step(self, folder: Path, step: ProgramStep, arrays: Mapping[str, NDArray]) -> Path:
        """Writes the values of a step, which do not stay in memory, and adds it to `steps`.

        Raises:
            UserError: If it cannot be written.
        """
        path = step_path(folder, step.step)
        if not self.steps:
            output_folder(path.parent)
        write_arrays(path, {key: np.asarray(value) for key, value in arrays.items()})
        self.steps.append(step)
        self.folder = folder
        return path

    def save(self, folder: Path) -> None:
        """Writes `trace.json`; the steps are there already (`save_step`).

        Raises:
            UserError: If it cannot be written.
        """
        if folder != self.folder:
            output_folder(folder)
        about = {name: value for name, value in vars(self).items() if name != "folder"}
        about["parameters"] = [vars(one) for one in self.parameters]
        about["networks"] = [[_stage_values(one) for one in network] for network in self.networks]
        about["steps"] = [_step_values(one) for one in self.steps]
        write_program_header(folder / "trace.json", about)
        self.folder = folder

    @classmethod
    def load(cls, folder: Path | str) -> ProgramTrace:
        """Reads a saved trace; the values of its steps stay on disk until they are needed.

        Raises:
            UserError: If the folder is not a trace of a program, or is damaged.
        """
        folder = Path(folder)
        path = header_of(folder, "record one: docs/tutorials/your-own-port.md")
        try:
            about = read_program_header(path)
            trace = cls(
                **{name: about[name] for name in SIMPLE},
                parameters=[ProgramParameter(**one) for one in about["parameters"]],
                networks=[
                    tuple(ProgramStage(**stage) for stage in network)
                    for network in about["networks"]
                ],
                steps=[_step(one) for one in about["steps"]],
                folder=folder,
            )
        except UNREADABLE as error:
            raise unreadable(folder, error) from error
        for one in trace.steps:
            if not step_path(folder, one.step).is_file():
                raise UserError(
                    f"trace '{folder}' is cut: {step_path(folder, one.step).name} is missing",
                    "copy the whole folder, or record it again",
                )
        return trace


SIMPLE = ("engine", "language", "index_base", "program", "environment", "complete", "ended")


def is_program_trace(folder: Path) -> bool:
    """Tells whether a folder holds a trace of format 5, from its first bytes alone; False if it
    holds none, or an older one."""
    try:
        with (folder / "trace.json").open("rb") as file:
            start = file.read(200)
    except OSError:
        return False
    return b'"format":5' in start.replace(b" ", b"").replace(b"\n", b"")


def step_path(folder: Path, step: int) -> Path:
    return folder / "steps" / f"step-{step:06d}.safetensors"


def unreadable(path: Path, error: Exception) -> UserError:
    what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        what = f"{Path(error.filename).name} is missing"
    return UserError(
        f"trace '{path}' cannot be read ({what})",
        "record it again, or compare its files with docs/reference/trace-of-a-program.md",
    )


def _stage_values(stage: ProgramStage) -> dict[str, Any]:
    options = {key: json_option(value) for key, value in stage.options.items()}
    return {**vars(stage), "options": options, "parameters": dict(stage.parameters)}


def _step_values(step: ProgramStep) -> dict[str, Any]:
    optimiser = None
    if step.optimiser is not None:
        groups = [
            {
                "parameters": group.parameters,
                "settings": {key: json_option(value) for key, value in group.settings.items()},
            }
            for group in step.optimiser.groups
        ]
        optimiser = {**vars(step.optimiser), "groups": groups}
    return {**vars(step), "optimiser": optimiser}


def _step(about: Mapping[str, Any]) -> ProgramStep:
    given = about["optimiser"]
    known = about["step"], about["network"]
    more = about["generator"], about["returned"]
    if given is None:
        return ProgramStep(*known, None, *more)
    groups = tuple(OptimiserGroup(tuple(g["parameters"]), g["settings"]) for g in given["groups"])
    optimiser = Optimiser(given["name"], given["kind"], groups)
    return ProgramStep(*known, optimiser, *more)
