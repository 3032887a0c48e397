"""Whatever a file holds, a reader returns a value or raises a UserError of one line, and keeps the
rule on memory of pyvae/files/reading.py. tests/fuzz/fuzz.py searches further."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.readers import READERS, a_trace
from pyvae.data.mnist import DownloadError
from pyvae.errors import UserError, printable

pytestmark = pytest.mark.slow

every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
few = hypothesis.settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,  # the one file is written each time
    ],
)
BINARY = ("idx-images", "idx-images-gz", "npz", "npz-packed", "npy")
BINARY += ("parameters", "latents", "probe", "program-step", "outcome")
BINARY += ("r-weights", "r-list", "pytorch-weights")


@pytest.fixture(autouse=True, scope="module")
def _warm(tmp_path_factory):
    """What a reader imports when it is first called is not memory that a file takes."""
    for reader in READERS.values():
        folder = tmp_path_factory.mktemp("warm")
        reader.make(folder)
        reader.read(folder)


def outcome(reader, folder: Path, path: Path, content: bytes) -> object:
    """What a reader makes of a file: a value, or the UserError; nothing else is let through."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = reader.read(folder)
    except UserError as error:
        found = error
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert taken <= reader.allowed(len(content))
    if isinstance(found, UserError):
        assert str(found)
        assert "\n" not in str(found)
        assert printable(str(found)) == str(found)
    return found


def refused(reader, found: object) -> bool:
    return found is None if reader.silent else isinstance(found, UserError)


@every_reader
def test_a_whole_file_is_read(reader, tmp_path):
    path = reader.make(tmp_path)
    assert not refused(reader, outcome(reader, tmp_path, path, path.read_bytes()))


