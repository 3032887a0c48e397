from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from pyvae.errors import UserError
from pyvae.files.writing import output_folder, remove_file, remove_remains, replacing, write_file


@pytest.mark.parametrize("content", ["a line\nand “another”\n", b"\x00\xff\n", ""])
def test_a_file_holds_what_was_written(tmp_path, content):
    write_file(tmp_path / "file", content)
    expected = content.encode() if isinstance(content, str) else content
    assert (tmp_path / "file").read_bytes() == expected


def by_a_library(path, content):
    """Writes as safetensors does: a new file that is the owner's alone."""
    with (
        replacing(path) as name,
        os.fdopen(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f,
    ):
        f.write(content)


@pytest.mark.parametrize("mask", [0o022, 0o077])
@pytest.mark.parametrize("way", [write_file, by_a_library])
def test_a_file_is_as_readable_as_any_other(tmp_path, mask, way):
    before = os.umask(mask)
    try:
        way(tmp_path / "ours", "x")
        (tmp_path / "other").write_text("x")
        assert os.umask(mask) == mask  # unchanged by writing
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("fails", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails, error):
    write_file(tmp_path / "file", "old")

    def fail(*arguments, **options):
        raise error("no space left")

    monkeypatch.setattr(fails, fail)
    with pytest.raises(error):
        write_file(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def write_by_name(path, content):
    with replacing(path) as name:
        name.write_text(content)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EFBIG, r"file' would exceed .*\. Raise the limit \(ulimit -f\) and run the same"),
        (errno.ENOSPC, r"disk full while writing '.*file'\. Free some space and run"),
        (
            errno.EACCES,
            r"file' cannot be written \(Permission denied\)\. Choose a folder where you",
        ),
        (errno.EROFS, r"file' cannot be written \(Read-only file system\)\. Choose"),
    ],
)
@pytest.mark.parametrize("way", [write_file, write_by_name])
def test_an_error_in_writing_names_the_file_and_a_remedy(tmp_path, monkeypatch, number, said, way):
    write_file(tmp_path / "file", "old")

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(UserError, match=said):
        way(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.slow
def test_a_limit_of_files_is_named_and_costs_no_checkpoint(warm, tmp_path):
    limited = """
import resource, sys
from pyvae.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))  # as `ulimit -f` does
sys.exit(main())
"""
    done = warm.run(
        "-c", limited, "train", "conv", "--data", "digits", "--batch-size", "4", "--steps", "3",
        "--threads", "1", "--out", "out", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "checkpoint-00000003.safetensors' would exceed the limit on the size" in done.stderr
    assert done.stderr.count("\n") == 1


def test_output_folder_is_made_with_all_above_it(tmp_path):
    folder = tmp_path / "a" / "b"
    assert output_folder(folder) == folder
    assert output_folder(folder) == folder  # there already
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/folder", "file/a/b"])
def test_a_regular_file_is_refused_as_an_output_folder(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"/file' is a file\. Choose a folder with --out"):
        output_folder(tmp_path / below)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_write_permission_is_refused_as_an_output_folder(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        output_folder(Path(tmp_path))


def test_removing_a_file_removes_temporary_files_of_a_killed_writer(tmp_path):
    (tmp_path / "file.csv").write_text("x")
    (tmp_path / ".file.csv.abcd_123").write_text("half of x")
    mine = {"file.csv.mine", ".file", ".file.csv.swp", "other.csv", ".other.csv.abcd_123"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    remove_file(tmp_path / "file.csv")
    remove_file(tmp_path / "absent")
    remove_file(tmp_path / "no folder" / "file.csv")
    assert {path.name for path in tmp_path.iterdir()} == mine


def test_temporary_files_of_a_killed_writer_are_removed_beside_the_written_file(tmp_path):
    ours, theirs = ["a.csv", ".a.csv.x1_y2z3w"], [".b.csv.x1_y2z3w", ".a.csv.short", "b"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text(name)
    remove_remains(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *theirs}
    remove_remains(tmp_path / "absent")
