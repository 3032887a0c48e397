"""What the allocator does is asked of the kernel: page faults of blocks that come and go."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from pyvae.engines.allocator import SET_BY_USER, give_freed_memory_back, keep_freed_memory

FAULTS = """
import resource, sys, threading
from pyvae.engines.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        blocks = [bytearray(50_000_000), bytearray(90_000_000)]
        del blocks
    print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=faults)
thread.start() if sys.argv[2] == "thread" else faults()
"""
PAGES = 140_000_000 // 4096  # touched in each of the 6 rounds

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def faults(*arguments: str, **environment: str) -> tuple[str, int]:
    mine = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], env=mine | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.slow
@glibc
@pytest.mark.parametrize("where", ["main", "thread"])
def test_large_blocks_are_mapped_once(where):
    kept, count = faults("keep", where)
    assert kept == "True"
    assert count < 2 * PAGES  # not in every round
    _, before = faults("leave", where)
    assert before > 5 * PAGES


HELD = """
import re
from pyvae.engines.allocator import give_freed_memory_back, keep_freed_memory
def mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
keep_freed_memory()
before, blocks, between = mb(), [], []
for _ in range(20):
    blocks.append(bytearray(20_000_000))
    between.append(bytearray(100_000))  # stays: the heap cannot just be cut off at its end
del blocks
kept = mb()
give_freed_memory_back()
print(kept - before, mb() - before)
"""


@glibc
def test_what_is_kept_is_given_back_at_the_end_of_a_run():
    mine = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
    done = subprocess.run(
        [sys.executable, "-c", HELD], env=mine, capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    assert kept > 350
    assert left < 50


def test_nothing_is_given_back_where_nothing_was_kept(monkeypatch):
    keep_freed_memory.cache_clear()
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("asked the C library"))
    give_freed_memory_back()


@pytest.mark.slow
@glibc
def test_what_a_user_has_set_is_left_alone():
    assert faults("keep", "main", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
    assert faults("keep", "main", GLIBC_TUNABLES="glibc.malloc.arena_max=4")[0] == "False"


def test_is_harmless_elsewhere(monkeypatch):
    class NoGlibc:
        """A C library without mallopt."""

    undecorated = keep_freed_memory.__wrapped__
    monkeypatch.setattr("ctypes.CDLL", lambda name: NoGlibc())
    assert undecorated() is False
    monkeypatch.setattr("sys.platform", "darwin")
    assert undecorated() is False


def test_a_threshold_that_is_refused_is_replaced_by_never_mapping(monkeypatch):
    asked = []

    class OldGlibc:
        @staticmethod
        def mallopt(what: int, value: int) -> int:
            asked.append((what, value))
            return int(what != -3)

    for name in list(os.environ):
        if name in SET_BY_USER:
            monkeypatch.delenv(name)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: OldGlibc)
    assert keep_freed_memory.__wrapped__() is True
    assert (-4, 0) in asked
