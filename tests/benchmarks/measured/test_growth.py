"""What is tried along each line."""

from __future__ import annotations

import pytest

from benchmarks.measured.growth import thread_counts


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_threads_double_up_to_the_most(most, counts):
    assert thread_counts(most) == counts
