"""`write_program_trace`: the trace of a program that no recorder of pyvae knows.

NumPy, JAX or any other framework, or a program in another language whose values were brought here.
`write_program_trace()` of the R package is the same in base R.

A step is a dict of what is known of it, all of it optional, by name:

- `start`: parameters and buffers when the step began
- `forward`: what stages returned, inputs as well
- `draw`: masks of dropout layers, 1 to keep and 0 to drop, by the name of the stage
- `loss`: the number whose gradients were taken, or a dict of it (`total`) and further terms
- `gradient`: gradients of that number, by the name of a parameter or of an output
- `given`: the gradients that the optimiser got, where they are others (clipping)
- `state`: the optimiser's state after the step, by its name in PyTorch and then by parameter
  (`{"momentum_buffer": {"fc.weight": v}}`); a single number is that of all parameters
- `before`: likewise before the step, where the step before is not recorded
- `parameter`, `buffer`: parameters and buffers after the step
- `untrained`: parameters and buffers of networks that are used and not trained (a teacher, a target
  network), as they are when the step uses them, by the network's name:
  `{"teacher": {"fc.weight": w}}`
- `optimiser`, `stages`: the step's own, where they are others

An entry may also be named as in the trace: `"forward/fc"`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvae.errors import UserError
from pyvae.files.writing import output_folder
from pyvae.trace.program import (
    Optimiser,
    ProgramParameter,
    ProgramStage,
    ProgramStep,
    ProgramTrace,
)
from pyvae.trace.program_folder import check_new_folder, remove_program
from pyvae.trace.step_values import StepValues, as_array, check_stages

__all__ = ["write_program_trace"]

Steps = Mapping[int, Mapping[str, Any]] | Iterable[Mapping[str, Any]]


def write_program_trace(
    folder: Path | str,
    engine: str,
    stages: Sequence[ProgramStage] | None = None,
    parameters: Mapping[str, ArrayLike] | None = None,
    steps: Steps = (),
    optimiser: Optimiser | None = None,
    language: str = "python",
    index_base: int = 0,
    environment: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> ProgramTrace:
    """Writes what any program did while it trained, for `pyvae compare`.

    Arguments:
        folder: A new or empty folder.
        engine: Who computed, any name.
        stages: The network, in the order of execution. None if values are given by name alone.
        parameters: Parameters and buffers as they were before the first step. None takes those
            that the first step has in `start`.
        steps: The recorded steps, counted from 1, or by their numbers; each a dict as
            `pyvae.trace.write_program` describes it. A generator is taken step by step, and no more
            than one is in memory.
        optimiser: The optimiser, with PyTorch's names of its settings.
        language: The program's.
        index_base: From which number it counts classes and indices: these are recorded so.
        environment: Versions and whatever else results depend on.
        overwrite: Whether a program's trace that the folder holds may be replaced.

    Returns:
        The trace.

    Raises:
        UserError: If something does not fit together; then nothing is left of the trace.

    Example:
        >>> stages = [ProgramStage("x", "input"), ProgramStage("y", "exp", ("x",))]
        >>> steps = [{"forward": {"x": np.zeros(3), "y": np.ones(3)}, "loss": 3.0}]
        >>> trace = write_program_trace("numpy", "numpy", stages, steps=steps)
    """
    folder = Path(folder)
    if index_base not in (0, 1):
        raise UserError(f"index_base={index_base}", expected="0 or 1")
    check_new_folder(folder, overwrite)
    trace = ProgramTrace(
        engine, language, index_base, Path(sys.argv[0]).name, dict(environment or {})
    )
    _Writer(trace, folder, stages, parameters, optimiser).write(_numbered(steps))
    return trace


class _Writer:
    def __init__(
        self,
        trace: ProgramTrace,
        folder: Path,
        stages: Sequence[ProgramStage] | None,
        parameters: Mapping[str, ArrayLike] | None,
        optimiser: Optimiser | None,
    ) -> None:
        self.trace, self.folder, self.optimiser = trace, folder, optimiser
        self.stages = tuple(stages or ())
        self.parameters = parameters
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.trained: set[str] = set()
        self.buffers: set[str] = set()
        self.untrained: dict[str, NDArray] = {}  # as they were written last

    def write(self, steps: Iterator[tuple[int, Mapping[str, Any]]]) -> None:
        try:
            for number, step in steps:
                self._add(number, step)
            if not self.trace.steps:
                raise UserError("there are no steps", "record at least one step")
            self._finish()
        except BaseException:
            if self.trace.steps:
                remove_program(self.folder)
            raise

    def _add(self, number: int, step: Mapping[str, Any]) -> None:
        values = StepValues.of(step, f"step {number}")
        if not self.trace.steps:
            self._begin(values)
        stages = tuple(step["stages"]) if step.get("stages") is not None else self.stages
        optimiser = step["optimiser"] if step.get("optimiser") is not None else self.optimiser
        check_stages(stages, self.shapes)
        used = (
            [name for group in optimiser.groups for name in group.parameters] if optimiser else []
        )
        for name in used:
            if name not in self.shapes:
                raise UserError(
                    f"the optimiser has '{name}', which is not a parameter",
                    "give its values with parameters=",
                )
        arrays = values.arrays(stages, self.shapes, used or list(self.shapes))
        self.trained.update(used)
        self.buffers.update(key.partition("/")[2] for key in arrays if key.startswith("buffer/"))
        self._leave_out_what_stays(arrays)
        if stages not in self.trace.networks:
            self.trace.networks.append(stages)
        network = self.trace.networks.index(stages)
        if not self.trace.steps:
            remove_program(self.folder)  # an earlier trace
            output_folder(self.folder)
        self.trace.save_step(self.folder, ProgramStep(number, network, optimiser), arrays)

    def _leave_out_what_stays(self, arrays: dict[str, NDArray]) -> None:
        """Networks that are not trained are written where they have changed."""
        for key in [key for key in arrays if key.startswith("untrained/")]:
            before = self.untrained.get(key)
            if before is not None and np.array_equal(before, arrays[key]):
                del arrays[key]
            else:
                self.untrained[key] = arrays[key].copy()

    def _begin(self, values: StepValues) -> None:
        """Takes the shapes of the parameters, and what the first step starts from."""
        given = dict(self.parameters or {})
        if self.parameters is None:
            given = {name: values.start[name] for name in values.start}
        for name, value in given.items():
            self.shapes[name] = as_array(value, f"parameter '{name}'").shape
            values.start.setdefault(name, value)

    def _finish(self) -> None:
        self.trace.parameters = [
            ProgramParameter(
                name,
                shape,
                "buffer" if name in self.buffers else "parameter",
                name not in self.buffers and (name in self.trained or not self.trained),
            )
            for name, shape in self.shapes.items()
        ]
        self.trace.save(self.folder)


def _numbered(steps: Steps) -> Iterator[tuple[int, Mapping[str, Any]]]:
    last = 0
    for number, step in steps.items() if isinstance(steps, Mapping) else enumerate(steps, 1):
        if not isinstance(number, int) or number < 1:
            raise UserError(f"a step has the number {number!r}", expected="1 or more")
        if number <= last:
            raise UserError(f"step {number} comes after step {last}", "give the steps in order")
        if not isinstance(step, Mapping):
            raise UserError(
                f"step {number} is a {type(step).__name__}", expected="a dict such as {'loss': 1.0}"
            )
        last = number
        yield number, step
