"""Text as it reaches a terminal."""

from __future__ import annotations

import io

import pytest
from rich.table import Table
from rich.text import Text

from pyvae.terminal.console import Terminal

EVIL = "a\x1b]0;title\x07b\x1b[2J\x9b1mc\u202ed [red]e[/] {f}\x00\x7f"
SHOWN = r"a\x1b]0;title\x07b\x1b[2J\x9b1mc\u202ed [red]e[/] {f}\x00\x7f"


def table(text):
    made = Table(text)
    made.add_row(text)
    return made


@pytest.mark.parametrize("made", [str, Text, table], ids=["text", "Text", "a table"])
def test_control_characters_are_written_out_and_there_is_no_markup(made):
    file = io.StringIO()
    Terminal(file=file, width=300).print(made(EVIL), soft_wrap=made is not table)
    said = file.getvalue()
    # rich itself leaves out some that move the cursor, such as BEL, and cuts what is too wide
    begins = SHOWN.replace(r"\x07", "")[: 30 if made is table else None]
    assert begins in said.replace(r"\x07", "")
    assert all(line.isprintable() for line in said.split("\n"))


def test_colours_are_still_colours():
    file = io.StringIO()
    Terminal(file=file, force_terminal=True, color_system="standard").print(Text("a\nb", "red"))
    assert file.getvalue() == "\x1b[31ma\x1b[0m\n\x1b[31mb\x1b[0m\n"


def test_lines_of_a_text_stay_lines_and_letters_letters():
    file = io.StringIO()
    Terminal(file=file, width=40).print(Text("ü “é” 日本 – ± ULP\nsecond"))
    assert file.getvalue() == "ü “é” 日本 – ± ULP\nsecond\n"


def test_a_string_is_one_line_whatever_name_stands_in_it():
    file = io.StringIO()
    Terminal(file=file, width=80).print("written: a\nverdict: agree\u2028b", soft_wrap=True)
    assert file.getvalue() == "written: a verdict: agree\\u2028b\n"
