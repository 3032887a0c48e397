"""The parts that networks and objectives are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.model.draws import Draws
    from pyvae.model.hyperparameters import Hyper
    from pyvae.model.objectives import OBJECTIVES, Objective
    from pyvae.model.recipe import Recipe
    from pyvae.model.run import Run
    from pyvae.model.settings import Settings

__all__ = ["OBJECTIVES", "Draws", "Hyper", "Objective", "Recipe", "Run", "Settings"]
__getattr__ = lazy_exports(
    __name__,
    {
        "Draws": "pyvae.model.draws",
        "Hyper": "pyvae.model.hyperparameters",
        "OBJECTIVES": "pyvae.model.objectives",
        "Objective": "pyvae.model.objectives",
        "Recipe": "pyvae.model.recipe",
        "Run": "pyvae.model.run",
        "Settings": "pyvae.model.settings",
    },
)
