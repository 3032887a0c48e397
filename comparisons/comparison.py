"""Two traces in, agreement out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from comparisons.agreement import RULES, Agreement, compare_arrays
from pyvae.trace import LOSSES, Trace

__all__ = ["Comparison", "compare_traces", "summary"]


@dataclass(frozen=True)
class Comparison:
    """One objective, run by PyTorch and by a reference engine.

    Attributes:
        python, reference: The two traces.
        quantities: Agreement of `loss` (the total of each step), its two parts
            `reconstruction` and `regulariser`, `parameter` and `latent_mean`.
    """

    python: Trace
    reference: Trace
    quantities: dict[str, Agreement]

    @property
    def objective(self) -> str:
        return self.python.settings.objective

    @property
    def agrees(self) -> bool:
        return all(agreement.agrees for agreement in self.quantities.values())

    def history(self) -> pd.DataFrame:
        """Both histories, one below the other."""
        return pd.concat([self.python.history(), self.reference.history()], ignore_index=True)

    def latent_means(self) -> pd.DataFrame:
        """One row per image, dimension, mode and engine: engine, objective, mode, image,
        dimension (from 1), mu."""
        rows = []
        for trace in (self.python, self.reference):
            for mode, mu in trace.latent_means.items():
                table = pd.DataFrame(mu)
                table.index += 1
                table.columns = pd.RangeIndex(1, mu.shape[1] + 1)
                long = table.melt(ignore_index=False, var_name="dimension", value_name="mu")
                long = long.rename_axis("image").reset_index()
                long.insert(0, "engine", trace.engine)
                long.insert(1, "objective", self.objective)
                long.insert(2, "mode", mode)
                rows.append(long)
        return pd.concat(rows, ignore_index=True)


def compare_traces(python: Trace, reference: Trace) -> Comparison:
    """Holds a trace against its reference."""
    dtype = python.settings.dtype
    rules = RULES[dtype]

    pairs: dict[str, tuple[dict[str, NDArray], dict[str, NDArray]]] = {
        name: ({name: python.losses[:, i]}, {name: reference.losses[:, i]})
        for i, name in enumerate(LOSSES)
    }
    pairs["loss"] = pairs.pop("total")
    pairs["parameter"] = (python.parameters, reference.parameters)
    pairs["latent_mean"] = (python.latent_means, reference.latent_means)
    quantities = {name: compare_arrays(*pairs[name], rule, dtype) for name, rule in rules.items()}
    return Comparison(python, reference, quantities)


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The content of comparison.json. Numbers that are not finite become null."""
    first = comparisons[0]
    settings = first.python.settings
    return {
        "verdict": _verdict(all(comparison.agrees for comparison in comparisons)),
        "engine": first.reference.engine,
        "dtype": settings.dtype,
        "data": first.python.data["name"],
        "batch_size": settings.batch_size,
        "steps": first.python.steps,
        "objectives": {
            comparison.objective: {
                "verdict": _verdict(comparison.agrees),
                **{name: _numbers(a) for name, a in comparison.quantities.items()},
            }
            for comparison in comparisons
        },
        "settings": settings.as_dict() | {"objective": [c.objective for c in comparisons]},
        "environment": {
            trace.engine: trace.environment for trace in (first.python, first.reference)
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
