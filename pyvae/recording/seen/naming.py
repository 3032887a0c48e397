"""Names the calls of a step, and makes stages of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyvae.recording.seen.values import Call, Source, Value
from pyvae.trace.program import ProgramStage

__all__ = ["Names", "comes_from_model", "name_stages", "used_calls"]

LOOKS = {"clone", "contiguous", "detach", "to"}  # whose numbers are those that they are given


class Names:
    """Gives every call a name of its own: the second call of `fc` is `fc#2`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._calls: dict[str, int] = {}

    def next(self, name: str) -> str:
        while True:
            count = self._calls[name] = self._calls.get(name, 0) + 1
            named = name if count == 1 else f"{name}#{count}"
            if named not in self._taken:
                self._taken.add(named)
                return named


def used_calls(
    calls: Sequence[Call], losses: Sequence[Value], returned: Sequence[Value] = ()
) -> list[Call]:
    """The calls that belong to a step, in their order: those of the model, what leads to the loss,
    and, of what was drawn or computed before, what went into them. What is computed besides, such
    as an accuracy, is left out.

    Arguments:
        calls: All that were seen.
        losses: What `backward` was called on; if that is not known, all that was computed from the
            model counts.
        returned: What networks have returned to the program; they may have handed it on as it was.
    """
    waiting = [call for call in calls if call.made_by == "model"]
    waiting += [value.call for value in (*losses, *returned)]
    if not losses:
        looked_at = _only_looked_at(calls)
        waiting += [c for c in calls if c.made_by == "loss" and c.order not in looked_at]
    wanted: dict[int, Call] = {}
    while waiting:
        call = waiting.pop()
        if call.order not in wanted:
            wanted[call.order] = call
            waiting += [one.call for one in call.sources() if not isinstance(one, str)]
    return [wanted[order] for order in sorted(wanted)]


def _only_looked_at(calls: Sequence[Call]) -> set[int]:
    """The orders of calls that bring a result into a form to be looked at, printed or kept."""
    found: set[int] = set()
    taken: set[int] = set()
    for call in reversed(calls):
        if call.layer in LOOKS and call.made_by == "loss" and call.order not in taken:
            found.add(call.order)
        else:
            taken |= {one.call.order for one in call.sources() if not isinstance(one, str)}
    return found


def comes_from_model(source: Source | None) -> bool:
    """Whether a value was computed by the model, or from its parameters; False if that is not
    known. Another model's loss may be in the same step."""
    waiting, seen = [source], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) or (one is not None and one.call.made_by == "model"):
            return True
        if one is not None and one.call.order not in seen:
            seen.add(one.call.order)
            waiting += one.call.sources()
    return False


def name_stages(calls: Sequence[Call], taken: Iterable[str]) -> tuple[ProgramStage, ...]:
    """Names calls and their values, and returns them as stages.

    Arguments:
        calls: In the order of execution.
        taken: The names of parameters and buffers.
    """
    names = Names(taken)
    stages = []
    for call in calls:
        call.named = names.next(call.name)
        for place, value in call.outputs:
            value.name = f"{call.named}{place}"
        stages.append(
            ProgramStage(
                name=call.named,
                layer=call.layer,
                inputs=tuple(_name(one) for one in call.inputs),
                options=call.options,
                parameters={role: _name(one) for role, one in call.roles.items()},
                outputs=tuple(value.name for _, value in call.outputs),
                training=call.training,
            )
        )
    return tuple(stages)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, str) else source.name
