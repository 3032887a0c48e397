"""Commands that take their options in objects, a dataclass for each group of options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["grouped"]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Turns a function of dataclasses into the function of single options that typer reads.

    Each parameter that is annotated with a dataclass is replaced by the dataclass's fields, in
    order; called with these, the function gets the object. A field is written as a parameter of a
    typer command is: `seed: Annotated[int, typer.Option(help="...")] = 2`. A derived dataclass
    replaces a field of its base where another command needs another help text or default.

    Arguments:
        command: The function; other parameters stay as they are.

    Example:
        >>> @dataclass(frozen=True)
        ... class Where:
        ...     out: Path = Path("runs")
        >>> @grouped
        ... def train(recipe: str, where: Where) -> None: ...
        >>> inspect.signature(train)
        <Signature (*, recipe: str, out: pathlib.Path = PosixPath('runs')) -> None>
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(hint, type):
            groups[name] = hint
            parameters += _parameters(hint)
        else:
            as_keyword = {"kind": inspect.Parameter.KEYWORD_ONLY, "annotation": hint}
            parameters.append(parameter.replace(**as_keyword))

    @wraps(command)
    def called(**given: Any) -> None:
        objects = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **objects)

    signature = inspect.Signature(parameters, return_annotation=None)
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _parameters(group: type) -> list[inspect.Parameter]:
    """The fields of a dataclass as keyword parameters."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def _default(field: Field) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
