"""A mistake that was written down, with the sentence that a user would want, before the code that
names it: two plain PyTorch programs, where they part, and which words of what is said decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from comparisons.ports import PortComparison, compare_programs
from mistakes.said import tells_nothing
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace

__all__ = [
    "DTYPES",
    "Beforehand",
    "Script",
    "beforehand",
    "compared",
    "kind_of",
    "place_of",
    "recorded",
]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
STEPS = 3


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


@dataclass
class Script:
    """A training program.

    Attributes:
        model: What is trained.
        batch: Makes a step's tensors, from a generator.
        loss: Of the model and these tensors.
        optimiser: Made of the parameters.
        before: Called with model, optimiser and number of a step before its forward pass.
        between: The same, between backward and the update.
        after: The same, after the update.
    """

    model: nn.Module
    batch: Callable[[torch.Generator], tuple[Tensor, ...]]
    loss: Callable[..., Tensor]
    optimiser: Callable = sgd
    before: Callable = lambda model, optimiser, step: None
    between: Callable = lambda model, optimiser, step: None
    after: Callable = lambda model, optimiser, step: None

    def train(self, folder: Path) -> None:
        optimiser = self.optimiser(self.model.parameters())
        drawn = torch.Generator().manual_seed(5)
        batches = [self.batch(drawn) for _ in range(STEPS)]  # read before: no draws of the program
        with record(self.model, optimiser, folder, steps=STEPS, overwrite=True):
            for step, batch in enumerate(batches, start=1):
                self.before(self.model, optimiser, step)
                optimiser.zero_grad()
                self.loss(self.model, *batch).backward()
                self.between(self.model, optimiser, step)
                optimiser.step()
                self.after(self.model, optimiser, step)


@dataclass(frozen=True)
class Beforehand:
    """A mistake.

    Attributes:
        name: What was done.
        sentence: What a user would want to read.
        place: Where it acts, as a regular expression of the place from its beginning.
        named: What is said names the mistake if each of these is found in it.
        in_part: And in part if one of these is.
        script: Makes the program, with the mistake or without.
    """

    name: str
    sentence: str
    place: str
    named: tuple[str, ...]
    in_part: tuple[str, ...] = field(default=())
    script: Callable[[bool], Script] | None = None


def beforehand(**about) -> Callable[[Callable[[bool], Script]], Beforehand]:
    """Makes a mistake of the function that makes its program."""
    return lambda script: Beforehand(script=script, **about)


def compared(mistake: Beforehand, dtype: torch.dtype, folder: Path) -> PortComparison:
    """Both programs, recorded into the folders `paper` and `port`, and held against each other."""
    recorded(lambda: mistake.script(False), dtype, folder / "paper")
    recorded(lambda: mistake.script(True), dtype, folder / "port")
    sides = [ProgramTrace.load(folder / name) for name in ("paper", "port")]
    return compare_programs(*sides)


def recorded(make: Callable[[], Script], dtype: torch.dtype, folder: Path) -> None:
    """Records a program, which starts from one seed, and draws from another one."""
    kind = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        torch.manual_seed(1)
        script = make()
        torch.manual_seed(3)
        script.train(folder)
    finally:
        torch.set_default_dtype(kind)


def place_of(mistake: Beforehand, found: PortComparison) -> bool:
    """Whether the place that was found is the right one."""
    return found.first is not None and re.match(mistake.place, found.first.place) is not None


def kind_of(mistake: Beforehand, found: PortComparison) -> str:
    """How the mistake was named: rightly, in part, wrongly or not.

    What is said with every word that was fixed beforehand names it *rightly*, at the right place;
    *in part* if one of the lesser words is found, or the place is another one. What tells nothing
    is no name. Anything else is a wrong one.
    """
    if found.first is None:
        return "not"
    words = "; ".join(found.first.words)
    if all(re.search(one, words, re.IGNORECASE) for one in mistake.named):
        return "rightly" if place_of(mistake, found) else "in part"
    if any(re.search(one, words, re.IGNORECASE) for one in mistake.in_part):
        return "in part"
    said = [one for one in found.first.words if one]
    if all(tells_nothing(word) for word in said):
        return "not"
    return "wrongly"
