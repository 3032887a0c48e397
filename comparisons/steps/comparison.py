"""Two traces in, agreement out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from comparisons.agreement.arrays import Agreement, compare_arrays
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import Rule, is_normalised, run_rules
from comparisons.diagnosis.first_divergence import Divergence
from comparisons.stages.no_effect import NoEffect
from pyvae.files.html import notebook_html
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.start import INITIAL, start_name
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace

__all__ = [
    "TINY",
    "Comparison",
    "compare_whole_runs",
    "run_name",
    "summary",
    "tell_starts_apart",
]

TINY = 1e-300  # stands for a tolerance of 0: every bit has to be equal


@dataclass(frozen=True, repr=False)
class Comparison:
    """One objective, run by an engine under test and by a reference.

    Attributes:
        under_test, reference: The two traces.
        quantities: Agreement of `loss` (the total of each step), its parts `reconstruction`,
            `regulariser` and further terms, `parameter`, `latent_mean` and `samples`; with batch
            norm `latent_mean` in training mode, `evaluation_mean` and, of live runs that agree,
            `evaluation_mode`: means and decoded images in evaluation mode from one state; of
            re-synchronised live runs `free_run`: parameters after a few steps in which each goes
            its own way, and `other_way_round`: all steps, from the reference's state.
        mode: `free`, or `resync` if every step of the reference started from the other's state.
        exact: Whether every bit had to be equal.
        stages: Agreement of every stage of the inspected steps.
        divergence: The first place where the two part.
        note: What is to be said where they disagree and no such place was found, or agree but for
            kinks that rounding decides.
        joined_after: Steps in which rounding decided a kink: both began the next one from one
            state (`comparisons.beyond_steps.across_kinks`).
        not_judged: Parameters that are left out: they have no effect in front of a batch norm.
        failure: Which engine could not take a step that the other one took, and its error.
        start_named: Whether to say so where the runs started from initial parameters: there are
            others that did not.
    """

    under_test: Trace
    reference: Trace
    quantities: dict[str, Agreement]
    mode: str = "free"
    exact: bool = False
    stages: Sequence[StageAgreement] = ()
    divergence: Divergence | None = None
    note: str = ""
    joined_after: tuple[int, ...] = ()
    not_judged: tuple[str, ...] = ()
    failure: str = ""
    start_named: bool = False

    def __repr__(self) -> str:
        return f"<{self._in_words()}>"

    def _in_words(self) -> str:
        """Who was compared, and the verdict."""
        a, b = self.under_test, self.reference
        return f"{self.title}, {a.engine} against {b.engine}: {_verdict(self.agrees)}"

    def _repr_html_(self) -> str:
        lines = [self.failure]
        if self.divergence is not None:
            lines.append(f"first part at {self.divergence.sentence()}")
            lines += [f"looks like: {words}" for words in self.divergence.words]
            lines.append(f"worst element: {self.divergence.element()}")
        rows = [
            {
                "quantity": name.replace("_", " "),
                "verdict": _verdict(one.agrees),
                "largest difference": f"{one.max_abs:.1e}",
                "needed": f"{one.required_rtol:.1e}",
                "allowed": f"{one.rule.rtol:.0e}" if one.rule.rtol else "0",
                "": one.problem,
            }
            for name, one in self.quantities.items()
        ]
        return notebook_html(self._in_words(), [*lines, self.note], pd.DataFrame(rows))

    @property
    def objective(self) -> str:
        return self.under_test.settings.objective

    @property
    def start(self) -> str:
        """The name of what the runs started from: `initial`, `trained`, `run`."""
        return start_name(self.under_test.start)

    @property
    def name(self) -> str:
        """What tells it from others of one comparison: `vae`, or `vae-trained`."""
        return run_name(self.under_test)

    @property
    def title(self) -> str:
        """The objective and, where it is not clear, what the runs started from."""
        title = OBJECTIVES[self.objective].title
        named = self.start_named or self.start != INITIAL
        return f"{title} from {self.start_words}" if named else title

    @property
    def start_words(self) -> str:
        """What the runs started from, in words."""
        return {INITIAL: "initial parameters", "trained": "the trained state"}.get(
            self.start, "a trained run"
        )

    @property
    def agrees(self) -> bool:
        """Whether all quantities and all inspected stages agree, and neither engine failed."""
        quantities = all(agreement.agrees for agreement in self.quantities.values())
        stages = all(agreement.agrees for agreement in self.stages)
        return quantities and stages and not self.failure and self.divergence is None

    def disagreeing(self) -> set[str]:
        """The names of the quantities that disagree."""
        return {name for name, agreement in self.quantities.items() if not agreement.agrees}

    def apart_words(self) -> str:
        """What disagrees of two runs that were left to themselves, with its size; empty if only
        stages do."""
        sizes = ", ".join(
            f"{name.replace('_', ' ')} {agreement.required_rtol:.1e}"
            for name, agreement in self.quantities.items()
            if not agreement.agrees
        )
        return f"; left to themselves they part: {sizes}" if sizes else ""

    @property
    def inspected_steps(self) -> list[int]:
        return sorted({agreement.step for agreement in self.stages})

    def worst_stage(self) -> StageAgreement | None:
        """The stage with the largest difference relative to what is allowed; a shape difference,
        NaN or infinity is larger than any."""
        return max(
            self.stages,
            key=lambda a: math.inf if a.problem else a.required_rtol / (a.rtol or TINY),
            default=None,
        )

    def stage_table(self) -> pd.DataFrame:
        """One row per step and quantity: objective, start, step, pass, stage, quantity, shape,
        largest, max_abs, raw_max_abs, ulp (of the largest magnitude), needed, allowed, explained,
        verdict."""
        dtype = self.under_test.settings.dtype
        rows = [
            {
                "objective": self.objective,
                "start": self.start,
                "step": a.step,
                "pass": a.quantity.passing,
                "stage": " or ".join(a.quantity.computed_by),
                "quantity": a.quantity.key,
                "shape": "x".join(map(str, a.shape)),
                "largest": a.largest,
                "max_abs": a.max_abs,
                "raw_max_abs": a.raw_max_abs,
                "ulp": a.ulps(dtype),
                "needed": a.required_rtol,
                "allowed": a.rtol,
                "explained": a.explained,
                "verdict": _verdict(a.agrees),
            }
            for a in self.stages
        ]
        return pd.DataFrame(rows)

    def history(self) -> pd.DataFrame:
        """Both histories, one below the other, with what they started from."""
        sides = [self.under_test.history(), self.reference.history()]
        history = pd.concat(sides, ignore_index=True)
        history.insert(2, "start", self.start)
        return history

    def latent_means(self) -> pd.DataFrame:
        """One row per image, dimension, mode and engine: engine, objective, start, mode, image,
        dimension (from 1), mu; none of a run that did not get to its end."""
        rows = []
        for trace in (self.under_test, self.reference):
            for mode, mu in trace.latent_means.items():
                table = pd.DataFrame(mu)
                table.index += 1
                table.columns = pd.RangeIndex(1, mu.shape[1] + 1)
                long = table.melt(ignore_index=False, var_name="dimension", value_name="mu")
                long = long.rename_axis("image").reset_index()
                long.insert(0, "engine", trace.engine)
                long.insert(1, "objective", self.objective)
                long.insert(2, "start", self.start)
                long.insert(3, "mode", mode)
                rows.append(long)
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def run_name(trace: Trace) -> str:
    """The objective of a run, and what it started from, if that is not initial parameters."""
    start = start_name(trace.start)
    return trace.settings.objective + ("" if start == INITIAL else f"-{start}")


def tell_starts_apart(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons whose titles name what their runs started from, where that differs."""
    several = len({comparison.start for comparison in comparisons}) > 1
    return [replace(comparison, start_named=several) for comparison in comparisons]


