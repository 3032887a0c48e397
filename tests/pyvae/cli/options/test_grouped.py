"""Options in objects, as typer and the command see them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from pyvae.cli.options.grouped import grouped


@dataclass(frozen=True)
class What:
    name: Annotated[str, typer.Option(help="A name.")]
    values: Annotated[list[int] | None, typer.Option("--value", "-v")] = None
    seed: Annotated[int, typer.Option(help="Of all.")] = 2


@dataclass(frozen=True)
class Other(What):
    seed: Annotated[int, typer.Option(help="Of this one.")] = 7


@pytest.fixture
def called():
    """Runs a command with one group of options, and returns what it was called with."""

    def call(group, *words):
        seen = []

        def command(context: typer.Context, file: Path, what, exact: bool = False) -> None:
            """Do it."""
            seen.append((context.params, file, what, exact))

        command.__annotations__["what"] = group
        app = typer.Typer(add_completion=False)
        app.command()(grouped(command))
        app([str(word) for word in words], standalone_mode=False)
        return seen[0]

    return call


def test_the_command_gets_one_object_and_typer_every_option(called):
    params, file, what, exact = called(What, "x", "--name", "a", "-v", "1", "-v", "3", "--exact")
    assert (file, what, exact) == (Path("x"), What("a", [1, 3], 2), True)
    assert params == {"file": Path("x"), "name": "a", "values": [1, 3], "seed": 2, "exact": True}


def test_a_derived_group_replaces_an_option_in_its_place(called):
    assert called(Other, "x", "--name", "a")[2] == Other("a", None, 7)

    @grouped
    def command(what: Other) -> None:
        """Do it."""

    assert list(inspect.signature(command).parameters) == ["name", "values", "seed"]


def test_a_field_without_a_default_is_a_required_option(called):
    with pytest.raises(typer.TyperException) as error:
        called(What, "x")
    assert "--name" in error.value.format_message()


def test_the_signature_and_the_help_are_those_of_the_single_options():
    @grouped
    def command(what: What, *, last: str = "z") -> None:
        """Do it."""

    signature = inspect.signature(command)
    assert list(signature.parameters) == ["name", "values", "seed", "last"]
    assert signature.parameters["name"].default is inspect.Parameter.empty
    assert (command.__name__, command.__doc__) == ("command", "Do it.")
