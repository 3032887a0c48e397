"""Every reader of files from elsewhere: how to make a valid file, how to read it, and its kind."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from written_files.r_lists import HEAD, r_list, save_r_list

from comparisons.seeds.saved_outcome import SeedRun, load_outcome, save_outcome
from pyvae.data.mnist import FILES, load_mnist_family
from pyvae.data.npz import load_arrays
from pyvae.errors import UserError
from pyvae.files.reading import MEMORY_BASE, MEMORY_TIMES, most_unpacked, read_bytes
from pyvae.model.settings import Settings
from pyvae.reproduction.published import merge_published
from pyvae.runs.callbacks.held_out_history import read_test_history
from pyvae.runs.run_json import read_arguments
from pyvae.trace.program import (
    Optimiser,
    OptimiserGroup,
    ProgramParameter,
    ProgramStage,
    ProgramStep,
    ProgramTrace,
)
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from pyvae.weights.read import read_weights

__all__ = ["READERS", "Reader"]

SETTINGS = Settings("vae", epochs=4, batch_size=7, latent_dim=3, learning_rate=0.1, seed=5)
RUN = SeedRun("reference", "base-r", SETTINGS, {"data": {"name": "digits"}})


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        make: Writes valid files into a folder; returns the one to spoil.
        read: Reads the folder, and uses what was read.
        kind: The kind of file, in `pyvae.files.reading.MEMORY_TIMES`.
        packed: Whether the file may be compressed.
        silent: Whether a file that cannot be read is taken as absent, without an error.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    kind: str
    packed: bool = False
    silent: bool = False

    def allowed(self, size: int) -> int:
        """Returns the memory that reading a file of `size` bytes may take, by pyvae's rule."""
        held = most_unpacked(size) if self.packed else size
        return MEMORY_TIMES[self.kind] * held + MEMORY_BASE


def a_trace(folder: Path) -> Trace:
    """A complete trace as another program writes it, without checksums; all in small."""
    rng = np.random.default_rng(5)
    trace = Trace(
        engine="my engine, “a”",
        recipe="conv",
        settings=SETTINGS,
        data={"name": "digits", "images": 9, "sha256": "ab"},
        environment={"R": "4.2", "threads": "1"},
        losses=rng.uniform(1, 9, (4, 3)),
        epochs=np.array([1, 1, 2, 2]),
        latent_means={"training": rng.normal(size=(7, 3)), "evaluation": np.ones((7, 3))},
        samples=rng.uniform(size=(2, 2)).astype(np.float32),
        parameters={"encoder.conv1.bias": rng.normal(size=4), "b": np.float32([[1.5, np.inf]])},
    )
    probe = {"forward/total": np.array(0.1), "parameter/b": rng.normal(size=(2, 3))}
    trace.save_probe(folder, 2, probe)
    trace.save(folder)
    path = folder / "trace.json"
    text = path.read_text()
    at = text.index(',\n  "sha256"')
    path.write_text(text[:at] + "\n}\n")
    return trace


