"""Validation: the objective on images that are not trained on, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.metrics.held_out import evaluate
from pyvae.model.recipe import VAE
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress, StopTraining
from pyvae.training.inputs import check_data

__all__ = ["StopEarly", "Validate"]

Row = dict[str, float]


class Validate(Callback):
    """Computes the objective on images that are not trained on, after every epoch.

    The network is in evaluation mode; z is sampled, with the same noise every time. Nothing of
    the training changes.

    Arguments:
        data: The images.
        rows: Those of the epochs before, of a run that goes on.

    Attributes:
        rows: One for each epoch: `epoch`, and the objective's terms for one image.

    Example:
        >>> import pyvae
        >>> from pyvae.data.split import hold_out
        >>> beta, digits = pyvae.get_recipe("beta"), pyvae.load_data("digits")
        >>> split = hold_out(digits, 0.1)
        >>> run = pyvae.Run(beta, beta.settings(epochs=5), split.train)
        >>> validate = Validate(split.held_out)
        >>> stop = StopEarly(validate, patience=2)
        >>> trace = pyvae.train(run, pyvae.PyTorchEngine(), [validate, stop])
        >>> len(validate.rows) == int(trace.epochs[-1])
        True
    """

    def __init__(self, data: ImageData, rows: Sequence[Row] = ()) -> None:
        self.data = data
        self.rows: list[Row] = list(rows)

    def on_start(self, run: Run, trace: Trace) -> None:
        check_data(run.recipe, self.data)

    def on_step(self, now: Progress) -> None:
        if not now.epoch_ended:
            return
        epoch, run = int(now.trace.epochs[-1]), now.run
        terms = evaluate(_network(now), run.recipe.name, run.settings, self.data, self.seed(epoch))
        self.rows = [row for row in self.rows if row["epoch"] < epoch] + [{"epoch": epoch, **terms}]

    def seed(self, epoch: int) -> int:
        """The seed of an epoch's noise: the same for all, so that epochs differ by the network."""
        return 0


class StopEarly(Callback):
    """Ends a run whose validation has not improved for some epochs. The run keeps the parameters of
    its last epoch.

    Arguments:
        validate: Computes the validation; it has to come before this one among the callbacks.
        patience: After so many epochs without a better one the run ends.

    Attributes:
        best: The epoch whose validation was the best, from 1; 0 before the first one.
        stopped: Whether this ended the run.

    Raises:
        UserError: If the patience is below 1.
    """

    def __init__(self, validate: Validate, patience: int) -> None:
        if patience < 1:
            raise UserError(f"patience {patience}", expected="1 or more epochs")
        self.validate = validate
        self.patience = patience
        self.best = 0
        self.stopped = False
        self._least = math.inf
        self._waited = 0

    def on_step(self, now: Progress) -> None:
        if not now.epoch_ended:
            return
        row = self.validate.rows[-1]
        if row["total"] < self._least:
            self._least, self.best, self._waited = row["total"], int(row["epoch"]), 0
            return
        self._waited += 1
        if self._waited >= self.patience and now.step < now.steps:
            self.stopped = True
            raise StopTraining


def _network(now: Progress) -> VAE:
    """The network as it stands; of an engine that computes elsewhere, built in PyTorch."""
    if isinstance(now.engine, PyTorchEngine):
        return now.engine.network
    recipe, settings = now.run.recipe, now.run.settings
    with torch.random.fork_rng(devices=[]):
        network = recipe.network(settings.latent_dim, **settings.hyper)
    network.to(settings.torch_dtype)
    parameters = now.engine.parameters()
    network.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    return network
