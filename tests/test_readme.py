"""What the README shows runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pyvae.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PAGES = [README, *(page.read_text() for page in sorted(DOCS.rglob("*.md")))]
BLOCKS = [
    block for page in PAGES for block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)
]
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    for line in block.splitlines()
    if not language and line.startswith("pyvae ")
]


@pytest.mark.r
@pytest.mark.slow
def test_the_python_example_runs(warm, tmp_path):
    """With fewer steps and images, which no line of it depends on."""
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (example,) = [one for one in examples if "StopAtCollapse" in one]
    assert "steps=3, batch_size=50" in example
    example = example.replace("steps=3, batch_size=50", "steps=2, batch_size=12")
    done = warm.run("-c", example, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("loss: agree: needed ")
    assert "samples" in done.stdout
    stopped = re.fullmatch(r"stopped after (\d+) of 70 steps", lines[-1])
    assert stopped
    assert 20 < int(stopped[1]) < 70  # the bound was reached, and not before it was asked for


def test_there_are_commands():
    assert {command.split()[1] for command in COMMANDS} == {
        "doctor", "compare", "trace", "train", "sample", "figures", "recipes", "reproduce",
        "verify", "record", "weights",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_every_command_exist(command, capsys):
    """Asked for its help after all the options shown: an unknown option would end in 2."""
    arguments = shlex.split(command)[1:]
    if "--" in arguments:  # what follows is for the user's script
        arguments = arguments[: arguments.index("--")]
    assert main([*arguments, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_pictures_are_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).is_file()
