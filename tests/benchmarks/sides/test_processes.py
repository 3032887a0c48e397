"""Page faults and memory, of this process."""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import contextmanager

import pytest

from benchmarks.sides.processes import _minor_faults, memory_of, minor_faults, reset_peak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux counts, others do not")


@contextmanager
def touched(megabytes=50):
    """Holds memory that is asked of the system itself, and written to: an allocator might have
    kept some."""
    with mmap.mmap(-1, megabytes * 10**6) as memory:
        memory.write(b"1" * len(memory))
        yield


def test_touched_pages_are_counted():
    grown = []
    for _ in range(5):  # meanwhile the system may take back pages that lie idle
        before, memory = minor_faults([os.getpid()]), memory_of([os.getpid()])
        with touched():
            after, now = minor_faults([os.getpid()]), memory_of([os.getpid()])
        assert after > before
        assert now.peak >= now.now - 1
        grown.append(now.now - memory.now)
    assert max(grown) == pytest.approx(50, abs=20)


def test_the_peak_begins_again():
    with touched():
        before = memory_of([os.getpid()])
    assert memory_of([os.getpid()]).peak >= before.now - 1
    reset_peak([os.getpid()])
    if memory_of([os.getpid()]).peak == before.peak:
        pytest.skip("this system does not let a peak begin again")
    assert memory_of([os.getpid()]).peak < before.now - 20


def test_several_processes_are_added_up():
    one, two = (memory_of([os.getpid()] * times) for times in (1, 2))
    assert two.now == pytest.approx(2 * one.now, rel=0.05)


def test_a_process_that_is_gone_has_none():
    assert minor_faults([2**22 + 1]) is None
    assert memory_of([2**22 + 1]) is None
    reset_peak([2**22 + 1])


def test_a_name_may_hold_blanks_and_brackets():
    fields = ["S", *map(str, range(4, 20))]  # state is the third field, minflt the tenth
    assert _minor_faults(f"12 (a (strange) name) {' '.join(fields)}") == 10
