"""Runs of a network whose steps take no time, kept in a folder, and killed where one likes."""

from __future__ import annotations

import pytest
from alike.arrays import equal
from torch import nn

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Keep as KeepMask
from pyvae.model.draws import Normal
from pyvae.model.modules import Dropout, Reparameterise
from pyvae.model.recipe import VAE, Recipe, VAEOutput
from pyvae.model.run import Run
from pyvae.runs.callbacks.keep import Keep
from pyvae.runs.kept_run import KeptRun
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

__all__ = ["AGAIN", "LITTLE", "STEPS", "KeepUntilKilled", "Killed", "Runs", "assert_starts_again"]
AGAIN = "starting again"
STEPS = 12  # of batches of 5 of 23 images: three epochs of 4


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.fc1 = nn.Linear(784, 8)
        self.dropout = Dropout(0.25)
        self.fc2 = nn.Linear(8, latent_dim)
        self.fc3 = nn.Linear(8, latent_dim)

    def forward(self, x, draws=None):
        x = self.dropout(self.fc1(x).relu(), (draws or {}).get("dropout"))
        return self.fc2(x), self.fc3(x)


class Decoder(nn.Sequential):
    def forward(self, z, draws=None):
        return super().forward(z)


class LittleVAE(VAE):
    def __init__(self, latent_dim):
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.reparameterise = Reparameterise()
        self.decoder = Decoder(nn.Linear(latent_dim, 784), nn.Sigmoid())

    def forward(self, x, draws=None):
        mu, log_var = self.encoder(x, draws)
        z = self.reparameterise(mu, log_var, (draws or {}).get("noise"))
        return VAEOutput(self.decoder(z), mu, log_var)


LITTLE = Recipe(
    name="conv",  # the one that R's generator knows
    title="a network whose steps take no time",
    source="here",
    network=LittleVAE,
    draws=lambda latent_dim: {"dropout": KeepMask((8,), 0.25), "noise": Normal((latent_dim,))},
    objectives=("vae", "emae"),
    epochs=3,
    batch_size=5,
    latent_dim=3,
    learning_rate=1e-2,
)


class Killed(BaseException):
    """The end of a process, as far as one can come without a process."""


class KeepUntilKilled(Keep):
    """Keeps from some step on; one that is killed writes nothing any more."""

    def __init__(self, kept, first=1):
        super().__init__(kept)
        self.first = first

    def on_step(self, now):
        if now.step >= self.first:
            super().on_step(now)

    def on_end(self, now, error):
        if not isinstance(error, Killed):
            super().on_end(now, error)


class Runs:
    """Runs of a recipe that are kept in a folder."""

    def __init__(self, folder, recipe, data):
        self.folder, self.recipe, self.data = folder, recipe, data

    def settings(self, **changes):
        return self.recipe.settings(**{"latent_dim": 3} | changes)

    def kept(self, settings, adam="torch", **environment):
        """What was kept of a run, and the engine to go on with."""
        engine = PyTorchEngine("cpu", adam)
        trace = Trace.of_run(Run(self.recipe, settings, self.data), engine)
        trace.environment |= environment
        return engine, KeptRun(self.folder, trace, every=0)

    def go(self, settings, adam="torch", stop=None, before_keeping=False, first=1, **environment):
        """Runs to the end, or until it is killed in a step, before or after that is kept. The
        first checkpoint may wait."""
        engine, kept = self.kept(settings, adam, **environment)

        def kill(now):
            if now.step == stop:
                raise Killed

        if not kept.complete:
            keep = KeepUntilKilled(kept, first)
            train(
                Run(self.recipe, settings, self.data), engine,
                [kill, keep] if before_keeping else [keep, kill],
                trace=kept.trace, resume=kept.checkpoint,
            )  # fmt: skip
        return kept

    def killed(self, settings, stop, **options):
        with pytest.raises(Killed):
            self.go(settings, stop=stop, **options)

    def plain(self, settings, adam="torch"):
        """The same run, never interrupted and not kept."""
        return train(Run(self.recipe, settings, self.data), PyTorchEngine("cpu", adam))


def assert_starts_again(runs, settings, said, **options):
    _, kept = runs.kept(settings, **options)
    assert kept.found == said
    assert kept.taken == bool(said)
    assert (kept.checkpoint, kept.complete, kept.trace.steps) == (None, False, 0)
    # and what was there is neither used nor left
    runs.killed(settings, 2, **options)
    _, kept = runs.kept(settings, **options)
    assert kept.checkpoint.step == 2
    done = runs.go(settings, **options).trace
    assert equal(done.losses, runs.plain(settings, options.get("adam", "torch")).losses)
    assert {path.name for path in runs.folder.iterdir()} == {
        "trace.json",
        "history.csv",
        "parameters.safetensors",
        "latents.safetensors",
    }
