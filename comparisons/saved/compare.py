"""Two saved traces, held against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import is_normalised, rule_of_step
from comparisons.beyond_steps.after_training import AFTER_TRAINING, part_after_training
from comparisons.beyond_steps.rounding import measure_rounding, rounding_note
from comparisons.diagnosis.first_divergence import first_divergence
from comparisons.diagnosis.place import InspectedStep, Probes
from comparisons.saved.pairs import pair_up
from comparisons.saved.past_kinks import MOST_STEPS, look_past_kinks
from comparisons.saved.probes import read_probe
from comparisons.steps.comparison import Comparison, compare_whole_runs
from comparisons.steps.progress import ProgressOf, not_shown
from pyvae.data.images import DATA_NAMES, load_data
from pyvae.engines.adam import ADAMS
from pyvae.errors import UserError, choose
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.starts import start_of_trace
from pyvae.trace.trace import Trace

__all__ = ["compare_traces"]

RESYNCHRONISED = (
    "every step started from the same state: what an optimiser keeps to itself (AMSGrad's "
    "maximum) shows only in free runs; compare two of them as well"
)


def compare_traces(
    under_test: Trace | Path | str,
    reference: Trace | Path | str,
    exact: bool = False,
    progress: ProgressOf = not_shown,
) -> Comparison:
    """Compares two traces of the same run, whoever wrote them.

    The whole run is compared, and step by step what both recorded of their stages. Where they
    disagree and no recorded step says why, it is measured how far rounding alone drives such a run
    (PyTorch makes it again, three times), if its images can be had.

    Arguments:
        under_test: A trace, or its folder.
        reference: The other one.
        exact: Every bit has to be equal.
        progress: Makes a callback that shows the progress of what is named.

    Raises:
        UserError: If one cannot be read or is incomplete, or they are not of the same run.

    Example:
        >>> found = compare_traces("python/vae", "r/vae")  # doctest: +SKIP
        >>> found.agrees  # doctest: +SKIP
        True
    """
    a, b = pair_up(under_test, reference)
    comparison = replace(compare_whole_runs(a, b, exact), mode=_mode(a, b))
    normalised = is_normalised(get_recipe(a.recipe).stages)
    resync = comparison.mode == "resync"
    stages: list[StageAgreement] = []
    divergence = None
    for step in _steps(a, b):
        rule = rule_of_step(a.settings.dtype, step.step, resync, exact, normalised)
        agreements = step.compare(rule)
        stages += agreements
        divergence = divergence or first_divergence(step, agreements)
    comparison = replace(comparison, stages=stages, divergence=divergence)
    run = _run(a, b)
    if comparison.agrees:
        after = None if run is None else part_after_training(a, b, run, exact, judge=True)
        note = RESYNCHRONISED if resync and after is None else ""
        return replace(comparison, divergence=after, note=note)
    past = look_past_kinks(comparison, run, progress)
    if past.proven is not None and run is not None:
        after = part_after_training(a, b, run, exact, judge=True)
        return past.proven if after is None else replace(comparison, divergence=after)
    if past.note and divergence is not None:  # they began that step apart
        divergence = replace(divergence, wrong="", words=())
    divergence = past.divergence or divergence
    if divergence is not None:
        return replace(comparison, divergence=divergence, note=past.note)
    return _placed(comparison, run, progress, past.note)


def _placed(
    comparison: Comparison, run: Run | None, progress: ProgressOf, kinks: str
) -> Comparison:
    """Adds the place, or a note, to a disagreement that no recorded step explains; what is said of
    kinks comes first.

    Where the images can be had, latent means and samples are computed again from the traces' own
    parameters, and the effect of rounding is measured; else the note says what to do.
    """
    a, b = comparison.under_test, comparison.reference
    if run is not None:
        after = part_after_training(a, b, run, comparison.exact)
        if after is not None and comparison.disagreeing() <= AFTER_TRAINING:
            return replace(comparison, divergence=after)
    what_to_do = kinks or _what_to_do(comparison)
    other = set(a.parameters) != set(b.parameters)
    if run is None or comparison.exact or comparison.mode == "resync" or other:
        return replace(comparison, note=what_to_do)
    if a.steps > MOST_STEPS:
        long = f"the effect of rounding is measured for runs of up to {MOST_STEPS:,} steps"
        return replace(comparison, note=f"{what_to_do}; {long}")
    try:
        adam = choose("adam", a.environment.get("adam", "torch"), ADAMS)
        rounding = measure_rounding(run, progress, adam)
    except (UserError, RuntimeError):  # it diverges, or its generator is not there
        return replace(comparison, note=what_to_do)
    said = rounding_note(rounding, comparison)
    if kinks or rounding.beyond(comparison):
        said = f"{what_to_do}; {said.removeprefix('but ')}"
    return replace(comparison, note=said)


def _run(a: Trace, b: Trace) -> Run | None:
    """The run that two traces are of, if its data has a name and can be had; a file that a trace
    of others names is not opened."""
    name = a.data["name"]
    if name not in DATA_NAMES or name == "auto":
        return None
    try:
        data = load_data(name)
    except UserError:
        return None
    sums = [trace.data.get("sha256", data.checksum) for trace in (a, b)]
    counts = [trace.data.get("images", len(data)) for trace in (a, b)]
    if sums != [data.checksum] * 2 or counts != [len(data)] * 2:
        return None
    try:
        start = start_of_trace(a)
    except UserError:
        return None
    return Run(get_recipe(a.recipe), replace(a.settings, steps=a.steps), data, start)


def _what_to_do(comparison: Comparison) -> str:
    """Where two traces disagree and no recorded step says why."""
    a, b = comparison.under_test, comparison.reference
    alone = sorted(set(a.parameters) ^ set(b.parameters))
    if alone:
        side = a if alone[0] in a.parameters else b
        return (
            f"only {side.engine} has the parameter {alone[0]}: give both networks the same "
            "parameters under the same names, then record both traces again"
        )
    rule = comparison.quantities["loss"].rule
    apart = [
        step
        for step, pair in enumerate(zip(a.losses, b.losses, strict=False), start=1)
        if not np.allclose(*pair, rtol=rule.rtol, atol=0)
    ]
    agreed = max((stage.step for stage in comparison.stages), default=0)
    first = apart[0] if apart else a.steps
    after = [step for step in (agreed + 1,) if step < first]
    steps = f"{after[0]}-{first}" if after else str(first)
    where = f"the losses part at step {first}" if apart else "the losses agree in every step"
    return (
        f"{where}, and no recorded step shows why; to find the stage, record both traces again "
        f"with --probe {steps}"
    )


def _mode(a: Trace, b: Trace) -> str:
    return "resync" if "resync" in (a.mode, b.mode) else "free"


def _steps(a: Trace, b: Trace) -> Iterator[InspectedStep]:
    """Every step whose stages both traces recorded, one at a time."""
    recipe = get_recipe(a.recipe)
    previous: tuple[int, Probes] | None = None
    for number, probes in _recorded(a, b):

        def following(next_one: int = number + 1) -> Probes | None:
            return next((both for _, both in _recorded(a, b, {next_one})), None)

        before = previous[1] if previous is not None and previous[0] == number - 1 else None
        yield InspectedStep(
            recipe, a.settings, number, (a.engine, b.engine), probes, before,
            _mode(a, b) == "resync", (a.environment, b.environment), following,
            taken=int(a.start.get("taken", 0)),
        )  # fmt: skip
        previous = (number, probes)


def _recorded(
    a: Trace, b: Trace, steps: Collection[int] | None = None
) -> Iterator[tuple[int, Probes]]:
    """What both traces recorded of every step that both have, or of these alone."""
    both = set(a.probed) & set(b.probed)
    for step in sorted(both if steps is None else both & set(steps)):
        yield step, (read_probe(a, step), read_probe(b, step))
