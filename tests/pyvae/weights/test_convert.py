"""Files of weights converted, from and to R's torch for real where it is there."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn
from written_files.r_lists import save_r_list

from pyvae import convert_weights
from pyvae.errors import UserError
from r_bridge.rpy2_fit import find_r


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.rnn = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
        self.gru = nn.GRU(4, 3)
        self.table = nn.Embedding(5, 2)
        self.attention = nn.MultiheadAttention(4, 2)


STATE = Net().state_dict()


def equal(found, wanted):
    return found.keys() == wanted.keys() and all(
        torch.equal(found[key], one) and found[key].shape == one.shape
        for key, one in wanted.items()
    )


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_names_of_keras_are_told_where_they_are_taken_as_they_are(tmp_path, name):
    path = tmp_path / name
    for names, told in ((("dense/kernel", "dense/bias"), True), (("dense.kernel", "a/b"), False)):
        arrays = {one: np.zeros((2, 3), np.float32) for one in names}
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            safetensors.numpy.save_file(arrays, path)
        done = convert_weights(path, tmp_path / "b.pt", overwrite=True)
        assert any("'dense/kernel' is a name of Keras'" in note for note in done.notes) == told
        assert all(one.shape == (2, 3) for one in done.weights)
    np.savez(path.with_suffix(".npz"), **{"dense/kernel": np.zeros((2, 3), np.float32)})
    done = convert_weights(path.with_suffix(".npz"), tmp_path / "c.pt", keras=True)
    assert not any("--from-keras" in note for note in done.notes)


def test_to_r_and_back_is_the_same_and_everything_done_is_said(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    done = convert_weights(tmp_path / "a.pt", tmp_path / "b.safetensors", language="r")
    said = {one.name: one for one in done.weights}
    assert said["rnn.weight_ih_l2"].done == "R counts layers from 1; was rnn.weight_ih_l1"
    assert said["bn.num_batches_tracked"].shape == (1,)
    assert said["conv.weight"].done == "as it was"
    assert (said["conv.weight"].dtype, said["conv.weight"].shape) == ("float32", (2, 1, 3, 3))
    assert 'safe_load_file("b.safetensors", framework = "torch")' in done.load
    there = safetensors.torch.load_file(tmp_path / "b.safetensors")
    save_r_list(tmp_path / "c.pt", there)
    convert_weights(tmp_path / "c.pt", tmp_path / "d.pt")
    back = torch.load(tmp_path / "d.pt", weights_only=True)
    assert equal(back, STATE)
    Net().load_state_dict(back)


def test_names_are_given_by_a_map(tmp_path):
    torch.save({"0.weight": torch.ones(2), "0.bias": torch.zeros(2)}, tmp_path / "a.pt")
    (tmp_path / "names.csv").write_text("a,b\n0,fc\n")
    done = convert_weights(tmp_path / "a.pt", tmp_path / "b.pt", names=tmp_path / "names.csv")
    assert [(one.name, one.done) for one in done.weights] == [
        ("fc.weight", "was 0.weight"), ("fc.bias", "was 0.bias"),
    ]  # fmt: skip
    assert list(torch.load(tmp_path / "b.pt", weights_only=True)) == ["fc.weight", "fc.bias"]


def test_nothing_is_written_if_anything_is_wrong(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    (tmp_path / "names.csv").write_text("a,b\ngone,fc\n")
    (tmp_path / "here.pt").write_text("mine")
    for words, said in (
        ({"names": tmp_path / "names.csv"}, "neither of which is there"),
        ({"language": "julia"}, "unknown language 'julia': expected one of python, r"),
        ({"part": "ema"}, "no state dict 'ema'"),
    ):
        with pytest.raises(UserError, match=said):
            convert_weights(tmp_path / "a.pt", tmp_path / "b.pt", **words)
    with pytest.raises(UserError, match="exists already"):
        convert_weights(tmp_path / "a.pt", tmp_path / "here.pt")
    assert (tmp_path / "here.pt").read_text() == "mine"
    assert {one.name for one in tmp_path.iterdir()} == {"a.pt", "names.csv", "here.pt"}


IN_R = """
suppressMessages(library(torch))
net <- nn_module("net", initialize = function() {
  self$conv <- nn_conv2d(1, 2, 3)
  self$bn <- nn_batch_norm2d(2)
  self$rnn <- nn_lstm(4, 3, num_layers = 2, bidirectional = TRUE)
  self$gru <- nn_gru(4, 3)
  self$table <- nn_embedding(5, 2)
  self$attention <- nn_multihead_attention(4, 2)
})
model <- net()
invisible(model$load_state_dict(load_state_dict("r.pt")))
again <- net()
invisible(again$load_state_dict(safetensors::safe_load_file("r.safetensors", framework = "torch")))
torch_save(model$state_dict(), "list.pt")
torch_save(again, "module.pt")
safetensors::safe_save_file(again$state_dict(), "plain.safetensors")
torch_save(list(model = model$state_dict(), optimizer = optim_adam(model$parameters)$state_dict(),
  epoch = 3L, steps = 1:3), "checkpoint.pt")
options(torch.serialization_version = 2)
torch_save(model$state_dict(), "old.pt")
"""


@pytest.mark.r_torch
@pytest.mark.slow
def test_r_torch_reads_ours_and_we_read_its_files(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    for ending in ("pt", "safetensors"):
        convert_weights(tmp_path / "a.pt", tmp_path / f"r.{ending}", language="r")
    (tmp_path / "in_r.R").write_text(IN_R)
    rscript = find_r().with_name("Rscript")
    ran = subprocess.run(
        [rscript, "in_r.R"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for name in ("list.pt", "module.pt", "plain.safetensors", "checkpoint.pt"):
        done = convert_weights(tmp_path / name, tmp_path / "back.pt", overwrite=True)
        assert equal(torch.load(tmp_path / "back.pt", weights_only=True), STATE), name
    assert done.left_out == ("optimizer", "epoch", "steps")
    with pytest.raises(UserError, match="is an R object"):
        convert_weights(tmp_path / "old.pt", tmp_path / "back.pt", overwrite=True)
