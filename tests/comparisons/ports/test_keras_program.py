"""A program of Keras and its port to PyTorch, which begins with the same variables and draws."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from comparisons.ports import compare_programs
from comparisons.ports.result import PortComparison
from pyvae.recording.script import run_recorded

pytestmark = pytest.mark.slow

ORIGINAL = """
    import keras
    import numpy as np
    from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((9, 9, 2)),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flatten"),
        layers.Dense(4, activation="tanh", name="hidden"),
        layers.Dropout(0.3, name="drop"),
        layers.Dense(3, name="out"),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.{optimizer}, loss=loss)
    random = np.random.default_rng(1)
    x, y = random.normal(size=(48, 9, 9, 2)).astype("float32"), random.integers(0, 3, 48)
    model.fit(x, y, batch_size=16, epochs=1, verbose=0, shuffle=False)
"""
PORT = """
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
            self.pool = nn.MaxPool2d(2)
            self.hidden = nn.Linear(16, 4)
            self.drop = nn.Dropout(0.3)
            self.out = nn.Linear(4, 3)

        def forward(self, x):
            x = self.pool(self.norm(F.relu(self.conv(x))))
            x = x.permute(0, 2, 3, 1).flatten(1)
            return self.out(self.drop(torch.tanh(self.hidden(x))))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    random = np.random.default_rng(1)
    x, y = random.normal(size=(48, 9, 9, 2)).astype("float32"), random.integers(0, 3, 48)
    for at in range(0, 48, 16):
        optimizer.zero_grad()
        batch = torch.tensor(x[at : at + 16].transpose(0, 3, 1, 2).copy())
        F.cross_entropy(model(batch), torch.tensor(y[at : at + 16])).backward()
        optimizer.step()
"""
SGD, ADAM = "SGD(0.05)", "Adam(0.001)"
NORM, OWN_NORM = 'layers.BatchNormalization(name="norm"),', "self.norm(F.relu(self.conv(x)))"
KERAS_ADAM = "eps added after the bias correction, where it is added before (Keras's way"
# what the port does otherwise: its text and the other, where they part, and what it looks like
MISTAKES = {
    "epsilon": ("eps=1e-3, ", "", "norm (batch_norm2d), forward", "eps = 1e-05 where it is 0.001"),
    "momentum": ("momentum=0.01", "momentum=0.99", "norm (batch_norm2d), buffer",
                 "momentum = 0.99 where it is 0.01"),
    "order of flattening": (".permute(0, 2, 3, 1)", "", "flatten (flatten), forward",
                            "has pool.permute (permute) between pool and flatten"),
    "activation": ("torch.tanh", "torch.sigmoid", "drop (dropout), forward",
                   "sigmoid where it is tanh"),
    "loss": ("y[at : at + 16]))", 'y[at : at + 16]), reduction="sum")', "cross_entropy_loss",
             "reduction = sum"),
}  # fmt: skip


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """Keras, computing with torch; its settings are not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        yield importlib.import_module("keras")


@pytest.fixture(scope="module")
def originals(keras, tmp_path_factory):
    """The original with either optimiser, recorded."""
    folder = tmp_path_factory.mktemp("originals")
    for name, program in {
        "sgd": ORIGINAL.replace("{optimizer}", SGD),
        "adam": ORIGINAL.replace("{optimizer}", ADAM).replace(NORM, ""),
        "plain": ORIGINAL.replace("{optimizer}", SGD).replace(NORM, ""),
        "rmsprop": ORIGINAL.replace("{optimizer}", "RMSprop(0.001)").replace(NORM, ""),
    }.items():
        _record(program, folder / name)
    return folder


def _record(program: str, folder: Path, **options: Path) -> None:
    script = folder.parent / f"{folder.name}.py"
    script.write_text(textwrap.dedent(program))
    assert run_recorded(script, [], folder, quiet=True, **options) == 0


def _compare(original: Path, tmp_path: Path, port: str) -> PortComparison:
    _record(port, tmp_path / "port", start=original, replay=original)
    return compare_programs(original, tmp_path / "port")


def _without_norm(port: str) -> str:
    return port.replace(OWN_NORM, "F.relu(self.conv(x))").replace("self.norm = ", "")


def test_a_faithful_port_agrees(originals, tmp_path):
    found = _compare(originals / "plain", tmp_path, _without_norm(PORT))
    assert found.agrees, found
    names = {pair.a.name for pair in found.networks[0].pairs}
    assert {"conv", "conv.relu", "pool", "flatten", "hidden", "hidden.tanh", "drop", "out"} <= names
    names = {one.name: one.b[0] for one in found.parameters}
    assert names["conv.kernel"] == "conv.weight"
    assert names["hidden.kernel"] == "hidden.weight"


