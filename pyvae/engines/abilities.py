"""What an engine declares that it can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings

__all__ = ["Abilities"]


@dataclass(frozen=True)
class Abilities:
    """What an engine can do. The defaults are those of an engine that declares nothing: it runs
    every recipe, on draws that it is given.

    Attributes:
        title: What it is called in a sentence; empty: its name.
        language: What its panel in a figure is called; empty: its name.
        recipes: The recipes that it runs; None: any.
        layers: The layers that it runs, as stages name them; None: any.
        any_recipe: Whether it runs recipes with an optimiser of their own, clipped gradients or an
            objective that changes with the step, too.
        rng: Its own generator, as `Settings.rng` calls it; empty: it has none, and runs on
            injected draws alone.
        any_rng: Whether it can draw with every generator of `pyvae.engines.generators`, too.
        largest_seed: The largest seed that its own generator takes.
        arithmetic: Whose kernels compute, such as `LibTorch`: two engines that name the same can
            be equal in every bit, if Adam's order of operations is the same. Empty: nobody's else.
        adams: The orders of operations that its Adam can have, as `pyvae.engines.adam.ADAMS`
            names them, the default first.
        options: What `open_engine` may hand to the constructor: some of `device`, `adam`,
            `precision`, `kernels` and `threads`.
        rank: How good a reference it is: `auto` takes the engine of the highest rank that can be
            used. 0: never.
    """

    title: str = ""
    language: str = ""
    recipes: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    any_recipe: bool = False
    rng: str = ""
    any_rng: bool = False
    largest_seed: int = 2**63 - 1
    arithmetic: str = ""
    adams: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    rank: int = 0

    def runs(self, recipe: str) -> bool:
        """Whether it runs a recipe of that name."""
        return self.recipes is None or recipe in self.recipes

    def common_rng(self, other: Abilities) -> str:
        """The generator that both can draw with, so that one seed gives both the same draws;
        empty if there is none."""
        if self.rng == other.rng or self.any_rng:
            return other.rng
        return self.rng if other.any_rng else ""

    def common_adam(self, other: Abilities) -> str:
        """The order of operations of Adam with which both can be equal in every bit, the other's
        default first; empty if they cannot."""
        if not self.arithmetic or self.arithmetic != other.arithmetic:
            return ""
        return next((adam for adam in other.adams if adam in self.adams), "")

    def check_recipe(self, engine: str, recipe: str, others: Sequence[str] = ()) -> None:
        """Raises UserError if the engine of that name cannot run a recipe.

        Arguments:
            engine, recipe: Their names.
            others: Engines that can.
        """
        if not self.runs(recipe):
            raise UserError(
                f"engine {engine} cannot run recipe '{recipe}'",
                f"use --engine {' or '.join(others)}" if others else "",
                expected=" or ".join(self.recipes or ()),
            )

    def check_run(self, engine: str, recipe: Recipe, settings: Settings) -> None:
        """Raises UserError if the engine of that name cannot compute what a recipe's steps are
        made of."""
        if not self.any_recipe:
            for has, what in (
                (recipe.optimizer is not None, "has an optimiser of its own, not Adam"),
                (recipe.clip is not None, "clips gradients"),
                (
                    OBJECTIVES[settings.objective].schedule is not None,
                    f"has the objective {settings.objective}, which changes with the step",
                ),
            ):
                if has:
                    raise UserError(
                        f"engine {engine} cannot run recipe '{recipe.name}', which {what}",
                        "train it with --engine pytorch",
                    )
        if self.layers is None:
            return
        for stage in recipe.stages_for(settings):
            if stage.layer not in self.layers:
                raise UserError(
                    f"engine {engine} cannot run recipe '{recipe.name}': it has no layer "
                    f"'{stage.layer}' ({stage.name})",
                    expected=f"layers among {', '.join(self.layers)}",
                )
