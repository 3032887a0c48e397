from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvae.cli.options.step_set import StepSet
from pyvae.errors import UserError

ranges = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))),
    min_size=1,
    max_size=5,
)
blanks = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def written(draw):
    """Ranges, and one of the ways to write them."""
    chosen = draw(ranges)
    parts = []
    for first, last in chosen:
        alone = first == last and draw(st.booleans())
        numbers = [str(first)] if alone else [str(first), str(last)]
        around = f"{draw(blanks)}-{draw(blanks)}"
        parts.append(draw(blanks) + around.join(numbers) + draw(blanks))
    return chosen, ",".join(parts)


@pytest.mark.slow
@given(written())
def test_steps_are_those_that_were_written(case):
    chosen, text = case
    expected = {step for first, last in chosen for step in range(first, last + 1)}
    steps = StepSet.parse(text)
    assert {step for step in range(60) if step in steps} == expected


@given(st.integers(-(10**9), 10**9), st.sampled_from(["all", "ALL", " all ", "All\n"]))
def test_all_is_every_step(step, text):
    assert step in StepSet.parse(text)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["none", "NONE", " none ", "None\n"]))
def test_none_is_no_step(step, text):
    assert step not in StepSet.parse(text)


@given(st.integers(1, 999_999_999))
def test_any_single_step_is_a_set(step):
    steps = StepSet.parse(str(step))
    assert step in steps
    assert step - 1 not in steps
    assert step + 1 not in steps


def test_only_whole_numbers_are_steps():
    steps = StepSet.parse("1-3")
    assert not any(other in steps for other in ("2", 2.5, None, (2,)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0-3",
        "3-1",
        "x",
        "1,x",
        "1,",
        ",1",
        "1,,2",
        "-1",
        "1-",
        "1-2-3",
        "1 2",
        "1.0",
        "1e3",
        "+1",
        "1:3",
        "all,1",
        "1,none",
        "alles",
        "1" * 10,
        "1--3",
    ],
)
def test_what_is_no_set_is_the_users_error(text):
    with pytest.raises(UserError) as error:
        StepSet.parse(text)
    said = str(error.value)
    assert said.startswith(f"--probe '{text.strip()}'")
    assert "1,3-5" in said


def by_hand(text):
    """The ranges of a text in which there are digits, commas, hyphens and blanks alone; None if
    it is no set."""
    chosen = []
    for part in text.split(","):
        ends = [end.strip(" ") for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdigit() for end in ends):
            return None
        first, last = int(ends[0]), int(ends[-1])
        if first < 1 or last < first:
            return None
        chosen.append((first, last))
    return chosen


@given(st.text("0123,- ", max_size=8))
def test_a_text_is_a_set_or_the_users_error(text):
    chosen = by_hand(text)
    if chosen is None:
        with pytest.raises(UserError):
            StepSet.parse(text)
    else:
        steps = StepSet.parse(text)
        edges = {end + d for pair in chosen for end in pair for d in (-1, 0, 1)}
        for step in edges:
            assert (step in steps) == any(first <= step <= last for first, last in chosen)


@given(ranges, st.integers(1, 60))
def test_a_step_beyond_the_runs_end_is_the_users_error(chosen, total):
    steps = StepSet(tuple(chosen))
    last = max(last for _, last in chosen)
    if last <= total:
        steps.check(total)
    else:
        expected = f"--probe names step {last}: expected steps from 1 to {total}"
        with pytest.raises(UserError, match=re.escape(expected)):
            steps.check(total)


@pytest.mark.parametrize("text", ["all", "none"])
def test_all_and_none_fit_every_run(text):
    StepSet.parse(text).check(1)
