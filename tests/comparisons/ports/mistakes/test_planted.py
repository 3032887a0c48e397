"""Every mistake that is declared is planted into a small recorded program, and named."""

from __future__ import annotations

import importlib
import re

import pytest
from examples import EXAMPLES, planted_in
from planted_docs import UPDATED, section, write_section

from comparisons.ports import compare_programs
from comparisons.ports.mistakes.mistake import find_mistakes
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow

PLANTED = [planted for example in EXAMPLES for planted in planted_in(example)]


def marked():
    """All of them; but one of each declaration, those are slow."""
    seen = set()
    for planted in PLANTED:
        marks = [pytest.mark.slow] if planted.mistake in seen else []
        seen.add(planted.mistake)
        yield pytest.param(planted, id=planted.label, marks=marks)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The folder of an example that was recorded without a mistake; recorded once."""
    known = {}

    def recorded(example):
        if id(example) not in known:
            known[id(example)] = tmp_path_factory.mktemp("right") / "python"
            example.record(known[id(example)])
        return known[id(example)]

    return recorded


@pytest.mark.parametrize("planted", marked())
def test_a_planted_mistake_is_named(planted, right, tmp_path):
    planted.example.record(tmp_path / "r", planted)
    found = compare_programs(
        ProgramTrace.load(right(planted.example)), ProgramTrace.load(tmp_path / "r")
    )
    assert found.first is not None
    assert found.first.place.startswith(
        f"step 1, {planted.example.place} ({planted.example.layer}), "
    )
    assert found.first.wrong in ("r", "")
    assert found.first.words == (f"r: {planted.words}",)


def test_every_mistake_is_planted():
    """In one example at least; and every layer that has mistakes of its own has an example."""
    there = {planted.mistake for planted in PLANTED}
    lacking = [one for one in find_mistakes() if one not in there]
    assert not lacking, [f"{one.function.__module__}.{one.name}" for one in lacking]


SECTION = "In recorded programs"
HEAD = f"""## {SECTION}

Each is planted into one layer of a small recorded PyTorch program (`tests/examples`), which
declares the layer as it should be: `pyvae compare python r` says `r: `, and these words. Constants
are fitted: others than these are found as well. Where one program has the layer and the other
writes it out in functions, they are found, too.
"""


def test_the_page_of_planted_mistakes_has_them_all():
    """By the room of the mistake; options that are exchanged by their names alone."""
    rooms = {}
    for planted in PLANTED:
        room = planted.mistake.function.__module__.rpartition(".")[0]
        words = re.sub(r"^(\w+) = .* where it is .*", r"another `\1`", planted.words)
        layers = rooms.setdefault(room, {}).setdefault(words, {})
        layers[planted.example.layer] = None
    text = HEAD
    for room in sorted(rooms):
        title = importlib.import_module(room).__doc__.strip().rstrip(".")
        text += f"\n### {title}\n\n| mistake | layers |\n|---|---|\n"
        for words, layers in rooms[room].items():
            text += f"| {words} | {', '.join(sorted(layers))} |\n"
    if UPDATED:
        write_section(SECTION, text)
    assert section(SECTION).strip() == text.strip()
