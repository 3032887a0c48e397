from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from pyvae.errors import UserError
from pyvae.runs.folder_lock import FolderLock

HOLDS = """
import sys, time
from pathlib import Path
from pyvae.runs.folder_lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_is_held_is_refused_with_who_holds_it(tmp_path, holder):
    said = (
        f"^'{re.escape(str(tmp_path))}' is being written by another run "
        rf"\(process {holder.pid}\)\. Wait until it has ended, or choose another --out\.$"
    )
    with pytest.raises(UserError, match=said), FolderLock(tmp_path):
        pass
    holder.communicate()  # it ends
    with FolderLock(tmp_path):
        pass


def test_who_is_killed_holds_nothing_any_more(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_nothing_of_it_stays(tmp_path):
    with FolderLock(tmp_path / "new" / "folder") as lock:
        assert not lock.check()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_two_of_one_process_are_two(tmp_path):
    with FolderLock(tmp_path):
        with pytest.raises(UserError, match="another run"), FolderLock(tmp_path):
            pass
        with FolderLock(tmp_path / "below"):
            pass


def test_a_folder_that_was_removed_is_made_and_held_again(tmp_path):
    folder = tmp_path / "out"
    with FolderLock(folder) as lock:
        (folder / ".lock").unlink()
        folder.rmdir()
        assert lock.check()
        assert not lock.check()
        with pytest.raises(UserError, match="another run"), FolderLock(folder):
            pass
    assert list(folder.iterdir()) == []


def test_a_folder_that_another_run_has_taken_meanwhile_is_left_to_it(tmp_path):
    folder = tmp_path / "out"
    with FolderLock(folder) as first:
        (folder / ".lock").unlink()
        with FolderLock(folder):
            with pytest.raises(UserError, match="another run"):
                first.check()
            assert (folder / ".lock").exists()


def test_a_folder_that_cannot_be_one_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"), FolderLock(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
