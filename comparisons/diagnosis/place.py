"""One step of two engines, and the place in it where they part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import Rule
from comparisons.expected.layers import Layers, float64, own_draws
from comparisons.stages.compare import compare_probes
from pyvae.data.images import ImageData
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Quantity

__all__ = ["InspectedStep", "Place", "Probes"]

SAME = {"float64": 1e-9, "float32": 1e-4}
Probes = tuple[Probe, Probe]  # of the engine under test and of the reference


def _unknown() -> None:
    return None


@dataclass(frozen=True)
class InspectedStep:
    """What two engines returned in one step, stage by stage.

    Attributes:
        recipe, settings: Of the run.
        step: Counted from 1.
        names: The engines' names, under test first.
        probes: What each returned.
        previous: Both probes of the step before, if they are known.
        resync: Whether both started the step from the state of the engine under test.
        environments: What the engines say of theirs, where it is known: R names its version.
        following: Called for both probes of the next step, where it takes them to tell two
            mistakes apart; None if they are not known.
        data: What the run is trained on, if it can be had.
        taken: Steps that Adam had taken before the run began.
    """

    recipe: Recipe
    settings: Settings
    step: int
    names: tuple[str, str]
    probes: Probes
    previous: Probes | None = None
    resync: bool = False
    environments: tuple[Mapping[str, str], ...] = ()
    following: Callable[[], Probes | None] = _unknown
    data: ImageData | None = None
    taken: int = 0

    @cached_property
    def layers(self) -> Layers:
        """The step's layers, in float64, with the draws that the engines made themselves."""
        drawn = {self.step: own_draws(self.probes)}
        if self.previous is not None:
            drawn[self.step - 1] = own_draws(self.previous)
        return Layers(self.recipe, self.settings, self.step, drawn, self.taken)

    def compare(self, rule: Rule) -> list[StageAgreement]:
        """The agreement of every quantity, in the order of computation."""
        return compare_probes(
            *self.probes, self.recipe, self.settings, self.step, rule, taken=self.taken
        )

    def place(self, quantity: Quantity) -> Place:
        """All that is known where the two part in one quantity."""

        def following() -> Place | None:
            probes = self.following()
            if probes is None:
                return None
            after = InspectedStep(
                self.recipe, self.settings, self.step + 1, self.names, probes, self.probes,
                self.resync, taken=self.taken,
            )  # fmt: skip
            return after.place(quantity)

        return Place(
            quantity, self.probes, self.names, self.layers, self.previous, self.resync, following,
            self.data,
        )  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The first quantity in which two engines part; all before it agree.

    Attributes:
        quantity: Which.
        probes: What the engine under test and the reference returned in this step.
        names: Their names.
        layers: The step's layers.
        previous: Both probes of the step before, if they are known.
        resync: Whether both started the step from the state of the engine under test.
        following: Called for the same place in the next step, where a name has to be confirmed;
            None if that step is not known.
        data: What the run is trained on, if it can be had.
    """

    quantity: Quantity
    probes: Probes
    names: tuple[str, str]
    layers: Layers
    previous: Probes | None = None
    resync: bool = False
    following: Callable[[], Place | None] = field(default=_unknown)
    data: ImageData | None = None

    @property
    def is_known(self) -> bool:
        """Whether both sides have the quantity."""
        return all(self.quantity.key in probe for probe in self.probes)

    @cached_property
    def values(self) -> tuple[Tensor, Tensor]:
        """What both returned, in float64."""
        a, b = (float64(probe[self.quantity.key]) for probe in self.probes)
        return a, b

    @cached_property
    def parameters(self) -> list[str]:
        """The names of the network's parameters, in order."""
        layers = self.layers
        return layers.recipe.parameter_names(layers.settings.latent_dim, **layers.settings.hyper)

    @cached_property
    def parameter_gradients(self) -> set[str]:
        """The keys of the gradients with respect to parameters."""
        return {f"gradient/{name}" for name in self.parameters}

    @property
    def rtol(self) -> float:
        """What counts as equal, relative to the largest magnitude."""
        return SAME[self.layers.settings.dtype]

    def before(self, side: int) -> Probe | None:
        """The probe of the step before that a side went on from, if it is known."""
        return None if self.previous is None else self.previous[0 if self.resync else side]
