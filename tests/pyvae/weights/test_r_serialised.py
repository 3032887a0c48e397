"""R's serialisation: as written here by its rules, as R writes it, and what is refused."""

from __future__ import annotations

import struct
import subprocess

import numpy as np
import pytest
import torch
from written_files.r_lists import HEAD, r_list, r_texts

from pyvae.weights.r_serialised import Address, RefusedError, unserialise
from r_bridge.rpy2_fit import find_r

NAMED = {"fc.weight": torch.ones(2), "inner": {"b": torch.ones(3), "rate": 0.25, "note": "x"}}


def addresses(value):
    if isinstance(value, dict):
        return {name: addresses(one) for name, one in value.items()}
    return Address(hex(id(value))) if isinstance(value, torch.Tensor) else value


def plain(value):
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def test_names_and_addresses_come_back():
    found = plain(unserialise(HEAD + r_list(NAMED)))
    inner = NAMED["inner"]
    assert found == {
        "fc.weight": Address(hex(id(NAMED["fc.weight"]))),
        "inner": {"b": Address(hex(id(inner["b"]))), "rate": [0.25], "note": ["x"]},
    }


CODE = """
address <- function(x) structure(x, class = "torch_tensor_address")
value <- list(a.weight = address("0x1"), inner = list(address("0x2"), é = address("0x3")),
  none = NULL, yes = TRUE, whole = c(1L, NA), real = c(0.5, -0), raw = as.raw(1:3), z = 1i,
  seq = 1:1000000, text = c("ä", NA), latin = iconv("ä", "UTF-8", "latin1"),
  where = globalenv(), space = asNamespace("stats"), again = asNamespace("stats"),
  f = factor(c("u", "v")), wrapped = list(.Internal(wrap_meta(c(1, 2, 3), TRUE, TRUE))),
  words = as.character(1:3), last = address("0x4"))
con <- file(commandArgs(TRUE)[1], "wb")
writeBin(serialize(value, NULL, version = as.integer(commandArgs(TRUE)[2])), con)
close(con)
"""


@pytest.mark.r
@pytest.mark.parametrize("version", ["2", "3"])
def test_what_r_writes_is_read(tmp_path, version):
    (tmp_path / "write.R").write_text(CODE)
    rscript = find_r().with_name("Rscript")
    subprocess.run(
        [rscript, "--vanilla", "--encoding=UTF-8", "write.R", "list", version],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    found = unserialise((tmp_path / "list").read_bytes())
    assert isinstance(found, dict)
    assert found["a.weight"] == Address("0x1")
    assert list(found["inner"].values()) == [Address("0x2"), Address("0x3")]
    assert found["last"] == Address("0x4")  # all before it took as many bytes as they have
    assert plain(found["whole"])[0] == 1
    assert plain(found["real"]) == [0.5, 0.0]
    assert plain(found["raw"]) == [1, 2, 3]
    assert found["latin"] == ["ä"]
    assert found["none"] is None
    assert found["space"] is None
    assert found["again"] == ""
    assert plain(found["wrapped"])[0] is not None


def vector(kind: int, length: int, body: bytes = b"") -> bytes:
    return struct.pack(">ii", kind, length) + body


SEQUENCE = (  # R's 1:n, n as written, without its numbers
    struct.pack(">i", 238)
    + struct.pack(">i", 2) + struct.pack(">iii", 1, 9, 14) + b"compact_intseq"
    + struct.pack(">i", 254)
    + vector(14, 3, struct.pack(">ddd", 2.0**52, 1, 1))
    + struct.pack(">i", 254)
)  # fmt: skip


def test_a_sequence_takes_no_memory():
    assert unserialise(HEAD + SEQUENCE) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "not in R's XDR format", id="nothing"),
        pytest.param(b"A\n3\n", "not in R's XDR format", id="in letters"),
        pytest.param(b"X\n" + struct.pack(">iii", 9, 0, 0), "version 9", id="version"),
        pytest.param(HEAD, "ends within", id="no object"),
        pytest.param(HEAD + vector(14, 2**31 - 1), "ends within", id="2^31 numbers"),
        pytest.param(HEAD + vector(19, 2**31 - 1), "ends within", id="2^31 lists"),
        pytest.param(HEAD + vector(13, -1), "length -1", id="a long vector"),
        pytest.param(HEAD + vector(19, 1) * 5000, "nested deeper", id="depth"),
        pytest.param(HEAD + struct.pack(">i", 255 | 7 << 8), "name 7 of 0", id="a reference"),
        pytest.param(
            HEAD + vector(16, 1, struct.pack(">ii", 13, 0)), "text should be", id="no text"
        ),
        pytest.param(HEAD + r_texts(["a"]) + b"x", "1 bytes follow", id="more than it"),
        pytest.param(HEAD + struct.pack(">i", 17), "type 17", id="no such type"),
        pytest.param(
            HEAD + r_list({"a": 0.5, "b": {}}).replace(b"\0\0\0\1b", b"\0\0\0\1a"),
            "two values of one name", id="a name twice",
        ),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        unserialise(content)


@pytest.mark.parametrize(
    ("kind", "said"), [(3, "a function"), (4, "an environment"), (21, "code"), (22, "a pointer")]
)
def test_what_could_be_run_is_refused(kind, said):
    with pytest.raises(RefusedError, match=said):
        unserialise(HEAD + struct.pack(">i", kind) + bytes(40))
