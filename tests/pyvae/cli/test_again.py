"""A command that is written down, and run again by --resume."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import pytest
import typer

from pyvae.cli.again import command_words, is_resumed, repeat_command
from pyvae.errors import UserError
from pyvae.runs.run_json import write_run

CALLS = []


@pytest.fixture
def command():
    """A command with an option of each kind, and what it was called with."""
    CALLS.clear()
    app = typer.Typer(add_completion=False)

    @app.command("other")
    def other() -> None:
        """Makes the first one of several."""

    @app.command("train")
    def train(
        context: typer.Context,
        recipe: Annotated[str | None, typer.Argument()] = None,
        data: str = "auto",
        seed: int = 2,
        rate: float | None = None,
        set_: Annotated[list[str] | None, typer.Option("--set")] = None,
        report: Annotated[bool, typer.Option("--report")] = False,
        exact: Annotated[bool | None, typer.Option("--exact/--no-exact")] = None,
        threads: int | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        jobs: int | None = None,
        scheduler: str | None = None,
        overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
        number: Annotated[int, typer.Option("-n")] = 3,
        out: Path = Path("here"),
        resume: Path | None = None,
    ) -> None:
        if resume is not None:
            return repeat_command(context, resume)
        values = {k: v for k, v in locals().items() if k != "context"}
        CALLS.append((values, is_resumed(context), command_words(context, threads=threads or 4)))
        return None

    def run(*words):
        app([str(word) for word in words], standalone_mode=False)
        return CALLS[-1]

    return run


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("conv",),
        ("conv", "--seed", "-7", "--rate", "1e-3"),
        ("--", "-odd recipe"),
        ("conv", "--set", "a=1", "--set", "b=-2 'x'"),
        ("conv", "--report", "--no-exact", "-n", "5", "--threads", "2"),
        ("conv", "--exact", "--out", '-a folder; rm "$HOME" ü\n'),
    ],
)
def test_a_command_line_made_of_a_command_does_the_same_again(command, given):
    values, resumed, arguments = command("train", *given)
    assert not resumed
    assert arguments[0] == "train"
    again, _, same = command(*arguments)
    assert again | {"threads": None} == values | {"threads": None}
    assert again["threads"] == (values["threads"] or 4)
    assert same == arguments
    assert shlex.split(shlex.join(arguments)) == arguments


@pytest.mark.parametrize("name", ["a b.npz", "a.NPZ", "a.npy"])
def test_a_data_file_is_named_by_its_whole_path(command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    _, _, arguments = command("train", "--data", name)
    assert f"--data={tmp_path / name}" in arguments


@pytest.fixture
def written(settings, digits):
    """Writes the run.json of a command into a folder."""

    def write(folder, arguments=("train", "--seed=5", "--report", "conv", "--data=auto")):
        runs = [settings(), settings(objective="emae")]
        write_run(folder, arguments, "conv", runs, digits.describe(), {"pytorch": {"threads": "4"}})

    return write


def test_resumed_the_same_is_done_into_that_folder(command, written, tmp_path):
    folder = tmp_path / "moved, 'ü'"
    folder.mkdir()
    written(folder)
    values, resumed, _ = command("train", "--resume", folder)
    assert resumed
    assert (values["recipe"], values["seed"], values["report"]) == ("conv", 5, True)
    assert (values["out"], values["data"], values["resume"]) == (folder, "digits", None)


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--seed", "2"), "--seed cannot"), (("conv",), "RECIPE cannot"), (("-n", "1"), "-n cannot")],
)
def test_nothing_else_can_be_said_when_resuming(command, written, tmp_path, more, said):
    written(tmp_path)
    with pytest.raises(UserError, match=rf"^{said}.*with --resume.*\. Leave out .*run.json"):
        command("train", "--resume", tmp_path, *more)


@pytest.mark.parametrize("more", [("--epochs", "3"), ("--steps", "9")])
def test_another_length_can_be_said_and_is_the_only_one(command, written, tmp_path, more):
    written(tmp_path, ("train", "--epochs=1", "--steps=5", "--seed=5", "conv"))
    values, resumed, arguments = command("train", "--resume", tmp_path, *more)
    length = {"epochs": None, "steps": None} | {more[0].strip("-"): int(more[1])}
    assert resumed
    assert values | length | {"seed": 5} == values
    assert [word for word in arguments if "epochs" in word or "steps" in word] == ["=".join(more)]


def test_a_scheduler_is_only_the_one_that_is_given_here(command, written, tmp_path):
    """Whoever made the folder would decide where is connected to, and Dask unpickles what comes."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    for words in (("--scheduler=tcp://there:1",), ("--scheduler", "tcp://there:1")):
        written(folder, ("train", *words, "conv"))
        with pytest.raises(UserError) as raised:
            command("train", "--resume", folder)
        assert f"--resume '{folder}' --scheduler ADDRESS" in str(raised.value)
    values, _, arguments = command("train", "--resume", folder, "--scheduler", "tcp://here:1")
    assert values["scheduler"] == "tcp://here:1"
    assert "--scheduler=tcp://here:1" in arguments
    written(folder, ("train", "--jobs=3", "conv"))
    values, _, _ = command("train", "--resume", folder, "--scheduler", "tcp://here:1")
    assert (values["scheduler"], values["jobs"]) == ("tcp://here:1", None)


@pytest.mark.parametrize("words", [("--resume=/elsewhere",), ("--overwrite",)])
def test_a_folder_decides_neither_another_folder_nor_that_something_is_replaced(
    command, written, tmp_path, words
):
    written(tmp_path, ("train", *words, "--out=/elsewhere", "conv"))
    CALLS.clear()
    with pytest.raises(UserError, match="which pyvae never writes there"):
        command("train", "--resume", tmp_path)
    assert CALLS == []


def test_an_option_that_there_is_no_more_is_the_command_lines_error(command, written, tmp_path):
    from typer.exceptions import TyperException

    written(tmp_path, ("train", "--nothing=5"))
    with pytest.raises(TyperException, match="--nothing"):
        command("train", "--resume", tmp_path)
