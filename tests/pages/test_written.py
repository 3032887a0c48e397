"""Pages of the reference that the code writes: they cannot go stale.

PYVAE_UPDATE_DOCS=1 .venv/bin/python -m pytest tests/pages/test_written.py
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import typer
import yaml

from comparisons.agreement.tolerances import (
    EVALUATION_RULES,
    NORMALISED_RULES,
    NORMALISED_STAGE_RULES,
    RULES,
    STAGE_RULES,
    Rule,
)
from pages.pages import DOCS, ROOT
from pyvae.cli.main import build_app

REFERENCE = DOCS / "reference"
MARK = "<!-- Written by tests/pages/test_written.py with PYVAE_UPDATE_DOCS=1: from here on -->\n"
PACKAGE = ROOT / "r_bridge" / "rpackage"


def hold(page: Path, lines: Iterator[str]) -> None:
    """Holds what stands below the mark of a page to these lines; writes it if that is asked for."""
    head, mark, written = page.read_text().partition(MARK)
    assert mark
    expected = "\n" + "\n".join(lines) + "\n"
    if os.environ.get("PYVAE_UPDATE_DOCS"):
        page.write_text(head + mark + expected)
        return
    assert written == expected, "run this file with PYVAE_UPDATE_DOCS=1"


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table; pages that it names are links."""
    text = html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")
    return re.sub(r"docs/([\w/-]+)/([\w-]+)\.md", r"[\2](../\1/\2.md)", text)


def code(text: object) -> str:
    """Code in a cell: between backquotes a bar cannot be written for every Markdown."""
    return f"<code>{cell(str(text))}</code>"


def commands() -> Iterator[str]:
    shown = typer.main.get_command(build_app()).commands.items()
    for panel, members in groupby(shown, lambda item: str(item[1].rich_help_panel)):
        yield from (f"## {panel}", "")
        for name, command in members:
            yield from (f"### pyvae {name}", "", *command.help.splitlines(), "")
            yield from parameters(command)


def parameters(command: typer.core.TyperCommand) -> Iterator[str]:
    """Tables of a command's arguments, and of its options by panel of the help."""
    panels: dict[str, list[typer.core.TyperOption]] = {}
    arguments = []
    for one in command.params:
        if one.param_type_name == "argument":
            arguments.append(f"| {code(one.metavar)} | {cell(one.help)} |")
        else:
            panels.setdefault(one.rich_help_panel or "option", []).append(one)
    if arguments:
        yield from ("| argument | what |", "|---|---|", *arguments, "")
    for title, options in panels.items():
        yield from (f"| {title} | what | default |", "|---|---|---|", *map(option_row, options), "")


def option_row(option: typer.core.TyperOption) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" {option.metavar}"
    default = option.default
    if callable(default) or default in (None, False, ()) or option.show_default is False:
        default = "**required**" if option.required else ""
    else:
        default = code(default)
    return f"| {code(names + metavar)} | {cell(option.help)} | {default} |"


def tolerances() -> Iterator[str]:
    columns = {
        "float64": (RULES, "float64"),
        "float32": (RULES, "float32"),
        "float64, with batch norm": (NORMALISED_RULES, "float64"),
        "float32, with batch norm": (NORMALISED_RULES, "float32"),
    }
    yield f"| quantity of a run | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in dict.fromkeys(key for table, dtype in columns.values() for key in table[dtype]):
        rules = [table[dtype].get(name) for table, dtype in columns.values()]
        yield f"| {name.replace('_', ' ')} | {' | '.join(map(rule, rules))} |"
    for name, plain, normalised in (
        ("a stage of one step, both sides from one state", STAGE_RULES, NORMALISED_STAGE_RULES),
        ("evaluation mode, both sides from one state", EVALUATION_RULES, EVALUATION_RULES),
    ):
        rules = [table[dtype] for table in (plain, normalised) for dtype in ("float64", "float32")]
        yield f"| {name} | {' | '.join(map(rule, rules))} |"


def rule(rule: Rule | None) -> str:
    return "" if rule is None else f"{rule.rtol:g} ({rule.scale})"


def r_topics() -> dict[str, tuple[set[str], str]]:
    """The topics of the R package's manual: names that lead there, and title."""
    found = {}
    for file in sorted((PACKAGE / "man").glob("*.Rd")):
        text = file.read_text()
        (name,) = re.findall(r"^\\name\{(.*)\}$", text, re.MULTILINE)
        (title,) = re.findall(r"^\\title\{(.*?)\}$", text, re.MULTILINE | re.DOTALL)
        aliases = set(re.findall(r"^\\alias\{(.*)\}$", text, re.MULTILINE))
        found[name] = aliases, re.sub(r"\\[a-z]+\{([^{}]*)\}", r"\1", title)
    return found


def r_groups() -> list[dict[str, object]]:
    return yaml.safe_load((PACKAGE / "_pkgdown.yml").read_text())["reference"]


def r_functions() -> Iterator[str]:
    topics = r_topics()
    for group in r_groups():
        yield from (f"## {group['title']}", "")
        if "desc" in group:
            yield from (str(group["desc"]), "")
        yield from ("| topic | what |", "|---|---|")
        for name in group["contents"]:
            yield f"| `{name}` | {cell(topics[name][1])} |"
        yield ""


def test_commands_are_those_of_the_command_line():
    hold(REFERENCE / "commands.md", commands())
    text = (REFERENCE / "commands.md").read_text()
    assert "### pyvae compare" in text
    assert "`--checkpoint" not in text


def test_tolerances_are_those_that_decide():
    hold(REFERENCE / "tolerances.md", tolerances())


def test_r_functions_are_those_of_the_package():
    hold(REFERENCE / "r.md", r_functions())


def test_every_topic_of_the_r_package_has_one_group():
    listed = [name for group in r_groups() for name in group["contents"]]
    topics = r_topics().keys() - {"reexports"}  # internal: generics of another package
    assert sorted(listed) == sorted(topics)  # pkgdown refuses what is missing or unknown
    exported = re.findall(r"^export\((.*)\)$", (PACKAGE / "NAMESPACE").read_text(), re.MULTILINE)
    assert len(exported) > 10
    documented = set().union(*(aliases for aliases, _ in r_topics().values()))
    assert set(exported) <= documented


def test_every_variable_of_the_environment_is_described():
    described = set(re.findall(r"PYVAE_[A-Z_]+", (REFERENCE / "environment.md").read_text()))
    read = set()
    for folder in ("pyvae", "comparisons", "r_bridge"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".R", ".Rmd") and "testthat" not in file.parts:
                read |= set(re.findall(r"[\"'](PYVAE_[A-Z_]+)[\"']", file.read_text()))
    assert described == read
