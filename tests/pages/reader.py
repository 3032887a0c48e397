"""Somebody who does what a page says, from the top to the end, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from processes.undrawn import UNDRAWN
from processes.warm import Warm

from pages.pages import ROOT, blocks

__all__ = ["Reader", "read_page"]

PYVAE = Path(sys.executable).with_name("pyvae")
PROGRAMS = ("pyvae", "python", "Rscript")


def lighter(text: str) -> str:
    """The same command or script, with fewer images a step, as many steps as epochs, and one where
    engines are compared: how long they train is no matter of a page. Where a page asks for the
    files of a report, a network of two layers writes them all."""
    text = re.sub(r"--batch-size 50\b", "--batch-size 4", text)
    text = re.sub(r"--batch-size 100\b", "--batch-size 8", text)  # batch norm needs more
    text = re.sub(r"^pyvae train conv (?!.*--batch-size)", r"\g<0>--batch-size 4 ", text)
    text = re.sub(r"^pyvae compare (?=.*--report)", r"\g<0>--recipe mlp-wide ", text)
    text = re.sub(r"(steps=\d+, batch_size=)\d+", r"\g<1>4", text)
    text = re.sub(r"epochs=2, batch_size=50\b", "steps=70, batch_size=4", text)  # as many of digits
    text = re.sub(r"^(pyvae (?:compare|trace) .*--steps )\d+", r"\g<1>1", text)
    return re.sub(r"--epochs ([1-9])\b", lambda found: f"{found[0]} --steps {found[1]}", text)


@dataclass
class Reader:
    """Follows a page.

    A block without a language is commands, if its first word is one of `PROGRAMS`; otherwise it is
    shown only. `text` is what the commands and scripts since the last commands have printed, line
    by line. A script with its name in the first line (`# train.py`) is written down, and one with
    `# train.py: change` exchanges its first line by the second in that file; a Python script
    without a name is run at once. `sh` is a foretaste, or what takes too long to be run here.

    Attributes:
        folder: Where it all happens.
        warm: Starts the `pyvae` command.
        environment: That of everything; None where R, or a package of it, is missing: what needs R
            is left out.
        printed: What was printed since the last commands began.
        ran: The commands that were run.
    """

    folder: Path
    warm: Warm
    environment: Mapping[str, str] | None
    printed: str = ""
    had_r: bool = False
    ran: list[str] = field(default_factory=list)

    def read(self, language: str, block: str, expected: str) -> None:
        """Does what a block says; `expected` is what the page says that it prints."""
        if language == "python" and not block.startswith("# "):
            self.printed = ""
            self._end(self._python("-c", lighter(block)), expected)
        elif language in ("python", "r"):
            self._write(block, expected)
        elif language == "text":
            self._look_for(block)
        elif not language and block.split()[0] in PROGRAMS:
            self.printed, self.had_r = "", False
            *earlier, last = block.splitlines()
            for command in earlier:
                self._run(command, "")
            self._run(last, expected)
        else:
            assert language == "sh" or not any(f"\n{one} " in block for one in PROGRAMS), block

    def _write(self, block: str, expected: str) -> None:
        title, _, code = block.partition("\n")
        file = self.folder / title.removeprefix("# ").partition(":")[0]
        if not title.endswith(": change"):
            file.write_text(code)
            if file.stem == "recorded":
                self._run(f"{'Rscript' if file.suffix == '.R' else 'python'} {file.name}", expected)
            return
        old, new = code.splitlines()
        text = file.read_text()
        assert text.count(old) == 1, old
        file.write_text(text.replace(old, new))

    def _run(self, command: str, expected: str) -> None:
        program, *arguments = shlex.split(lighter(command.partition(" #")[0]))
        needs_r = program == "Rscript" or not {"r", "used-r"}.isdisjoint(arguments)
        self.had_r |= needs_r
        if needs_r and self.environment is None:
            return
        if program == "Rscript":
            done = self._start(program, *arguments)
        else:
            done = self._python(*([PYVAE] if program == "pyvae" else []), *arguments)
        self._end(done, expected)
        self.ran.append(command)

    def _all(self) -> dict[str, str]:
        given = os.environ if self.environment is None else self.environment
        keras = str(self.folder / "keras-settings")  # not the user's
        return {**given, "COLUMNS": "200", "KERAS_HOME": keras, **UNDRAWN}

    def _python(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.warm.run(*words, folder=self.folder, environment=self._all())

    def _start(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self._all(), capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    def _end(self, done: subprocess.CompletedProcess[str], expected: str) -> None:
        self.printed += done.stdout + done.stderr
        refused = expected.startswith("pyvae: ")
        code = 2 if refused else int("first part" in done.stdout)
        assert done.returncode == code, done.stdout + done.stderr

    def _look_for(self, block: str) -> None:
        if self.had_r and self.environment is None:
            return
        assert self.printed
        for line in block.splitlines():
            assert line in self.printed, self.printed


def read_page(page: Path, reader: Reader) -> list[str]:
    """Follows a page; returns the commands that were run."""
    (reader.folder / "r_bridge").symlink_to(ROOT / "r_bridge")
    all_of_it = blocks(page)
    said = [block if language == "text" else "" for language, block in all_of_it[1:]]
    for (language, block), expected in zip(all_of_it, [*said, ""], strict=True):
        reader.read(language, block, expected)
    return reader.ran
