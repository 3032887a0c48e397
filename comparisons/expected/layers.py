"""A recipe's layers and terms of the loss, in float64, on given values.

With them a comparison can ask what a layer *should* have returned for the inputs that both
engines agree on, and how a difference at its output travels back to its inputs. They are written
from the stages' declarations alone and share no code with the network under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.expected.functions import FUNCTIONS, batch_statistics
from comparisons.expected.loss_terms import Term
from pyvae.model.draws import Draws
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Stage
from pyvae.recipes import Recipe

__all__ = ["BETA1", "BETA2", "EPSILON", "Layers", "float64", "own_draws"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's published settings, torch's defaults


def float64(value: object) -> Tensor:
    """An array as a float64 tensor; nothing is copied where it is one already."""
    return torch.as_tensor(value).to(torch.float64)


def own_draws(probes: Iterable[Probe]) -> dict[str, NDArray]:
    """The masks and noise that an engine drew itself and put into its probe, by name."""
    return {
        key.removeprefix("draw/"): value
        for probe in probes
        for key, value in probe.items()
        if key.startswith("draw/")
    }


class Layers:
    """The layers of one step of a run.

    Arguments:
        recipe, settings: Of the run.
        step: Counted from 1; its draws follow from the seed.
        drawn: By step, what engines drew that drew themselves.
        taken: Steps that Adam had taken before the run began.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        step: int,
        drawn: Mapping[int, Mapping[str, NDArray]] | None = None,
        taken: int = 0,
    ) -> None:
        self.drawn = drawn or {}
        self.recipe = recipe
        self.settings = settings
        self.step = step
        self.adam_step = taken + step  # of all that Adam has taken
        self.stages = {stage.name: stage for stage in recipe.stages_for(settings)}
        self.spec = recipe.draws(settings.latent_dim, **settings.hyper)

    def takers(self, name: str) -> list[Stage]:
        """The layers (not the terms of the loss) that take a stage's result."""
        return [s for s in self.stages.values() if name in s.inputs and not s.is_term]

    def users(self, path: str) -> list[Stage]:
        """The stages that go through a module, in order."""
        return [s for s in self.stages.values() if s.path == path and not s.is_term]

    @cached_property
    def draws(self) -> Mapping[str, Tensor]:
        """This step's dropout masks and noise, one row per image."""
        return self.draws_of(self.step)

    def draws_of(self, step: int) -> Mapping[str, Tensor]:
        if self.settings.rng != "injected":
            given = self.drawn.get(step, {})  # KeyError for what is not known
            return {name: torch.from_numpy(value) for name, value in given.items()}
        drawn = Draws(self.settings.seed, self.settings.dtype).step(
            step - 1, self.settings.batch_size, self.spec
        )
        return {name: torch.from_numpy(value) for name, value in drawn.items()}

    def weights(self, stage: Stage, probe: Probe) -> list[Tensor]:
        """The weight and bias that a stage started the step with, if it has any."""
        keys = (f"start/{stage.path}.{kind}" for kind in ("weight", "bias"))
        return [float64(probe[key]) for key in keys if key in probe]

    def inputs(self, stage: Stage, probe: Probe) -> list[Tensor]:
        return [float64(probe[f"forward/{name}"]) for name in stage.inputs]

    def apply(
        self,
        stage: Stage,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor] = (),
        draw: Tensor | None = None,
    ) -> Tensor:
        """What a layer returns.

        Arguments:
            stage: The layer.
            inputs: What its input stages returned.
            weights: Its weight and bias, if it has any.
            draw: Its mask or noise; by default the step's own.
        """
        if stage.draw is not None and draw is None:
            draw = self.draws[stage.draw]
        drawn = [] if draw is None else [draw.to(inputs[0].dtype)]
        return FUNCTIONS[stage.layer](*inputs, *weights, *drawn, **stage.options)

    def backward(
        self,
        stage: Stage,
        probe: Probe,
        gradient: Tensor,
        rows: Tensor | slice = slice(None),
    ) -> dict[str, Tensor]:
        """What a layer's backward pass makes of a gradient with respect to its result.

        Arguments:
            stage: The layer.
            probe: Holds its inputs, weights and result.
            gradient: With respect to its result, for the images in `rows`.
            rows: Images; all by default, and always for batch norm, whose images depend on each
                other.

        Returns:
            Gradients by name: of the input stages, (rows, ...), and of the parameters.
        """
        inputs = [x[rows].clone().requires_grad_() for x in self.inputs(stage, probe)]
        weights = [w.clone().requires_grad_() for w in self.weights(stage, probe)]
        draw = None if stage.draw is None else self.draws[stage.draw][rows]
        y = self.apply(stage, inputs, weights, draw)
        found = torch.autograd.grad(y, [*inputs, *weights], gradient.reshape(y.shape))
        kinds = [f"{stage.path}.{kind}" for kind in ("weight", "bias")]
        return dict(zip([*stage.inputs, *kinds[: len(weights)]], found, strict=True))

    def running(self, name: str, probe: Probe, momentum: float | None = None) -> Tensor:
        r"""A running statistic of batch norm after the step.

        .. math:: r \leftarrow (1 - m) r + m s

        for each use of the module in turn; s is the batch's mean, or its unbiased variance.

        Arguments:
            name: Of the running statistic.
            probe: Holds what it started from, and batch norm's inputs.
            momentum: m, by default the layer's own.
        """
        value = float64(probe[f"start/{name}"])
        for stage in self.users(name.rpartition(".")[0]):
            rate = stage.options["momentum"] if momentum is None else momentum
            value = (1 - rate) * value + rate * self.statistic(name, stage, probe)
        return value

    def statistic(self, name: str, stage: Stage, probe: Probe, unbiased: bool = True) -> Tensor:
        """A batch's mean or variance (C,), that a running statistic moves towards."""
        (x,) = self.inputs(stage, probe)
        mean, variance, count = batch_statistics(x)
        if name.endswith("running_mean"):
            return mean
        return variance * (count / (count - 1)) if unbiased else variance

    def term(self, stage: Stage) -> Term:
        """What a stage of the loss computes."""
        return Term.of_stage(stage)

    def coefficient(self, name: str) -> float:
        """The total's derivative with respect to a term: the weight that it has in it."""
        if name == "total":
            return 1.0
        return sum(
            self.term(taker).weights[taker.inputs.index(name)] * self.coefficient(taker.name)
            for taker in self.stages.values()
            if taker.is_term and name in taker.inputs
        )

    def term_gradient(self, stage: Stage, name: str, probe: Probe) -> Tensor:
        """The derivative of the total with respect to a stage's result, by way of one term."""
        term, inputs = self.term(stage), self.inputs(stage, probe)
        weight = self.coefficient(stage.name)
        if term.kind == "bce":
            q, x = (value.flatten(1) for value in inputs)
            count = {"sum": 1, "image": len(q), "element": q.numel(), "feature": q[0].numel()}
            # torch's own: q (1 - q) is held above 1e-12 rounded to float32
            held = ((1 - q) * q).clamp(min=9.999999960041972e-13)
            return weight / count[term.per] * (q - x) / held
        given = [value.clone().requires_grad_() for value in inputs]
        found = torch.autograd.grad(term.value(given), given, allow_unused=True)
        part = found[stage.inputs.index(name)]
        return torch.zeros_like(given[0]) if part is None else weight * part

    def adam_update(self, moment1: Tensor, moment2: Tensor) -> Tensor:
        r"""What Adam subtracts from a parameter.

        .. math:: \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

        Kingma & Ba (2015), algorithm 1, https://arxiv.org/abs/1412.6980.
        """
        correction1, correction2 = 1 - BETA1**self.adam_step, 1 - BETA2**self.adam_step
        size = (moment2 / correction2).sqrt() + EPSILON
        return self.settings.learning_rate * (moment1 / correction1) / size
