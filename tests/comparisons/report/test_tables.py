"""Tables on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from comparisons.report.tables import print_table

HEADS = ("", "max abs", "needed", "verdict")
NAME = "> gradient/encoder.conv1.weight"
ROWS = [("loss", "1.0e-12", "3.0e-16", Text("agree", "green"))]
ROWS.append((NAME, "2.0e-01", "4.0e-01", Text("disagree", "red")))


def printed(width):
    console = Console(file=io.StringIO(), width=width)
    print_table(console, "", "", HEADS, ROWS, spare=(1, 2), styles=["", "bold"])
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "shown"), [(100, HEADS), (52, ("needed", "verdict")), (40, ("verdict",)), (24, ())]
)
def test_the_verdict_is_read_at_any_width(width, shown):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for head in HEADS[:-1]:
        assert (head in text) is (head in shown or not head)
    loss, *rest = text.splitlines()[3:]
    assert loss.split()[-1] == "agree"
    assert rest[0].split()[-1] == "disagree"
    names = "".join(line.replace("disagree", "").strip() for line in rest)
    assert "".join(names.split()).startswith("".join(NAME.split())) or width > 40
