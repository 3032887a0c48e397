"""Two engines that are held against each other in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from comparisons.agreement.tolerances import Rule, is_normalised, stage_rule
from comparisons.diagnosis.place import InspectedStep, Probes
from pyvae.engines.engine import Engine
from pyvae.model.run import Run
from pyvae.trace.trace import Trace

__all__ = ["Pair"]


@dataclass(frozen=True)
class Pair:
    """Two engines and the run that both go through.

    Attributes:
        run: What is trained.
        under_test: The engine under test.
        reference: The engine that it is held against.
        exact: Whether every bit has to be equal.
    """

    run: Run
    under_test: Engine
    reference: Engine
    exact: bool = False

    @property
    def engines(self) -> tuple[Engine, Engine]:
        return self.under_test, self.reference

    @property
    def names(self) -> tuple[str, str]:
        return self.under_test.name, self.reference.name

    @property
    def other_way_round(self) -> Pair:
        """The same engines, the reference under test."""
        return replace(self, under_test=self.reference, reference=self.under_test)

    @property
    def taken(self) -> int:
        """Steps that Adam had taken before the run began."""
        return 0 if self.run.start is None else self.run.start.taken

    @property
    def is_normalised(self) -> bool:
        """Whether the network has batch norm."""
        return is_normalised(self.run.recipe.stages)

    @property
    def rule(self) -> Rule:
        """What the stages of a step are held against that both start from one state."""
        return stage_rule(self.run.settings.dtype, self.exact, self.is_normalised)

    def new_traces(self) -> tuple[Trace, Trace]:
        """Two empty traces of the run, to be filled as it goes."""
        return Trace.of_run(self.run, self.under_test), Trace.of_run(self.run, self.reference)

    def inspected(
        self,
        step: int,
        probes: Probes,
        previous: Probes | None = None,
        resync: bool = False,
        following: Callable[[], Probes | None] = lambda: None,
    ) -> InspectedStep:
        """A step whose stages both engines returned. What a run starts from stands for the step
        before the first."""
        start = self.run.start
        if step == 1 and start is not None and start.taken:
            state = start.state(self.run.settings.dtype)
            previous = (state, state)
        return InspectedStep(
            self.run.recipe, self.run.settings, step, self.names, probes, previous, resync,
            following=following, data=self.run.data, taken=self.taken,
        )  # fmt: skip