def compare_whole_runs(under_test: Trace, reference: Trace, exact: bool = False) -> Comparison:
    """Holds a trace against its reference: losses, parameters, latent means and decoded samples.

    Of a run that an engine could not finish, the losses of the steps that both took are compared;
    what it has not got to is a disagreement. Samples that a trace does without are not judged.

    Arguments:
        under_test, reference: The traces.
        exact: Every bit has to be equal.
    """
    settings = under_test.settings
    stages = get_recipe(under_test.recipe).stages
    objective = OBJECTIVES[settings.objective]
    rules = run_rules(settings.dtype, exact, is_normalised(stages), objective.further)
    no_effect = NoEffect.of_stages(stages)
    left_out = set() if exact else {*no_effect.biases, *no_effect.means}

    def but_left_out(parameters: dict[str, NDArray]) -> dict[str, NDArray]:
        return {name: value for name, value in parameters.items() if name not in left_out}

    short = [trace for trace in (under_test, reference) if not trace.complete]
    taken = slice(min(under_test.steps, reference.steps) if short else None)  # by both
    pairs: dict[str, tuple[dict[str, NDArray], dict[str, NDArray]]] = {
        name: ({name: under_test.losses[taken, i]}, {name: reference.losses[taken, i]})
        for i, name in enumerate(objective.terms)
    }
    pairs["loss"] = pairs.pop("total")
    pairs["parameter"] = (but_left_out(under_test.parameters), but_left_out(reference.parameters))
    means = under_test.latent_means, reference.latent_means
    pairs["latent_mean"] = means
    if "evaluation_mean" in rules:
        pairs["latent_mean"], pairs["evaluation_mean"] = (
            _of_modes(means, evaluation) for evaluation in (False, True)
        )
    pairs["samples"] = _samples(under_test), _samples(reference)
    if not short and not all(pairs["samples"]):
        del rules["samples"]
    quantities = {
        name: compare_arrays(*pairs[name], rule, settings.dtype) for name, rule in rules.items()
    }
    for trace in short:
        for name in rules:
            if (name != "loss" and name not in objective.terms) or not trace.steps:
                quantities[name] = _not_reached(rules[name], trace)
    names = tuple(sorted(left_out & set(reference.parameters)))
    return Comparison(under_test, reference, quantities, exact=exact, not_judged=names)


