"""The values of a step as a program gives them, checked and named as a trace has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvae.errors import UserError
from pyvae.trace.program import ProgramStage

__all__ = ["StepValues", "as_array", "check_stages"]

Shape = tuple[int, ...]
KINDS = (
    "start", "forward", "draw", "gradient", "given", "before", "state", "parameter", "buffer",
    "loss", "untrained",
)  # fmt: skip
OF_PARAMETERS = ("start", "given", "parameter", "buffer")
KEPT = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")


@dataclass
class StepValues:
    """What is known of a step.

    Attributes:
        where: The step, in words.
        start: What it starts from.
        others: All else, by kind and name.
    """

    where: str
    start: dict[str, Any] = field(default_factory=dict)
    others: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, step: Mapping[str, Any], where: str) -> StepValues:
        """Sorts a step's entries.

        Raises:
            UserError: If one is not known, or given twice.
        """
        found = cls(where)
        for kind, name, value in _entries(step, where):
            into, key = (found.start, name) if kind == "start" else (found.others, (kind, name))
            if key in into:
                raise UserError(f"{where} has {kind}/{name} twice", "give it once")
            into[key] = value  # type: ignore[index]
        return found

    def arrays(
        self, stages: Sequence[ProgramStage], parameters: Mapping[str, Shape], used: Sequence[str]
    ) -> dict[str, NDArray]:
        """Returns the values by their keys in the trace.

        Arguments:
            stages: The step's; empty if they are not known.
            parameters: Shapes of parameters and buffers, by name.
            used: The optimiser's parameters, to which a state that is a single number belongs.

        Raises:
            UserError: If a name or a shape does not fit, or a value is no array of numbers.
        """
        given = {("start", name): value for name, value in self.start.items()} | self.others
        found: dict[str, NDArray] = {}
        for (kind, name), value in given.items():
            if kind in ("state", "before") and isinstance(value, Mapping):
                for parameter, one in value.items():
                    self._put(found, f"{kind}/{parameter}.{name}", one)
            elif kind in ("state", "before") and "." not in name:
                for parameter in used:
                    self._put(found, f"{kind}/{parameter}.{name}", value)
            else:
                self._put(found, f"{kind}/{name}", value)
        known = _known_names(stages, parameters)
        for key in found:
            self._check_name(key, known)
            self._check_shape(key, found, parameters)
        return found

    def _put(self, found: dict[str, NDArray], key: str, value: Any) -> None:
        array = as_array(value, f"{self.where} has {key}, which")
        if key.startswith("draw/"):
            if not np.isin(array, (0, 1)).all():
                raise UserError(f"{self.where} has {key}", expected="1 to keep and 0 to drop")
            array = array.astype(np.uint8)
        found[key] = array.astype(np.float64) if key.startswith("loss/") else array

    def _check_name(self, key: str, known: Mapping[str, set[str] | None]) -> None:
        kind, _, name = key.partition("/")
        names = known.get(kind)
        if names is None or name in names:
            return
        if kind in ("state", "before") and any(name.startswith(f"{one}.") for one in names):
            return
        what = {
            "draw": "stage",
            "forward": "stage that returns a value",
            "gradient": "parameter or value",
        }
        raise UserError(
            f"{self.where} has {key}, but there is no {what.get(kind, 'parameter')} of that name",
            "correct the name, or add what is missing",
        )

    def _check_shape(
        self, key: str, found: Mapping[str, NDArray], parameters: Mapping[str, Shape]
    ) -> None:
        kind, _, name = key.partition("/")
        expected: Shape | None = None
        if kind == "loss":
            expected = ()
        elif kind in OF_PARAMETERS or (kind == "gradient" and name in parameters):
            expected = parameters[name]
        elif kind == "gradient" and f"forward/{name}" in found:
            expected = found[f"forward/{name}"].shape
        if expected is not None and found[key].shape != expected:
            raise UserError(
                f"{self.where} has {key} of shape {found[key].shape}", expected=str(expected)
            )


def _known_names(
    stages: Sequence[ProgramStage], parameters: Mapping[str, Shape]
) -> dict[str, set[str] | None]:
    """The names that a kind of value may have; None: any."""
    mine = set(parameters)
    known: dict[str, set[str] | None] = dict.fromkeys((*OF_PARAMETERS, "state", "before"), mine)
    if stages:
        values = {output for stage in stages for output in stage.outputs}
        known["draw"] = {stage.name for stage in stages}
        known["forward"], known["gradient"] = values, values | mine
    return known


def _entries(step: Mapping[str, Any], where: str) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and value of each entry of a step."""
    for entry, value in step.items():
        kind, slash, name = entry.partition("/")
        if entry in ("optimiser", "stages"):
            continue
        if kind not in KINDS:
            raise UserError(f"{where} has '{entry}'", expected=", ".join(KINDS))
        if slash:
            yield kind, name, value
        elif kind == "untrained":
            yield from _of_networks(value, where)
        elif kind == "loss" and not isinstance(value, Mapping):
            yield kind, "total", value
        elif isinstance(value, Mapping):
            yield from ((kind, str(name), one) for name, one in value.items())
        else:
            raise UserError(
                f"{where} has {kind}, which is a {type(value).__name__}",
                expected="a dict of arrays by name",
            )


def _of_networks(value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """The same of networks that are not trained, by the network's name and the array's."""
    networks = value.items() if isinstance(value, Mapping) else [("", value)]
    for network, arrays in networks:
        if not isinstance(arrays, Mapping) or not network or "/" in str(network):
            raise UserError(
                f"{where} has untrained, which is no dict of networks",
                expected="such as {'teacher': {'fc.weight': w}}, without '/' in a network's name",
            )
        yield from (("untrained", f"{network}/{name}", one) for name, one in arrays.items())


def as_array(value: ArrayLike, what: str) -> NDArray:
    """Returns a value as an array of a type that a trace has.

    Raises:
        UserError: If it is no array of numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        raise UserError(f"{what} is no array ({error})", "give an array of numbers") from error
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise UserError(f"{what} has values of type {array.dtype}", "give an array of numbers")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{what} has numbers that are too large", expected="less than 2**63")
    return array if array.dtype.name in KEPT else array.astype(np.int64)


def check_stages(stages: Sequence[ProgramStage], parameters: Mapping[str, Shape]) -> None:
    """Raises UserError if a stage has no name of its own, or takes what is not there."""
    there, named = set(parameters), set()
    for stage in stages:
        if not isinstance(stage, ProgramStage):
            raise UserError(f"a stage is a {type(stage).__name__}", expected="a ProgramStage")
        if stage.name in named:
            raise UserError(f"two stages are called '{stage.name}'", "give each its own name")
        named.add(stage.name)
        for name in (*stage.inputs, *stage.parameters.values()):
            if name not in there:
                raise UserError(
                    f"stage '{stage.name}' takes '{name}', which is neither a parameter nor "
                    "returned by a stage before it",
                    "correct the name, or add what is missing",
                )
        there.update(stage.outputs)
