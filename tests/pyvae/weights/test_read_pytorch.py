"""State dicts of PyTorch; whatever else a pickle may hold is refused before it is run."""

from __future__ import annotations

import io
import pickle
import zipfile

import pytest
import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.weights.read_pytorch import read_pytorch

MODEL = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def save(path, value):
    torch.save(value, path)
    return path


def test_a_state_dict_is_read_bit_for_bit(tmp_path):
    state = MODEL.state_dict() | {"half": torch.randn(3).half(), "part": torch.randn(4, 5).T[1:]}
    found = read_pytorch(save(tmp_path / "x", state))
    assert list(found.tensors) == list(state)
    assert all(torch.equal(found.tensors[name], one) for name, one in state.items())
    assert read_pytorch(save(tmp_path / "y", {"m": MODEL.state_dict(), "epoch": 1})).left_out == (
        "epoch",
    )


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('the file was run')",)


def with_pickle(path, content, **more):
    """An archive of torch.save with another pickle in it."""
    save(path, {"a": torch.ones(2)})
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **more) as archive:
        for name, held in members.items():
            new = content if name.endswith("data.pkl") and content is not None else held
            archive.writestr(name, new)
    path.write_bytes(made.getvalue())
    return path


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (MODEL, "torch.nn.modules.container.Sequential"),
        ({"a": torch.ones(2), "args": io.BytesIO}, "_io.BytesIO"),
        (Evil(), "builtins.exec|__builtin__.exec"),
        ({"a": bytearray(3)}, "bytearray"),
    ],
)
def test_a_file_of_objects_is_refused_and_not_run(value, said, tmp_path):
    with pytest.raises(UserError, match=said) as caught:
        read_pytorch(save(tmp_path / "x", value))
    assert "would run code" in str(caught.value)
    assert "torch.save(model.state_dict(), FILE)" in str(caught.value)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_no_protocol_hides_an_object(protocol, tmp_path):
    with pytest.raises(UserError, match="would run code"):
        read_pytorch(with_pickle(tmp_path / "x", pickle.dumps(Evil(), protocol)))


def test_names_fetched_from_the_memo_are_not_run(tmp_path):
    """STACK_GLOBAL of two texts that came from the memo: torch itself refuses it."""
    code = b"\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x940h\x00h\x01\x93\x8c\x01x\x85R."
    with pytest.raises((UserError, ValueError)):
        read_pytorch(with_pickle(tmp_path / "x", code))


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/a.py"):
            archive.writestr(f"x/{name}", b"\x80\x02}.")
    with pytest.raises(UserError, match="TorchScript archive, which holds code"):
        read_pytorch(path)


def with_compressed_size(path, size):
    """An archive whose table of contents says that its pickle takes so many bytes."""
    content = bytearray(save(path, {"a": torch.ones(2)}).read_bytes())
    at = content.index(b"PK\x01\x02") + 20
    content[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: with_compressed_size(path, 2**30), "compressed"),
        (lambda path: with_pickle(path, None, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path: with_pickle(path, b"\x80\x02}"), "pickle exhausted"),
        (lambda path: save(path, {"a": torch.ones(1).expand(2**20, 2**20)}), "claim"),
        (lambda path: save(path, {"a": torch.ones(3).to_sparse()}), "not a plain tensor"),
        (lambda path: save(path, {"a": torch.ones(3, device="meta")}), "not a plain tensor"),
    ],
)
def test_what_is_damaged_or_claims_too_much_is_refused(make, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        read_pytorch(make(tmp_path / "x"))
