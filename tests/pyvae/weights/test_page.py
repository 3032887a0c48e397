"""What docs/how-to/move-weights.md shows happens."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

from pyvae.cli.main import main

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "move-weights.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)


def test_the_page_is_right(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    printed, done = "", {"python": 0, "": 0, "text": 0}
    for language, block in BLOCKS:
        if language == "python":
            script = tmp_path / block.partition("\n")[0].removeprefix("# ")
            script.write_text(block)
            runpy.run_path(str(script))
        elif language == "":
            program, *arguments = shlex.split(block)
            assert program == "pyvae"
            assert main(arguments) == 0
            printed = capsys.readouterr().out
        elif language == "text":
            for line in block.splitlines():
                assert line in printed, printed
        else:  # a foretaste
            continue
        done[language] += 1
    assert done == {"python": 3, "": 3, "text": 2}
