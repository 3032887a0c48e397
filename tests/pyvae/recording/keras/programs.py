"""Programs of Keras and their ports, recorded in forks of one process: Keras takes seconds to load.

    python programs.py FOLDER

Each program writes the checksum of its final weights, alone to `NAME.alone` and recorded to
`NAME.recorded`; its trace goes to `NAME`, and that of each of its ports to `NAME-PORT`.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

__all__ = ["PORTS", "PROGRAMS"]

KERAS = """
import hashlib, os, sys
import keras, numpy as np, torch
from keras import layers, ops
keras.utils.set_random_seed(1)
x = np.random.default_rng(1).normal(size=(64, *SHAPE)).astype("float32")
y = np.random.default_rng(2).integers(0, 3, 64)
"""
END = """
weights = [w for one in MODELS for w in one.get_weights()]
digest = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in weights))
open(os.environ["CHECKSUM"], "w").write(digest.hexdigest())
"""
TORCH = """
import numpy as np, torch
import torch.nn.functional as F
from torch import nn
torch.manual_seed(1)
kept = np.load("NAME.npz")
w = [torch.tensor(kept[key]) for key in kept.files]
x = torch.tensor(np.random.default_rng(1).normal(size=(64, *SHAPE)).astype("float32"))
y = torch.tensor(np.random.default_rng(2).integers(0, 3, 64))
def put(*tensors):
    with torch.no_grad():
        for tensor, value in zip(tensors, w, strict=True):
            value = value.T if value.ndim == 2 else value
            tensor.copy_(value.permute(3, 2, 0, 1) if value.ndim == 4 else value)
"""
CNN = (
    """
SHAPE = 16, 16, 3
"""
    + KERAS
    + """
model = keras.Sequential([
    layers.Conv2D(4, 3, strides=2, padding="same", name="conv"),
    layers.BatchNormalization(name="norm"), layers.ReLU(),
    layers.SpatialDropout2D(0.2), layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dense(8, "relu", name="a", kernel_constraint=keras.constraints.MaxNorm(0.8)),
    layers.Dropout(0.3),
    layers.Dense(8, "gelu", name="square"), layers.Dense(3, "softmax", name="b"),
])
model(x[:2])
np.savez("cnn.npz", *model.get_weights())
model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy")
model.predict(x[:4], verbose=0)
model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0, validation_data=(x[:8], y[:8]),
          callbacks=[keras.callbacks.ReduceLROnPlateau()])
MODELS = [model]
"""
    + END
)
CNN_PORT = (
    """
