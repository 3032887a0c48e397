"""What docs/tutorials/your-own-port.md shows happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "your-own-port.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
PYVAE = Path(sys.executable).with_name("pyvae")


@dataclass
class Reader:
    """Somebody who does what the page says, in one folder.

    Attributes:
        folder: Where the scripts are.
        environment: R's, or None where there is no R: its commands and scripts are left out.
        printed: What the commands since the last text that was looked for have printed.
    """

    folder: Path
    environment: dict[str, str] | None
    printed: str = ""
    had_r: bool = False
    ran: list[str] = field(default_factory=list)

    def read(self, language: str, block: str) -> None:
        if language == "text":
            self.look_for(block)
        elif language == "sh":  # a foretaste of what is run later
            assert ("", block) in BLOCKS
        elif language:
            self.write(block)
        else:
            self.printed, self.had_r = "", False
            for command in block.splitlines():
                self.run(command)

    def write(self, block: str) -> None:
        title, _, code = block.partition("\n")
        file = self.folder / title.removeprefix("# ").partition(":")[0]
        if not title.endswith(": change"):
            file.write_text(code)
            if file.stem == "recorded":
                self.run(f"{'Rscript' if file.suffix == '.R' else 'python'} {file.name}")
            return
        old, new = code.splitlines()
        text = file.read_text()
        assert text.count(old) == 1, old
        file.write_text(text.replace(old, new))

    def run(self, command: str) -> None:
        program, *arguments = shlex.split(command)
        needs_r = program == "Rscript" or "r" in arguments
        self.had_r |= needs_r
        if needs_r and self.environment is None:
            return
        programs = {"pyvae": str(PYVAE), "python": sys.executable}
        done = subprocess.run(
            [programs.get(program, program), *arguments],
            cwd=self.folder,
            env=self.environment or dict(os.environ),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        parts = "first part" in done.stdout
        assert done.returncode == int(parts), done.stdout + done.stderr
        self.printed += done.stdout
        self.ran.append(command)

    def look_for(self, block: str) -> None:
        if self.had_r and self.environment is None:
            return
        assert self.printed
        for line in block.splitlines():
            assert line in self.printed, self.printed


def read_all(reader: Reader) -> Iterator[str]:
    for language, block in BLOCKS:
        reader.read(language, block)
    yield from reader.ran


def test_the_page_is_right_without_r(tmp_path):
    ran = list(read_all(Reader(tmp_path, None)))
    assert sum(command.startswith("pyvae compare") for command in ran) == 2
    assert (tmp_path / "own" / "trace.json").is_file()


@pytest.mark.r_torch
@pytest.mark.slow
def test_the_page_is_right_in_both_languages(tmp_path, r_environment):
    ran = list(read_all(Reader(tmp_path, r_environment)))
    assert sum(command.startswith("Rscript") for command in ran) == 3
    assert (tmp_path / "own-r" / "trace.json").is_file()
