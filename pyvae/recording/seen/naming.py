"""Names the calls of a step, and makes stages of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyvae.recording.seen.values import Call, Source
from pyvae.trace.program import ProgramStage

__all__ = ["Names", "name_stages", "used_calls"]


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


def used_calls(calls: Sequence[Call]) -> list[Call]:
    """The calls that belong to a step, in their order: those of the model and of what was computed
    from it, and, of what was drawn or computed before, what went into them."""
    wanted: set[int] = set()
    earlier: dict[int, Call] = {}
    own = {id(call) for call in calls}
    waiting = [call for call in calls if call.inside]
    while waiting:
        call = waiting.pop()
        if id(call) in wanted:
            continue
        wanted.add(id(call))
        if id(call) not in own:
            earlier[id(call)] = call
        waiting += [one.call for one in call.sources() if not isinstance(one, str)]
    before = sorted(earlier.values(), key=lambda call: call.order)
    return [*before, *(call for call in calls if id(call) in wanted)]


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
    return source if isinstance(source, str) else source.name
