"""Every command that a page shows is one, with options that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from pages.pages import README, blocks, every_page
from pyvae.cli.main import main

COMMANDS = sorted(
    {
        line.split(" #")[0].strip()
        for page in every_page()
        for language, block in blocks(page)
        if language in ("", "sh")
        for line in re.sub(r"^(\$ |[A-Z_]+=\w+ )", "", block, flags=re.MULTILINE).splitlines()
        if line.startswith("pyvae ") and line != "pyvae --version"
    }
)


def test_every_command_is_shown_somewhere():
    assert {command.split()[1] for command in COMMANDS} == {
        "doctor", "compare", "trace", "train", "sample", "figures", "recipes", "reproduce",
        "verify", "record", "weights", "encode", "reconstruct", "interpolate",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted({command.split()[1] for command in COMMANDS}))
def test_the_options_of_every_command_exist(name, capsys):
    """Asked for its help, once, after all that any page gives it: an unknown option would end in
    2."""
    given = []
    for command in COMMANDS:
        arguments = shlex.split(command)[1:]
        if "--" in arguments:  # what follows is for the user's script
            arguments = arguments[: arguments.index("--")]
        if arguments[0] == name:
            given += arguments[1:]
    code = main([name, *given, "--help"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "Usage" in printed.out


def test_the_readme_names_what_make_does():
    makefile = (README.parent / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([\w-]+)\b(?=[`\n])", README.read_text()))
    assert {"compare", "test", "site"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)