def _samples(trace: Trace) -> dict[str, NDArray]:
    return {} if trace.samples is None else {"samples": trace.samples}


def _not_reached(rule: Rule, trace: Trace) -> Agreement:
    nan, steps = math.nan, f"{trace.steps} step{'' if trace.steps == 1 else 's'}"
    return Agreement(nan, nan, -1, nan, rule, "", f"{trace.engine} ended after {steps}")


def _of_modes(
    means: tuple[dict[str, NDArray], dict[str, NDArray]], evaluation: bool
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """The latent means in evaluation mode, or the others, of both sides."""
    a, b = (
        {mode: mu for mode, mu in side.items() if (mode == "evaluation") == evaluation}
        for side in means
    )
    return a, b


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The content of comparison.json. Numbers that are not finite become null."""
    first = comparisons[0]
    settings = first.under_test.settings
    objectives = list(dict.fromkeys(comparison.objective for comparison in comparisons))
    return {
        "verdict": _verdict(all(comparison.agrees for comparison in comparisons)),
        "engine": first.reference.engine,
        "mode": first.mode,
        "rng": settings.rng,
        "exact": first.exact,
        "dtype": settings.dtype,
        "recipe": first.under_test.recipe,
        "data": first.under_test.data["name"],
        "batch_size": settings.batch_size,
        "steps": max(first.under_test.steps, first.reference.steps),
        "objectives": {
            comparison.name: {
                "verdict": _verdict(comparison.agrees),
                "objective": comparison.objective,
                "start": comparison.under_test.start or {"name": INITIAL},
                **{name: _numbers(a) for name, a in comparison.quantities.items()},
                "stages": _stages(comparison),
                "first_divergence": comparison.divergence and comparison.divergence.as_dict(),
                **({"failure": comparison.failure} if comparison.failure else {}),
                **({"note": comparison.note} if comparison.note else {}),
                **(
                    {"joined_after": list(comparison.joined_after)}
                    if comparison.joined_after
                    else {}
                ),
                **({"not_judged": list(comparison.not_judged)} if comparison.not_judged else {}),
            }
            for comparison in comparisons
        },
        "settings": settings.as_dict() | {"objective": objectives},
        "environment": {
            trace.engine: trace.environment for trace in (first.under_test, first.reference)
        },
    }


def _stages(comparison: Comparison) -> dict[str, Any] | None:
    worst = comparison.worst_stage()
    if worst is None:
        return None
    return {
        "steps": comparison.inspected_steps,
        "compared": len(comparison.stages),
        "agree": sum(agreement.agrees for agreement in comparison.stages),
        "worst": {
            "step": worst.step,
            "quantity": worst.quantity.key,
            "required_rtol": None if worst.problem else worst.required_rtol,
            "rtol": worst.rtol,
        },
    }


def _numbers(agreement: Agreement) -> dict[str, Any]:
    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    numbers: dict[str, Any] = {
        "max_abs": finite(agreement.max_abs),
        "max_rel": finite(agreement.max_rel),
        "max_ulp": None if agreement.problem else agreement.max_ulp,
        "required_rtol": finite(agreement.required_rtol),
        "rtol": agreement.rule.rtol,
        "scale": agreement.rule.scale,
        "worst": agreement.worst,
    }
    return numbers | ({"problem": agreement.problem} if agreement.problem else {})


def _verdict(agrees: bool) -> str:
    return "agree" if agrees else "disagree"
