"""Mistaken terms of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects
from comparisons.diagnosis.named_factors import numbers_of
from comparisons.diagnosis.relations.names_of_factors import named_factors
from comparisons.expected.layers import Layers
from comparisons.expected.loss_terms import (
    FEATURES,
    SUMMANDS,
    Term,
    kl_normal,
    reduced,
)
from pyvae.model.stages import Stage

__all__ = ["fitted", "forward"]


def forward(layers: Layers, stage: Stage, inputs: Sequence[Tensor]) -> Suspects:
    """Of one term. The right one comes first, without words."""
    term = layers.term(stage)
    right = term.value(inputs)
    yield "", right
    if term.kind == "sum":
        yield from _sum(layers, stage, term, inputs)
        return
    yield "its sign changed", -right
    yield from _scales(term, term.summands(inputs))
    for words, summands in SUSPECTS[term.kind](*inputs, **term.options):
        yield words, reduced(summands, term.per)
    for objective, other in _of_other_objectives(layers, stage):
        words = f"the {stage.name} of the other objective ({objective})"
        yield words, layers.term(other).value(inputs)


def fitted(layers: Layers, stage: Stage, inputs: Sequence[Tensor], found: Tensor) -> Suspects:
    """Mistakes of a term with a constant, which is fitted to what one side returned: free bits,
    and a factor that has a name or is a round number."""
    term = layers.term(stage)
    right = term.value(inputs)
    if term.kind in ("kl_normal", "kl_gaussians"):
        yield from _free_bits(term, term.summands(inputs), float(found))
    if right and found.numel() == 1:
        factor = float(found / right)
        numbers, dtype = numbers_of(layers), layers.settings.dtype
        for words, value in named_factors(factor, numbers, dtype, "a weight of the loss"):
            yield f"times {words}", value * right


def _free_bits(term: Term, summands: Tensor, found: float) -> Suspects:
    """Parts of a KL that are held at a round number or more (Kingma et al. 2016, "Improved
    variational inference with inverse autoregressive flow", appendix C.8)."""
    images = len(summands)
    ways: dict[str, tuple[Tensor, float]] = {
        "each term": (summands, 1.0),
        "each dimension's mean over images": (summands.mean(0), float(images)),
        "each image's sum": (summands.sum(1), 1.0),
        "the sum": (summands.sum()[None], 1.0),
    }
    divisor = float(summands.sum() / reduced(summands, term.per)) if summands.any() else 1.0
    for words, (parts, factor) in ways.items():

        def held(least: float, parts: Tensor = parts, factor: float = factor) -> float:
            return factor * float(parts.clamp(min=least).sum()) / divisor

        low, high = float(parts.min()), float(parts.max()) + abs(found) * divisor
        if not held(low) < found < held(high):
            continue
        for _ in range(100):  # halving: it grows with the constant
            middle = (low + high) / 2
            low, high = (middle, high) if held(middle) < found else (low, middle)
        least = float(f"{high:.2g}")
        if math.isclose(least, high, rel_tol=1e-6) and float(parts.min()) < least:
            value = torch.tensor(held(least), dtype=summands.dtype)
            yield f"{words} held at {least:g} or more (free bits)", value


def _of_other_objectives(layers: Layers, stage: Stage) -> Iterator[tuple[str, Stage]]:
    """What a term is with the recipe's other objectives, where it takes the same inputs."""
    recipe = layers.recipe
    for objective in (*recipe.objectives, *recipe.further):
        for other in recipe.stages_for(replace(layers.settings, objective=objective)):
            if (other.name, other.inputs) == (stage.name, stage.inputs) and other != stage:
                yield objective, other


def _scales(term: Term, summands: Tensor) -> Suspects:
    """Summed where it is averaged, or averaged over the wrong axis."""
    features = FEATURES.get(term.kind, "dimensions")
    ways = {
        "sum": "summed",
        "image": "averaged over images",
        "feature": f"averaged over {features} alone (the wrong axis)",
        "element": f"averaged over images and {features}",
    }
    for per, words in ways.items():
        differs = bool(abs(reduced(summands, per) - reduced(summands, term.per)) > 0)
        if per != term.per and differs:
            yield f"{words} where it is {ways[term.per]}", reduced(summands, per)


def _bce(q: Tensor, x: Tensor) -> Suspects:
    flat, pixels = q.flatten(1), x.flatten(1)
    unclamped = -(pixels * flat.log() + (1 - pixels) * torch.log1p(-flat))
    yield "the logarithms are not held at -100", unclamped
    exchanged = SUMMANDS["bce"](pixels.clamp(1e-12, 1 - 1e-12), flat)
    yield "images and probabilities exchanged", SUMMANDS["bce"](pixels, flat)
    words = "images and probabilities exchanged, the images held within 1e-12 and 1 - 1e-12"
    yield words, exchanged
    words = "the sigmoid taken twice, in the loss (of logits, but given probabilities)"
    yield words, SUMMANDS["bce"](torch.sigmoid(flat), pixels)
    yield "squared errors", (flat - pixels) ** 2
    yield "half the squared errors", (flat - pixels) ** 2 / 2
    yield "1 - x left out: -x log(p) alone", -(pixels * flat.log().clamp(min=-100))


def _mse(q: Tensor, x: Tensor) -> Suspects:
    square = SUMMANDS["mse"](q, x)
    yield "halved", square / 2
    yield "absolute errors", square.sqrt()
    yield "binary cross-entropy", SUMMANDS["bce"](q, x)


def _gaussian(mean: Tensor, x: Tensor, variance: float) -> Suspects:
    square = (x - mean) ** 2
    constant = math.log(2 * math.pi * variance)
    yield "its constant log(2 pi variance) missing", 0.5 * square / variance
    yield "log(2 pi) missing", 0.5 * (square / variance + math.log(variance))
    yield "the variance missing in its constant", 0.5 * (square / variance + math.log(2 * math.pi))
    yield "without its factor 1/2", square / variance + constant
    yield "the 1/2 missing of the constant", 0.5 * square / variance + constant
    yield "the squared errors alone", square
    yield "half the squared errors alone", square / 2
    read = 2 * math.log(variance) + math.log(2 * math.pi)
    yield "the variance taken for a standard deviation", 0.5 * (square / variance**2 + read)


def _of_normal(kind: str) -> Callable[..., Suspects]:
    """A regulariser of mu and log_var."""

    def suspects(mu: Tensor, log_var: Tensor) -> Suspects:
        right = SUMMANDS[kind](mu, log_var)
        yield "without its factor 1/2", 2 * right
        if kind == "half_mu_squared":
            return
        yield "log_var read as a log-standard-deviation", SUMMANDS[kind](mu, 2 * log_var)
        yield "without mu^2", SUMMANDS[kind](torch.zeros_like(mu), log_var)
        yield "without exp(log_var)", right - 0.5 * log_var.exp()
        if kind == "kl_normal":
            yield "without the 1", right + 0.5
            yield "without log_var", right + 0.5 * log_var
            reverse = 0.5 * (log_var - 1 + (1 + mu**2) * (-log_var).exp())
            yield "the divergence in the other direction, KL(prior || posterior)", reverse
            of_variance = 0.5 * (log_var + mu**2 - 1 - log_var.clamp(min=1e-300).log())
            if (log_var > 0).all():
                yield "log_var read as the variance", of_variance

    return suspects


def _kl_gaussians(mu1: Tensor, log_var1: Tensor, mu2: Tensor, log_var2: Tensor) -> Suspects:
    right = SUMMANDS["kl_gaussians"]
    value = right(mu1, log_var1, mu2, log_var2)
    words = "the divergence in the other direction, KL(p(z|y) || q(z|x,y))"
    yield words, right(mu2, log_var2, mu1, log_var1)
    yield "from N(0, I), the prior's mean and variance left out", kl_normal(mu1, log_var1)
    yield "without its factor 1/2", 2 * value
    doubled = right(mu1, 2 * log_var1, mu2, 2 * log_var2)
    yield "log_var read as a log-standard-deviation", doubled
    undivided = value + 0.5 * (mu2 - mu1) ** 2 * (1 - (-log_var2).exp())
    yield "the squared distance not divided by the prior's variance", undivided
    by_other = 0.5 * (mu2 - mu1) ** 2 * ((-log_var1).exp() - (-log_var2).exp())
    yield "the squared distance divided by the posterior's variance", value + by_other
    yield "without the 1", value + 0.5
    yield "without the squared distance", value - 0.5 * (mu2 - mu1) ** 2 * (-log_var2).exp()
    yield "without the ratio of variances", value - 0.5 * (log_var1 - log_var2).exp()
    without_logs = value + 0.5 * (log_var1 - log_var2)
    yield "without the logarithms", without_logs


def _kl_categorical(pi: Tensor) -> Suspects:
    classes = pi.shape[1]
    entropy = pi * torch.log(pi + 1e-20)
    uniform = 1 / classes
    yield "the uniform prior left out: the negative entropy alone", entropy
    yield "log K subtracted where it is added", entropy - pi * math.log(classes)
    yield "log K added for each class", entropy + math.log(classes)
    yield "the prior's part alone, log K", pi * math.log(classes)
    reverse = uniform * (math.log(uniform) - torch.log(pi + 1e-20))
    yield "the divergence in the other direction, KL(uniform || q(y|x))", reverse
    yield "the logarithm to base 2", (entropy + pi * math.log(classes)) / math.log(2)
    yield "log(pi) not multiplied by pi", torch.log(pi + 1e-20) + math.log(classes)


def _cross_entropy(pi: Tensor, labels: Tensor) -> Suspects:
    yield (
        "the logarithm of the probabilities, where softmax is taken of them a second time",
        -labels * torch.log(pi + 1e-20),
    )
    yield "the probabilities without a logarithm", -labels * pi
    yield "labels and probabilities exchanged", -pi * torch.log_softmax(labels, 1)
    yield "squared errors", (labels - pi) ** 2
    each = -(labels * torch.log(pi) + (1 - labels) * torch.log1p(-pi))
    yield "a binary cross-entropy of each class", each


SUSPECTS: dict[str, Callable[..., Suspects]] = {
    "bce": _bce,
    "cross_entropy": _cross_entropy,
    "expected_prior": _of_normal("expected_prior"),
    "gaussian": _gaussian,
    "half_mu_squared": _of_normal("half_mu_squared"),
    "kl_categorical": _kl_categorical,
    "kl_gaussians": _kl_gaussians,
    "kl_normal": _of_normal("kl_normal"),
    "mse": _mse,
}


def _hyperparameter(layers: Layers, weight: float) -> str:
    """The hyperparameter that has the value of a weight; empty if none has, or several have."""
    names = [name for name, value in layers.settings.hyper.items() if value == weight]
    return names[0] if len(names) == 1 else ""


def _sum(layers: Layers, stage: Stage, term: Term, inputs: Sequence[Tensor]) -> Suspects:
    """A weighted sum whose weights are wrong."""
    weights, names = term.weights, stage.inputs

    def weighted(others: Sequence[float]) -> Tensor:
        return torch.stack([w * value for w, value in zip(others, inputs, strict=True)]).sum()

    def replaced(place: int, weight: float) -> Tensor:
        return weighted([weight if i == place else w for i, w in enumerate(weights)])

    told = {weights}
    for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
        if weight:
            yield f"the {_words(name)} subtracted", replaced(place, -weight)
            yield f"the {_words(name)} left out", replaced(place, 0.0)
        if weight not in (0, 1):
            told.add(tuple(1.0 if i == place else w for i, w in enumerate(weights)))
            hyper = _hyperparameter(layers, weight)
            yield (
                f"{hyper or 'its weight'} missing: the {_words(name)} with weight 1",
                replaced(place, 1.0),
            )
            yield (
                f"the {_words(name)} divided by its weight {weight:g}",
                replaced(place, 1 / weight),
            )
            everywhere = [w if w != 1 else weight for w in weights]
            yield f"{hyper or f'{weight:g}'} on all terms", weighted(everywhere)
    for order in permutations(weights):
        if order not in told:
            told.add(order)
            parts = ", ".join(
                f"{w:g} of the {_words(n)}" for w, n in zip(order, names, strict=True)
            )
            yield f"the weights on the wrong terms: {parts}", weighted(order)
    if layers.settings.batch_size > 1:
        yield "averaged over images", weighted(weights) / layers.settings.batch_size


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" kl", " KL")
