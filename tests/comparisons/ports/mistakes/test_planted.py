"""Every mistake that is declared is planted into a small recorded program, and named."""

from __future__ import annotations

import importlib
from collections import Counter
from functools import cache
from zlib import crc32

import pytest
from pages.planted_docs import UPDATED, section, table_of_rooms, write_section

from comparisons.ports import compare_programs
from comparisons.ports.mistakes.mistake import find_mistakes
from examples import EXAMPLES, planted_in
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


def labels():
    """Of the examples: the layer, and which of several with that layer."""
    count = Counter()
    for example in EXAMPLES:
        count[example.layer] += 1
        yield f"{example.layer}-{count[example.layer]}"


def first_of_each(example):
    """The first words of each declaration; test_told_apart.py has the others, where no buffers
    are kept."""
    planted = list(planted_in(example))
    if example.keeps_buffers:
        return planted
    return {one.mistake: one for one in reversed(planted)}.values()


def some_of(planted, label):
    """One that acts in the forward pass, which depends on the example's name: the rest of these is
    told apart in memory by test_told_apart.py. And each that acts in the backward pass, in some of
    the examples that have it. `make long` plants all of them in all."""
    number = crc32(label.encode())
    forward = [one for one in planted if not one.mistake.backward]
    return [
        *(forward[number % len(forward) :][:1] if forward else ()),
        *(one for one in planted if (label, one.mistake) in chosen()),
    ]


@cache
def chosen():
    """Examples and mistakes of their backward passes: those that one layer alone may have all, of
    those that several have every third example, the first among them."""
    count, found = Counter(), set()
    for example, label in zip(EXAMPLES, labels(), strict=True):
        for one in (one.mistake for one in first_of_each(example) if one.mistake.backward):
            if len(one.layers) == 1 or count[one] % 3 == 0:
                found.add((label, one))
            count[one] += 1
    return found


@pytest.mark.parametrize(
    ("example", "label"), list(zip(EXAMPLES, labels(), strict=True)), ids=labels()
)
def test_planted_mistakes_are_named(example, label, tmp_path):
    planted = list(first_of_each(example))
    some = planted if example.keeps_buffers else some_of(planted, label)
    assert_named(example, some, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES, ids=labels())
def test_every_planted_mistake_is_named(example, tmp_path):
    assert_named(example, planted_in(example), tmp_path)


def assert_named(example, mistakes, tmp_path):
    """Each by its own words alone, at its place, in the right program."""
    example.record(tmp_path / "python")
    right = ProgramTrace.load(tmp_path / "python")
    for planted in mistakes:
        example.record(tmp_path / "r", planted)
        found = compare_programs(right, ProgramTrace.load(tmp_path / "r"))
        assert found.first is not None, planted.label
        assert found.first.place.startswith(f"step 1, {example.place} ({example.layer}), "), (
            planted.label
        )
        assert found.first.wrong in ("r", "")
        assert found.first.words == (f"r: {planted.words}",)


@pytest.fixture(scope="module")
def everything():
    return [planted for example in EXAMPLES for planted in planted_in(example)]


def test_every_mistake_is_planted(everything):
    """In one example at least."""
    there = {planted.mistake for planted in everything}
    lacking = [one for one in find_mistakes() if one not in there]
    assert not lacking, [f"{one.function.__module__}.{one.name}" for one in lacking]


SECTION = "In recorded programs"
HEAD = f"""## {SECTION}

Each is planted into one layer of a small recorded PyTorch program (`tests/examples`), which
declares the layer as it should be: `pyvae compare python r` says `r: `, and these words. Constants
are fitted: others than these are found as well. Where one program has the layer and the other
writes it out in functions, they are found, too. *the layer* stands for the name of each of those to
the right, *c* for a small constant.
"""


def test_the_page_of_planted_mistakes_has_them_all(everything):
    """By the room of the mistake; options that are exchanged by their names alone."""
    rooms = {}
    for planted in everything:
        room = planted.mistake.function.__module__.rpartition(".")[0]
        rooms.setdefault(room, []).append((planted.words, planted.example.layer))
    titles = {room: importlib.import_module(room).__doc__.strip().rstrip(".") for room in rooms}
    text = HEAD + table_of_rooms((titles[room], rooms[room]) for room in sorted(rooms))
    if UPDATED:
        write_section(SECTION, text)
    assert section(SECTION).strip() == text.strip()