SHAPE = 16, 16, 3
"""
    + TORCH
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
        self.drop2d, self.drop = nn.Dropout2d(0.2), nn.Dropout(0.3)
        self.a, self.square, self.b = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.norm(self.conv(F.pad(x, (0, 1, 0, 1))))
        x = F.max_pool2d(self.drop2d(F.relu(x)), 2).permute(0, 2, 3, 1).flatten(1)
        return self.b(F.gelu(self.square(self.drop(F.relu(self.a(x))))))

net = Net()
conv, norm = net.conv, net.norm
put(conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var,
    *net.a.parameters(), *net.square.parameters(), *net.b.parameters())
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
x = x.permute(0, 3, 1, 2).contiguous()
for step in range(3):
    of = slice(16 * step, 16 * step + 16)
    optimizer.param_groups[0]["eps"] = 1e-7 / (1 - 0.999 ** (step + 1)) ** 0.5
    optimizer.zero_grad()
    F.cross_entropy(net(x[of]), y[of]).backward()
    for one in net.parameters():
        nn.utils.clip_grad_norm_([one], 1.0)
    optimizer.step()
    with torch.no_grad():
        norms = net.a.weight.norm(dim=1, keepdim=True)
        net.a.weight.mul_(norms.clamp(max=0.8) / (norms + 1e-7))
"""
)
GAN = (
    """
SHAPE = (2,)
"""
    + KERAS
    + """
def net(name, width, activation, out):
    parts = [keras.Input((width,)), layers.Dense(8, activation), layers.Dense(out)]
    return keras.Sequential(parts, name=name)
make, judge = net("make", 3, "relu", 2), net("judge", 2, "tanh", 1)
np.savez("gan.npz", *make.get_weights(), *judge.get_weights())
class Gan(keras.Model):
    def __init__(self):
        super().__init__()
        self.make, self.judge, self.seed = make, judge, keras.random.SeedGenerator(1)
        self.first, self.second = keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.1)
        self.built = True
    def train_step(self, given):
        for one, optimizer in ((judge, self.first), (make, self.second)):
            score = judge(make(keras.random.normal((16, 3), seed=self.seed)))
            self.zero_grad()
            loss = ops.mean(score * (1 if one is judge else -1))
            loss.backward()
            with torch.no_grad():
                weights = one.trainable_weights
                optimizer.apply([v.value.grad for v in weights], weights)
        return {"loss": loss}
gan = Gan()
gan.compile()
gan.fit(x, batch_size=16, verbose=0)
MODELS = [make, judge]
"""
    + END
)
LOOP = (
    """
SHAPE = 5, 4
"""
    + KERAS
    + """
lstm = keras.Sequential([
    keras.Input((5, 4)), layers.LSTM(4, name="lstm"), layers.BatchNormalization(name="norm"),
    layers.Dense(3, name="b"),
])
np.savez("loop.npz", *lstm.get_weights())
optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for step in range(3):
    of = slice(8 * step, 8 * step + 8)
    loss = loss_of(y[of], lstm(x[of], training=True))
    lstm.zero_grad()
    loss.backward()
    with torch.no_grad():
        optimizer.apply([v.value.grad for v in lstm.trainable_weights], lstm.trainable_weights)
MODELS = [lstm]
"""
    + END
)
LOOP_PORT = (
    """
SHAPE = 5, 4
"""
    + TORCH
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.b = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(4, eps=1e-3, momentum=0.01)

    def forward(self, x):
        return self.b(self.norm(self.lstm(x)[0][:, -1]))

net = Net()
lstm, norm = net.lstm, net.norm
lstm.bias_hh_l0.data.zero_()
lstm.bias_hh_l0.requires_grad_(False)
put(lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, norm.weight, norm.bias,
    norm.running_mean, norm.running_var, *net.b.parameters())
optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
for step in range(3):
    of = slice(8 * step, 8 * step + 8)
    optimizer.zero_grad()
    F.cross_entropy(net(x[of]), y[of]).backward()
    optimizer.step()
"""
)
SEQUENCE = (
    """
SHAPE = 5, 4
"""
    + KERAS
    + """
way = dict(bias_initializer="random_normal")
model = keras.Sequential([
    keras.Input((5, 4)),
    layers.Bidirectional(layers.GRU(3, return_sequences=True, **way), name="gru"),
    layers.Bidirectional(layers.GRU(2, return_sequences=True, **way), merge_mode="sum", name="add"),
    layers.SimpleRNN(4, go_backwards=True, return_sequences=True, **way, name="rnn"),
    layers.Bidirectional(layers.LSTM(3, **way), name="lstm"),
    layers.Dense(3, name="b"),
])
model.compile(keras.optimizers.SGD(0.1, momentum=0.9),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
MODELS = [model]
"""
    + END
)
SEQUENCE_PORT = (
    """
SHAPE = 5, 4
"""
    + TORCH.replace(
        'kept = np.load("NAME.npz")\nw = [torch.tensor(kept[key]) for key in kept.files]', ""
    )
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        two = dict(batch_first=True, bidirectional=True)
        self.gru, self.add = nn.GRU(4, 3, **two), nn.GRU(6, 2, **two)
        self.rnn, self.lstm = nn.RNN(2, 4, batch_first=True), nn.LSTM(4, 3, **two)
        self.b = nn.Linear(6, 3)

    def forward(self, x):
        x = self.add(self.gru(x)[0])[0]
        x = self.rnn((x[..., :2] + x[..., 2:]).flip(1))[0]
        h = self.lstm(x)[1][0]
        return self.b(torch.cat([h[0], h[1]], 1))

net = Net()
for layer in (net.rnn, net.lstm):
    for name, one in layer.named_parameters():
        one.requires_grad_("bias_hh" not in name)
optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
for step in range(3):
    of = slice(16 * step, 16 * step + 16)
    optimizer.zero_grad()
    F.cross_entropy(net(x[of]), y[of]).backward()
    optimizer.step()
"""
)
JIT = (
    """
SHAPE = (2,)
"""
    + KERAS
    + """
model = keras.Sequential([keras.Input((2,)), layers.Dense(1)], name="fast")
model.compile("sgd", "mse", jit_compile=True)
from pyvae import record
record(model, model.optimizer, "jit")
"""
)

PROGRAMS = {"cnn": CNN, "gan": GAN, "loop": LOOP, "sequence": SEQUENCE}
PORTS = {
    ("cnn", "right"): CNN_PORT,
    ("loop", "right"): LOOP_PORT,
    ("sequence", "right"): SEQUENCE_PORT,
}  # fmt: skip


def fork(program: Callable[[], object], log: Path) -> None:
    """Runs a program in a fork of this process, which writes what it says to a file."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        program()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(0)


def main(folder: Path) -> None:
    import keras  # noqa: F401
    import torch

    import pyvae.cli.main
    import pyvae.recording.script

    torch.set_num_threads(1)
    os.chdir(folder)

    def recorded(script: str, out: str, *options: str) -> None:
        os.environ["CHECKSUM"] = f"{out}.recorded"
        given = ["record", "--out", out, *options, "--", script]
        fork(lambda: pyvae.cli.main.main(given), Path("log.txt"))

    for name, program in PROGRAMS.items():
        script = Path(f"{name}.py")
        script.write_text(program)
        os.environ["CHECKSUM"] = f"{name}.alone"
        fork(lambda name=name: runpy.run_path(f"{name}.py", run_name="__main__"), Path("log.txt"))
        recorded(f"{name}.py", name)
    for (name, port), program in PORTS.items():
        Path(f"{name}_{port}.py").write_text(program.replace("NAME", name))
        start = ("--start", name) if "np.load" not in program else ()
        recorded(f"{name}_{port}.py", f"{name}-{port}", "--replay", name, *start)
    recorded("sequence.py", "sequence-back", "--start", "sequence-right")
    Path("jit.py").write_text(JIT)
    fork(lambda: runpy.run_path("jit.py", run_name="__main__"), Path("jit.txt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
