"""Numbers that Keras has as tensors, and PyTorch's programs as numbers: 0.001 times a sum."""

from __future__ import annotations

from collections.abc import Iterable

from pyvae.recording.seen.values import Call, Source, Value

__all__ = ["with_numbers"]

EITHER = {"add", "mul"}  # of which the first may be the second
SECOND = {*EITHER, "div", "sub"}


def with_numbers(calls: Iterable[Call]) -> list[Call]:
    """Calls of which those that take a single number from outside have it as an option.

    Arguments:
        calls: In their order. Left out are inputs that nothing takes any more.
    """
    calls = list(calls)
    for call in calls:
        if call.layer not in SECOND or len(call.inputs) != 2 or call.roles:
            continue
        numbers = [_number(one) for one in call.inputs]
        if call.layer in EITHER and numbers[1] is None:
            numbers, call.inputs = numbers[::-1], call.inputs[::-1]
        if numbers[1] is not None and numbers[0] is None and "other" not in call.options:
            call.options["other"] = numbers[1]
            call.inputs = call.inputs[:1]
    taken = {id(one) for call in calls for one in call.sources()}
    return [one for one in calls if not _is_alone(one) or id(one.outputs[0][1]) in taken]


def _number(source: Source) -> float | None:
    """The number that a value is, of those that the program gives as they are."""
    if not isinstance(source, Value) or not _is_alone(source.call) or source.array is None:
        return None
    return float(str(source.array))  # float32's 0.001 as it is said


def _is_alone(call: Call) -> bool:
    """Whether a call is a single number from outside, that nothing has computed."""
    if call.layer != "input" or call.options or len(call.outputs) != 1:
        return False
    array = call.outputs[0][1].array
    return array is not None and array.ndim == 0 and array.dtype.kind == "f"
