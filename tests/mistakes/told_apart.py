"""Of suspected mistakes: is each told from what is right, and what constant was fitted?"""

from __future__ import annotations

import re

from comparisons.diagnosis.closeness import distance
from comparisons.expected.layers import float64

__all__ = ["assert_told_apart", "off", "one_with"]


def off(found, expected):
    """The distance, relative to the largest magnitude."""
    expected = float64(expected)
    assert expected.abs().max() > 0
    return distance(found, expected) / float(expected.abs().max())


def assert_told_apart(suspects, fitted=()):
    """The right value alone has no words; the others have, each its own, and another value."""
    (right_words, right), *rest = suspects
    words = [words for words, _ in rest]
    assert right_words == ""
    assert all(words)
    assert len(set(words)) == len(words)
    for mistake, value in rest:
        if not mistake.startswith(fitted):
            assert off(value, right) > 1e-12, mistake


def one_with(suspects, words):
    """The value and the constant of the suspect whose words match."""
    found = [(re.match(words, text), value) for text, value in suspects]
    ((match, value),) = [(match, value) for match, value in found if match]
    return value, float(match[1])