@pytest.mark.parametrize("name", BINARY)
def test_a_file_cut_anywhere_is_refused(name, tmp_path):
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    for kept in sorted({*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        assert refused(reader, outcome(reader, tmp_path, path, whole[:kept])), kept


@pytest.mark.parametrize("name", sorted(set(READERS) - set(BINARY)))
def test_a_text_cut_anywhere_is_read_or_refused(name, tmp_path):
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    for kept in range(0, len(whole), max(1, len(whole) // 60)):
        outcome(reader, tmp_path, path, whole[:kept])


def spoiled(draw, content: bytes) -> bytes:
    """The content after a few changes: bytes changed, put in, left out, there twice."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        to = at + draw(st.integers(0, 40))
        new = draw(
            st.one_of(
                st.binary(min_size=1, max_size=9),
                st.sampled_from([b"", b"\0", b"\xff" * 8, b"-1", b"1e400", b"NaN", b"[" * 3000]),
                st.sampled_from([b'"', b",", b"\n", b"null", b"true", b"9" * 5000, b"\\ud800"]),
                st.just(content[at:to] * 3),
            )
        )
        end = draw(st.sampled_from([at, at + len(new), to]))
        content = content[:at] + new + content[end:]
    return content


@pytest.fixture
def made(reader, tmp_path):
    """A file that can be read, and what is in it."""
    path = reader.make(tmp_path)
    return path, path.read_bytes()


@every_reader
@few
@given(data=st.data())
def test_a_spoiled_file_is_read_or_refused(reader, made, tmp_path, data):
    path, whole = made
    content = data.draw(st.composite(spoiled)(whole), "content")
    outcome(reader, tmp_path, path, content)


@pytest.mark.parametrize(
    "reader",
    [READERS[name] for name in ("parameters", "outcome", "npz", "idx-images", "trace-json")],
)
@few
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(reader, made, tmp_path, content):
    assert refused(reader, outcome(reader, tmp_path, made[0], content))


@every_reader
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to nothing"])
def test_folders_pipes_and_devices_are_refused_at_once(reader, kind, tmp_path, monkeypatch):
    def no_network(*arguments):
        raise DownloadError("no network")

    monkeypatch.setattr("pyvae.data.mnist._download", no_network)  # where there are no images
    path = reader.make(tmp_path)
    path.unlink()
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "link to nothing": lambda: path.symlink_to(tmp_path / "absent"),
    }[kind]()
    try:
        found = reader.read(tmp_path)
    except (UserError, DownloadError) as error:
        found = [str(error)]
    assert found is None or len(found) <= 1  # a line, or as if there were nothing


# --- what a header promises --------------------------------------------------------------------


def idx(*lengths: int, body: bytes = b"") -> bytes:
    return bytes([0, 0, 8, len(lengths)]) + struct.pack(f">{len(lengths)}I", *lengths) + body


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(idx(*[1] * 255, body=b"x"), id="255 dimensions"),
        pytest.param(idx(*[2**32 - 1] * 3), id="2^96 bytes"),
        pytest.param(idx(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), id="nothing, of a great shape"),
        pytest.param(idx(0, 28, 28), id="no images"),
        pytest.param(idx(body=b"x"), id="a number"),
    ],
)
def test_an_idx_header_that_promises_too_much_is_refused(content, tmp_path):
    reader = READERS["idx-images"]
    found = outcome(reader, tmp_path, reader.make(tmp_path), content)
    assert "is damaged" in str(found)


def npy(header: str | bytes, body: bytes = b"", version: int = 1) -> bytes:
    header = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + body


def described(descr: object = "|u1", shape: object = (2, 784), order: object = False) -> str:
    return repr({"descr": descr, "fortran_order": order, "shape": shape}) + "\n"


def archive(content: bytes, how: int = zipfile.ZIP_STORED, name: str = "images.npy") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as opened:
        opened.writestr(name, content)
    return made.getvalue()


def with_size(content: bytes, size: int) -> bytes:
    """An archive whose table of contents says that its only member has another size."""
    at = content.rindex(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


BOMB = archive(npy(described(), bytes(2**21)), zipfile.ZIP_DEFLATED)
LONG = b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 2**22


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(archive(npy(described(shape=(10**12, 784)))), id="10^12 images"),
        pytest.param(archive(npy(described(shape=(2**62, 2**62)))), id="2^124 bytes"),
        pytest.param(archive(npy(described(shape=(-1, 784)))), id="less than none"),
        pytest.param(archive(npy(described(shape=(True, 784)), bytes(784))), id="True images"),
        pytest.param(archive(npy(described(shape=(1.0, 784)), bytes(784))), id="1.0 images"),
        pytest.param(archive(npy(described("|V1000000000", (1, 784)))), id="10^9 bytes a pixel"),
        pytest.param(archive(npy(described("|O", (1, 784)), bytes(8 * 784))), id="objects"),
        pytest.param(archive(npy(described([("a", "|O")], (1,)), bytes(8))), id="objects within"),
        pytest.param(archive(npy(described("|u0", (2, 784)))), id="no such type"),
        pytest.param(archive(npy(described(order="F"), bytes(1568))), id="order F"),
        pytest.param(archive(npy("{1: 2, 'descr': 3}\n")), id="keys of several kinds"),
        pytest.param(archive(npy("{'descr': (\n")), id="an open bracket"),
        pytest.param(archive(npy("(" * 9000 + "\n")), id="many brackets"),
        pytest.param(archive(npy("-" * 9000 + "1\n")), id="many signs"),
        pytest.param(archive(npy("__import__('os').getpid()\n")), id="a call"),
        pytest.param(archive(npy(b"\xff\xfe" * 40)), id="bytes for a header"),
        pytest.param(archive(npy(described(), bytes(1568), version=3)), id="version 3"),
        pytest.param(archive(LONG, zipfile.ZIP_DEFLATED), id="a header of 4 GB"),
        pytest.param(with_size(archive(LONG, zipfile.ZIP_DEFLATED), 100), id="4 GB said to be 100"),
        pytest.param(with_size(BOMB, 2**31), id="2 GB for 2 KB"),
        pytest.param(with_size(BOMB, 2**32 - 1), id="the most that fits"),
        pytest.param(with_size(BOMB, 2000), id="more than it says"),
        pytest.param(archive(npy(described(), bytes(1568)), zipfile.ZIP_BZIP2), id="bzip2"),
        pytest.param(archive(npy(described(), bytes(1568)), zipfile.ZIP_LZMA), id="lzma"),
    ],
)
def test_an_npz_header_that_promises_too_much_is_refused(content, tmp_path):
    reader = READERS["npz"]
    found = outcome(reader, tmp_path, reader.make(tmp_path), content)
    assert "cannot be read" in str(found) or "holds Python objects" in str(found)


def test_an_npz_file_that_unpacks_to_much_is_refused_before_that(tmp_path):
    """250 MB of zeros in one, as a bomb has them; honest about it."""
    path = tmp_path / "mine.npz"
    part = bytes(784 * 10_000)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
        opened.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(described(shape=(320_000, 784))))
        for _ in range(32):
            member.write(part)
    found = outcome(READERS["npz"], tmp_path, path, path.read_bytes())
    assert "more than 200 times the file's size" in str(found)


def tensors(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape: object = (2,), dtype: str = "F64", offsets: object = (0, 16)) -> dict:
    return {"b": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize("name", ["parameters", "probe", "checkpoint"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tensors({}, length=2**63), id="a header of 2^63 bytes"),
        pytest.param(tensors({}, length=99_999_999), id="a header of 100 MB"),
        pytest.param(tensors(tensor((2**34,), offsets=(0, 2**37))), id="128 GB"),
        pytest.param(tensors(tensor((2**40, 2**40), offsets=(0, 0))), id="2^83 bytes"),
        pytest.param(tensors(tensor((0, 2**63 - 1, 2**63 - 1), offsets=(0, 0))), id="0 of 2^126"),
        pytest.param(tensors(tensor([1] * 99, offsets=(0, 8)), bytes(8)), id="99 dimensions"),
        pytest.param(tensors(tensor((-1,)), bytes(16)), id="less than none"),
        pytest.param(tensors(tensor(offsets=(16, 0)), bytes(16)), id="an end before its beginning"),
        pytest.param(tensors(tensor(offsets=(8, 24)), bytes(24)), id="a gap"),
        pytest.param(tensors(tensor(), bytes(99)), id="more than it says"),
        pytest.param(tensors(tensor(dtype="BF16", offsets=(0, 4)), bytes(4)), id="BF16"),
        pytest.param(tensors(tensor(dtype="F4", offsets=(0, 1)), bytes(1)), id="F4"),
        pytest.param(tensors(tensor(dtype="C64"), bytes(16)), id="C64"),
        pytest.param(tensors(tensor(dtype="object"), bytes(16)), id="objects"),
        pytest.param(tensors(b'{"a":' * 5000), id="depth"),
        pytest.param(tensors(b"\xff" * 16), id="no text"),
        pytest.param(tensors(b"[]"), id="a list"),
        pytest.param(b"\x80\x04cos\nsystem\n(S'true'\ntR.", id="a pickle"),
    ],
)
def test_a_safetensors_header_that_promises_too_much_is_refused(name, content, tmp_path):
    reader = READERS[name]
    assert refused(reader, outcome(reader, tmp_path, reader.make(tmp_path), content))


# --- trace.json --------------------------------------------------------------------------------


def json_file(tmp_path: Path, change) -> object:
    """What is made of a trace whose trace.json was changed, as text or as what it holds."""
    reader = READERS["trace-json"]
    path = reader.make(tmp_path)
    text = path.read_text()
    changed = change(text)
    if not isinstance(changed, (str, bytes)):
        changed = json.dumps(changed)
    content = changed if isinstance(changed, bytes) else changed.encode("utf-8", "surrogatepass")
    return outcome(reader, tmp_path, path, content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda text: "[" * 100_000, "recursion", id="depth"),
        pytest.param(lambda text: '{"a":' * 100_000, "recursion", id="depth of objects"),
        pytest.param(lambda text: "9" * 5000, "digits", id="5000 digits"),
        pytest.param(
            lambda text: text[:-2] + ', "engine": "b"}', "'engine' occurs twice", id="a key twice"
        ),
        pytest.param(lambda text: text.replace("0.1", "NaN"), "NaN is not a number", id="NaN"),
        pytest.param(lambda text: text.replace("0.1", "-Infinity"), "not a number", id="-Infinity"),
        pytest.param(lambda text: text.replace("0.1", "1e400"), "1e400 is too large", id="1e400"),
        pytest.param(lambda text: text.encode("utf-16"), "utf-8", id="UTF-16"),
        pytest.param(lambda text: text.replace("my e", "ä").encode("cp1252"), "utf-8", id="cp1252"),
        pytest.param(lambda text: text.replace("my e", r"\ud800"), "surrogates", id="a surrogate"),
        pytest.param(lambda text: text.replace(",", "\0", 1), "delimiter", id="a null byte"),
        pytest.param(lambda text: text + " " * 2**24, "more than 16777216 bytes", id="16 MB"),
        pytest.param(lambda text: text.replace("my e", "\x1b"), "control character", id="escape"),
        pytest.param(lambda text: "null", "trace.json is null, not an object", id="null"),
    ],
)
def test_invalid_json_is_refused(change, said, tmp_path):
    found = json_file(tmp_path, change)
    assert isinstance(found, UserError)
    assert said in str(found)


def test_json_may_begin_with_a_byte_order_mark(tmp_path):
    assert not isinstance(json_file(tmp_path, lambda text: "\ufeff" + text), UserError)


def put(**changes):
    return lambda text: json.loads(text) | changes


def put_setting(**changes):
    def change(text):
        about = json.loads(text)
        return about | {"settings": about["settings"] | changes}

    return change


HUGE = 10**4000
WRONG = {
    "format": [0, -1, True, 4.5, "4", None, HUGE],
    "engine": [None, 3, ["a"], {"a": 1}, "x" * 5000],
    "recipe": [None, 3, []],
    "data": [None, [], "digits", {}, {"name": 3}, {"name": "a", "images": "many"}],
    "environment": [None, [], "a", {"torch": {"a": 1}}, {"torch": [1]}],
    "mode": ["frei", 3, None, True],
    "probes": [None, 1, ["1"], [0], [-1], [1.5], [True], [HUGE], {"1": 1}],
    "steps": [None, "4", True, -1, 4.5, HUGE, 5],
    "complete": [None, "true", 1, []],
    "settings": [None, [], 3],
}
WRONG_SETTINGS = {
    "objective": [None, 3, "a", ["vae"], "x" * 5000],
    "epochs": [None, "4", True, 0, -1, 1.5, HUGE],
    "steps": ["4", True, 0, -1, 1.5, HUGE],
    "batch_size": [None, "7", False, 0, -7, 0.5, HUGE],
    "latent_dim": [None, "3", True, 0, 10_001, 2.5, HUGE],
    "learning_rate": [None, "0.1", True, 0, -0.1, HUGE, []],
    "dtype": [None, "float16", 64, ["float32"]],
    "seed": [None, "5", True, -1, 2**63, 0.5],
    "rng": [None, "dice", 3],
    "hyper": [None, [], {"beta": "1"}, {"beta": True}, {"beta": None}, {"beta": HUGE}],
    "surprise": [1],
}
CASES = [(put, key, value) for key, values in WRONG.items() for value in values]
CASES += [(put_setting, key, value) for key, values in WRONG_SETTINGS.items() for value in values]


@pytest.mark.parametrize(
    ("where", "key", "value"), CASES, ids=[f"{key}-{str(value)[:20]}" for _, key, value in CASES]
)
def test_a_value_of_the_wrong_kind_is_refused(where, key, value, tmp_path):
    found = json_file(tmp_path, where(**{key: value}))
    assert isinstance(found, UserError)
    assert "cannot be read" in str(found) or "Update pyvae" in str(found)
    assert len(str(found)) < 600


@pytest.mark.parametrize("key", [*WRONG, *WRONG_SETTINGS])
def test_a_value_that_is_absent_is_named(key, tmp_path):
    def without(text):
        about = json.loads(text)
        about.pop(key, None)
        about.get("settings", {}).pop(key, None)
        return about

    found = json_file(tmp_path, without)
    optional = ("mode", "probes", "dtype", "rng", "seed", "hyper", "surprise")
    assert isinstance(found, UserError) == (key not in optional)
    if key not in optional:
        assert key in str(found)


def test_numbers_as_r_writes_them_are_read(tmp_path):
    changes = {"environment": {"threads": 2, "gpu": None, "mkl": False}}
    found = json_file(
        tmp_path, lambda text: put(**changes)(json.dumps(put_setting(epochs=4.0)(text)))
    )
    assert not isinstance(found, UserError)


# --- history.csv -------------------------------------------------------------------------------

HEAD = "epoch,total,reconstruction,regulariser\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("," * 200_000 + "\n", "columns", id="200,001 columns"),
        pytest.param(HEAD + "1," * 3_000_000 + "\n", "cells for 4 columns", id="3 million cells"),
        pytest.param(HEAD + "1,2,3," + "4" * 5_000_000 + "\n", "field limit", id="a long cell"),
        pytest.param(HEAD + '1,2,3,"4', "unexpected end", id="an open quote"),
        pytest.param(HEAD + "1,2,3\n", "3 cells for 4", id="a cell less"),
        pytest.param(HEAD + "1,2,3,4,5\n", "5 cells for 4", id="a cell more"),
        pytest.param(
            "total," + HEAD + "1,1,2,3,4\n", "two columns of one name", id="a column twice"
        ),
        pytest.param(HEAD.replace("total", "sum") + "1,2,3,4\n", "'total'", id="no total"),
        pytest.param(HEAD + "1,2,3,1_0\n", "'1_0' is not a number", id="an underscore"),
        pytest.param(HEAD + "1,2,3,\n", "'' is not a number", id="an empty cell"),
        pytest.param(HEAD + "1,2,3,\0\n", "is not a number", id="a null byte"),
        pytest.param(HEAD + "1,2,3,=1+1\n", "'=1+1' is not a number", id="a formula"),
        pytest.param(HEAD + "1.5,2,3,4\n", "whole number", id="epoch 1.5"),
        pytest.param(HEAD + "0,2,3,4\n", "whole number", id="epoch 0"),
        pytest.param(HEAD + "nan,2,3,4\n", "whole number", id="epoch nan"),
        pytest.param(HEAD + "1e300,2,3,4\n", "whole number", id="epoch 1e300"),
        pytest.param(HEAD + "\n" * 1_000_000, "0 of 4 steps", id="a million empty lines"),
        pytest.param(HEAD + "1,2,3,4\n" * 5, "5 of 4 steps", id="a step more"),
    ],
)
def test_an_invalid_history_is_refused(text, said, tmp_path):
    reader = READERS["history-csv"]
    found = outcome(reader, tmp_path, reader.make(tmp_path), text.encode())
    assert isinstance(found, UserError)
    assert said in str(found)
    assert len(str(found)) < 600


def test_a_history_of_another_program_is_read(tmp_path):
    """In another order, with further columns, quotes, empty lines, a mark and carriage returns."""
    reader = READERS["history-csv"]
    path = reader.make(tmp_path)
    text = '\ufeffregulariser,note,"epoch",total,reconstruction\r\n\r\n'
    text += '0.1,"a, ""b""\r\nc",1,1e-320,nan\r\n' * 4
    found = outcome(reader, tmp_path, path, text.encode())
    table = found[0]
    assert table["regulariser"].tolist() == [0.1] * 4
    assert table["total"].tolist() == [1e-320] * 4
    assert np.isnan(table["reconstruction"]).all()


def test_the_valid_traces_of_these_tests_have_no_checksums(tmp_path):
    """They would hide all other checks."""
    a_trace(tmp_path)
    assert "sha256" not in json.loads((tmp_path / "trace.json").read_text())
