"""Results as tables."""

from __future__ import annotations

import re

from rich.console import Console

from benchmarks.report.tables import markdown, print_tables, tables


def test_every_part_has_its_table(results):
    assert len(tables(results)) == 3 + len(results["growth"])
    parts = ("conv", "recipes", "startup", "draws", "bridge", "growth")
    assert tables(results | dict.fromkeys(parts)) == []


def test_nothing_is_cut_off_on_a_narrow_terminal(results):
    console = Console(width=80, record=True)
    print_tables(results, console)
    assert "…" not in console.export_text()


def test_markdown_has_a_cell_for_each_head(results):
    text = markdown(results)
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        widths = {line.count("|") for line in block.strip().splitlines()}
        assert len(widths) == 1
    assert text.count("### ") == len(tables(results))


def test_a_side_that_is_not_there_has_no_row(results, conv_results):
    without = results | {"conv": conv_results("pyvae", "plain")}
    text = markdown(without)
    assert "R torch loop" not in text
    assert "base R, float64" not in text
    assert "plain PyTorch loop" in text


def test_every_recipe_has_its_floor(results):
    (table,) = [one for one in tables(results) if one.title.startswith("The other recipes")]
    assert table.headers[-2:] == ("floor ms", "pyvae/it")
    assert [row[-2:] for row in table.rows] == [("8.0", "1.25")] * 2
    assert "(GFLOP: mlp 1.5, clustering-semi-supervised 1.5)" in table.caption
