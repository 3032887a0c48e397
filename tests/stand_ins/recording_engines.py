"""Engines that compute nothing and remember what they were asked."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["OwnEngine", "ProbedEngine", "RecordingEngine"]


class RecordingEngine:
    """Computes nothing and remembers what it was asked."""

    name = "recording"

    def __init__(self):
        self.batches, self.draws, self.looks = [], [], []

    def start(self, recipe, settings, parameters):
        self.initial = parameters
        self.width = settings.latent_dim

    def step(self, x, draws):
        self.batches.append(x)
        self.draws.append(draws)
        return torch.tensor([3.0, 2.0, 1.0]) * len(self.batches)

    def latent_means(self, x, draws, training):
        self.looks.append((x, draws, training))
        return np.zeros((len(x), 1))

    def decode(self, z):
        self.z = z
        return np.zeros((len(z), 784))

    def parameters(self):
        return {"w": np.zeros(1)}

    def environment(self):
        return {}


class ProbedEngine(RecordingEngine):
    """Writes down the order in which it is asked for what."""

    def __init__(self):
        super().__init__()
        self.log = []

    def restore(self, state):
        self.log.append(("restored", state))

    def step(self, x, draws, probe=None):
        self.log.append(("stepped", probe))
        if probe is not None:
            probe["step"] = len(self.batches) + 1
        return super().step(x, draws)


class OwnEngine(RecordingEngine):
    """Draws itself: an epoch's order is a rotation of the images, by as many as orders so far.
    Writes down what it was asked, in order."""

    def __init__(self):
        super().__init__()
        self.log, self.orders = [], 0

    def start(self, recipe, settings, parameters):
        self.log.append(("start", parameters))
        self.latent_dim = settings.latent_dim

    def batch_order(self, images):
        self.orders += 1
        self.log.append(("batch_order", images))
        return np.roll(np.arange(images), -self.orders)

    def step(self, x, draws):
        self.log.append(("step", draws))
        return super().step(x, draws)

    def latent_means(self, x, draws, training):
        self.log.append(("latent_means", draws, training))
        self.looked_at = x
        return super().latent_means(x, draws, training)

    def latents(self, images):
        self.log.append(("latents", images))
        return np.full((images, self.latent_dim), 0.5)

    def decode(self, z):
        self.log.append(("decode", z.shape))
        return super().decode(z)

    def state(self):
        self.log.append(("state",))
        return {"step": np.array(len(self.batches))}

    def restore(self, state):
        self.log.append(("restore", state))
        self.batches = [None] * int(state["step"])

    def generator_state(self):
        return np.array([self.orders])

    def restore_generator(self, state):
        self.log.append(("restore_generator", int(state[0])))
        self.orders = int(state[0])