def test_the_original_may_start_from_its_port(originals, tmp_path):
    _record(_without_norm(PORT), tmp_path / "port")
    program = ORIGINAL.replace("{optimizer}", SGD).replace(NORM, "")
    start = tmp_path / "port"
    _record(program, tmp_path / "keras", start=start, replay=start)
    assert compare_programs(tmp_path / "keras", start).agrees


def test_what_differs_between_the_libraries_is_said(originals, tmp_path):
    found = _compare(originals / "sgd", tmp_path, PORT)
    assert "norm.moving_variance" in found.first.place
    assert found.first.words[0].endswith("where it is the biased (Keras's way) one")
    assert found.first.wrong == ""  # Keras is not at fault
    parted = {one.quantity.key for one in found.judged if one.verdict == "parted"}
    assert all("moving_variance" in key for key in parted)


def test_how_keras_adam_differs_is_said(originals, tmp_path):
    adam = "torch.optim.Adam(model.parameters(), eps=1e-7)"
    port = _without_norm(PORT).replace("torch.optim.SGD(model.parameters(), 0.05)", adam)
    found = _compare(originals / "adam", tmp_path, port)
    assert found.first.judged.quantity.passing == "parameter"
    assert KERAS_ADAM in found.first.words[0]
    assert found.first.wrong == ""


def test_what_differs_between_the_libraries_can_be_accepted(originals, tmp_path):
    """Nothing else can, of the same layer or optimiser."""
    both = {"running-variance", "adam-eps", "rmsprop-eps"}
    _record(PORT, tmp_path / "port", start=originals / "sgd", replay=originals / "sgd")
    found = compare_programs(originals / "sgd", tmp_path / "port", accept=both)
    assert found.verdict.startswith("agree but for running-variance (accepted): ")
    assert not compare_programs(originals / "sgd", tmp_path / "port", accept=["adam-eps"]).agrees
    adam = "torch.optim.Adam(model.parameters(), eps=1e-7)"
    port = _without_norm(PORT).replace("torch.optim.SGD(model.parameters(), 0.05)", adam)
    _record(port, tmp_path / "adam", start=originals / "adam", replay=originals / "adam")
    found = compare_programs(originals / "adam", tmp_path / "adam", accept=both)
    assert found.verdict.startswith("agree but for adam-eps (accepted): ")
    rmsprop = port.replace(
        "optim.Adam(model.parameters()", "optim.RMSprop(model.parameters(), 1e-3, 0.9"
    )
    _record(rmsprop, tmp_path / "rms", start=originals / "rmsprop", replay=originals / "rmsprop")
    found = compare_programs(originals / "rmsprop", tmp_path / "rms")
    assert found.first.words[0].endswith("square root, where it is added inside (Keras's way)")
    assert found.first.wrong == ""
    found = compare_programs(originals / "rmsprop", tmp_path / "rms", accept=both)
    assert found.verdict.startswith("agree but for rmsprop-eps (accepted): ")
    for one, of, right, wrong, words in (
        ("momentum", "sgd", "momentum=0.01", "momentum=0.1", "momentum = 0.1 where it is 0.01"),
        ("rate", "adam", "        optimizer.step()\n",
         "        optimizer.param_groups[0]['lr'] = 0.001 * 0.99 ** (at // 16)\n"
         "        optimizer.step()\n", "lr = 0.00099 where it is 0.001"),
    ):  # fmt: skip
        text = PORT if of == "sgd" else port
        _record(text.replace(right, wrong), tmp_path / one, start=originals / of,
                replay=originals / of)  # fmt: skip
        found = compare_programs(originals / of, tmp_path / one, accept=both)
        assert words in found.first.words[0]
        assert found.first.judged.step == (2 if one == "rate" else 1)


FORWARD = "            x = self.pool(self.norm(F.relu(self.conv(x))))\n"
BY_HAND = """\
            x, norm = F.relu(self.conv(x)), self.norm
            with torch.no_grad():
                variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
                norm.running_mean.lerp_(mean, 0.01)
                norm.running_var.lerp_(variance, RATE)
            x = F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
            x = self.pool(x)
"""


@pytest.mark.parametrize("rate", ["0.01", "0.1"])
def test_running_statistics_by_hand_are_held_against_keras(rate, originals, tmp_path):
    assert FORWARD in PORT
    port = PORT.replace(FORWARD, BY_HAND.replace("RATE", rate))
    found = _compare(originals / "sgd", tmp_path, port)
    names = {one.name: one for one in found.parameters}
    assert names["norm.moving_variance"].b == ("norm.running_var",)
    assert names["norm.moving_variance"].how == "layer"
    assert found.agrees == (rate == "0.01"), found
    if not found.agrees:
        assert "norm.moving_variance" in found.first.place


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_of_ports_are_placed_and_named(name, originals, tmp_path):
    right, wrong, place, words = MISTAKES[name]
    assert right in PORT
    found = _compare(originals / "sgd", tmp_path, PORT.replace(right, wrong))
    assert found.first is not None
    assert place in found.first.place
    assert any(words in one for one in found.first.words), found.first.words
