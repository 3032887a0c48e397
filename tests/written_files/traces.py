"""Traces made by hand, and what may happen to their files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from pyvae.model.settings import Settings
from pyvae.trace.trace import Trace

__all__ = [
    "SETTINGS",
    "cut",
    "make_trace",
    "partial",
    "rewrite",
    "save_probed",
    "without_checksums",
]
SETTINGS = Settings("vae", epochs=4, batch_size=7, latent_dim=3, learning_rate=0.1 + 0.2, seed=5)


def make_trace(losses, epochs=None):
    losses = np.asarray(losses, np.float64).reshape(-1, 3)
    steps = len(losses)
    rng = np.random.default_rng(steps)
    return Trace(
        engine="pytorch",
        recipe="conv",
        settings=SETTINGS,
        data={"name": "a, “b”", "images": 9, "source": "here\nand there"},
        environment={"torch": "1"},
        losses=losses,
        epochs=np.ones(steps, np.int64) if epochs is None else np.asarray(epochs),
        latent_means={
            "training": rng.normal(size=(3, 7)).T,  # not contiguous
            "evaluation": rng.normal(size=(7, 3)).astype(np.float32),
        },
        samples=rng.uniform(size=(16, 784)),
        parameters={"b": rng.normal(size=(5, 4, 3))[::2, :, ::-1], "a": np.float32([1.5, np.inf])},
    )


def partial(losses):
    return dataclasses.replace(make_trace(losses), parameters={}, latent_means={}, samples=None)


def save_probed(folder, seen):
    """A trace with probes of some steps, saved and loaded again."""
    trace = make_trace(np.ones((5, 3)))
    for step, probe in seen.items():
        trace.save_probe(folder, step, probe)
    trace.save(folder)
    return Trace.load(folder)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(folder, change):
    path = folder / "trace.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def without_checksums(about):
    """As other programs write it."""
    return {name: value for name, value in about.items() if name != "sha256"}