def in_trace(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        a_trace(folder)
        return folder / name

    return make


def read_trace(folder: Path) -> object:
    trace = Trace.load(folder)
    table = trace.history(), trace.epoch_table()
    assert trace.steps == len(table[0])
    assert all(isinstance(value, str) for value in trace.environment.values())
    assert all(step >= 1 for step in trace.probed)
    return table


def read_probe(folder: Path) -> object:
    trace = Trace("mine", "conv", SETTINGS, {}, {}, probed=[2], folder=folder)
    return trace.state_after(2)


def of_program(name: str) -> Callable[[Path], Path]:
    """A trace of a program, of which one file is to be spoiled."""

    def make(folder: Path) -> Path:
        rng = np.random.default_rng(5)
        stages = (
            ProgramStage("input", "input"),
            ProgramStage("fc", "linear", ("input",), {"eps": 1e-5, "k": [1, 2]}, {"weight": "w"}),
        )
        sgd = Optimiser("optimizer", "sgd", (OptimiserGroup(("w",), {"lr": 0.1}),))
        trace = ProgramTrace("pytorch", networks=[stages], environment={"torch": "2.8"})
        trace.parameters = [ProgramParameter("w", (2, 3))]
        values = {"start/w": rng.normal(size=(2, 3)), "loss/total": np.array(0.1)}
        trace.save_step(folder, ProgramStep(2, 0, sgd, "0" * 64), values)
        trace.save(folder)
        return folder / name

    return make


def read_program(folder: Path) -> object:
    trace = ProgramTrace.load(folder)
    return [(trace.network_of(one.step), trace.arrays(one.step)) for one in trace.steps]


def make_idx(name: str, ending: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng, raw = np.random.default_rng(5), folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file in FILES:
            shape = (3, 28, 28) if "images" in file else (3,)
            head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
            content = head + rng.bytes(int(np.prod(shape)))
            (raw / (file + ending)).write_bytes(gzip.compress(content) if ending else content)
        return raw / (name + ending)

    return make


def load_mnist(folder: Path) -> object:
    return load_mnist_family("MNIST", folder)


def make_npz(save: Callable[..., object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        images = np.random.default_rng(5).integers(0, 2, (2, 28, 28)).astype(np.uint8)
        save(folder / "mine.npz", images=images * 9, labels=np.arange(2))
        return folder / "mine.npz"

    return make


def make_npy(folder: Path) -> Path:
    images = np.random.default_rng(5).integers(0, 256, (2, 28, 28)).astype(np.uint8)
    np.save(folder / "mine.npy", images)
    return folder / "mine.npy"


def read_npz(folder: Path) -> object:
    return load_arrays(folder / "mine.npz")


def make_test_history(folder: Path) -> Path:
    path = folder / "test_history.csv"
    path.write_text("epoch,total,reconstruction,regulariser\n1,3.5,2.25,1.25\n2,nan,1e-3,inf\n")
    return path


def make_published(folder: Path) -> Path:
    path = folder / "published.csv"
    path.write_text('article,claim,median\nconv,"a, ""b""\nc",1.5\nmlp,d,nan\n')
    return path


def make_outcome(folder: Path) -> Path:
    trace = replace(a_trace(folder), engine="base-r")
    save_outcome(RUN, trace, folder)
    return folder / RUN.file


def make_checkpoint(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng = np.random.default_rng(5)
        state = {"parameter/b": rng.normal(size=(2, 3)), "moment1/b": np.zeros((2, 3))}
        Checkpoint(3, state, np.arange(9, dtype=np.uint8), np.arange(5)).save(folder)
        return next(path for path in folder.iterdir() if path.suffix == ending)

    return make


def load_signed_checkpoint(folder: Path) -> object:
    """With the checksum of what is there, as somebody would who means harm."""
    (path,) = folder.glob("*.json")
    numbers = path.with_suffix(".safetensors")
    if not numbers.is_file():
        return Checkpoint.find(folder).checkpoint
    about = json.loads(path.read_text())["checkpoint"]
    content = numbers.read_bytes()
    about |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    signed = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"checkpoint": about, "sha256": signed}))
    return Checkpoint.find(folder).checkpoint


def find_checkpoint(folder: Path) -> object:
    return Checkpoint.find(folder).checkpoint


def make_run(folder: Path) -> Path:
    path = folder / "run.json"
    about = {"format": 1, "arguments": ["train", "--seed=5", "conv"], "data": {"images": 9}}
    path.write_text(json.dumps(about))
    return path


STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
NESTED = {"model": STATE, "epoch": 3.0, "optimizer": {"param_groups": {"lr": 0.5}}}


def make_r_weights(folder: Path) -> Path:
    return save_r_list(folder / "weights.pt", NESTED)


def make_r_list(folder: Path) -> Path:
    """R's serialisation alone, to be put into a whole file."""
    path = folder / "list"
    path.write_bytes(HEAD + r_list(NESTED))
    return path


def read_r_list(folder: Path) -> object:
    try:
        content = read_bytes(folder / "list")
    except (OSError, ValueError) as error:
        raise UserError("no list") from error
    return read_weights(save_r_list(folder / "weights.pt", NESTED, content)).tensors


def make_pytorch_weights(folder: Path) -> Path:
    torch.save(STATE, folder / "weights.pt")
    return folder / "weights.pt"


def read_saved_weights(folder: Path) -> object:
    return read_weights(folder / "weights.pt").tensors


def read_published(folder: Path) -> object:
    return merge_published(folder / "published.csv", NEW)


NEW = pd.DataFrame({"article": ["beta"], "claim": ["e"], "median": [1.0]})
READERS = {
    "idx-images": Reader(make_idx(FILES[0]), load_mnist, "idx"),
    "idx-labels": Reader(make_idx(FILES[1]), load_mnist, "idx"),
    "idx-images-gz": Reader(make_idx(FILES[0], ".gz"), load_mnist, "idx", packed=True),
    "idx-labels-gz": Reader(make_idx(FILES[1], ".gz"), load_mnist, "idx", packed=True),
    "npz": Reader(make_npz(np.savez), read_npz, "npz", packed=True),
    "npz-packed": Reader(make_npz(np.savez_compressed), read_npz, "npz", packed=True),
    "npy": Reader(make_npy, lambda f: load_arrays(f / "mine.npy"), "npz"),
    "trace-json": Reader(in_trace("trace.json"), read_trace, "json"),
    "history-csv": Reader(in_trace("history.csv"), read_trace, "csv"),
    "parameters": Reader(in_trace("parameters.safetensors"), Trace.load, "safetensors"),
    "latents": Reader(in_trace("latents.safetensors"), Trace.load, "safetensors"),
    "probe": Reader(in_trace("probes/step-000002.safetensors"), read_probe, "safetensors"),
    "program-json": Reader(of_program("trace.json"), read_program, "json"),
    "program-step": Reader(
        of_program("steps/step-000002.safetensors"), read_program, "safetensors"
    ),
    "test-history": Reader(make_test_history, read_test_history, "csv"),
    "published": Reader(
        make_published, lambda f: merge_published(f / "published.csv", NEW), "csv of text"
    ),
    "outcome": Reader(make_outcome, lambda f: load_outcome(RUN, f), "safetensors", silent=True),
    "checkpoint": Reader(
        make_checkpoint(".safetensors"), load_signed_checkpoint, "safetensors", silent=True
    ),
    "checkpoint-json": Reader(make_checkpoint(".json"), find_checkpoint, "json", silent=True),
    "r-weights": Reader(make_r_weights, read_saved_weights, "state dict"),
    "r-list": Reader(make_r_list, read_r_list, "state dict"),
    "pytorch-weights": Reader(make_pytorch_weights, read_saved_weights, "state dict"),
    "run-json": Reader(make_run, lambda f: read_arguments(f, "train"), "json"),
}
