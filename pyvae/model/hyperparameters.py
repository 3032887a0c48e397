"""Hyperparameters of a single recipe, such as a temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyvae.errors import UserError, choose

__all__ = ["MOST", "Hyper", "parse_hyper", "settle_hyper"]


MOST = 1e300  # the largest number that a trace can hold


@dataclass(frozen=True)
class Hyper:
    """A hyperparameter of a recipe.

    Attributes:
        name: Its name on the command line.
        value: The published value.
        what: What it is, in a few words.
        whole: Whether it is a whole number.
        least: The smallest value that makes sense.
        above: Whether it has to be above `least`, not equal to it.
        most: The largest value that can be used.
    """

    name: str
    value: float
    what: str
    whole: bool = False
    least: float = 0.0
    above: bool = False
    most: float = MOST

    def check(self, value: float) -> float:
        """Returns the value, as an int if it has to be a whole number.

        Raises:
            UserError: If it is out of range.
        """
        large_enough = value > self.least if self.above else value >= self.least
        if not (large_enough and value <= self.most) or (self.whole and value % 1):
            kind = "a whole number" if self.whole else "a number"
            more = f"above {self.least:g}" if self.above else f"of {self.least:g} or more"
            more += f", at most {self.most:g}" if value > self.most else ""
            raise UserError(
                f"--set {self.name}={value:g}",
                f"the published value is {self.value:g}",
                expected=f"{kind} {more} ({self.what})",
            )
        return int(value) if self.whole else float(value)


def settle_hyper(
    recipe: str, known: Sequence[Hyper], given: Mapping[str, float]
) -> dict[str, float]:
    """Returns a recipe's hyperparameters: the given values, and the published ones otherwise.

    Raises:
        UserError: If the recipe has no hyperparameter of a name, or a value is out of range.
    """
    names = [one.name for one in known]
    for name in given:
        if not names:
            raise UserError(
                f"recipe {recipe} has no hyperparameters", f"leave out --set {name}={given[name]:g}"
            )
        choose(f"hyperparameter of recipe {recipe}", name, names)
    return {one.name: one.check(given.get(one.name, one.value)) for one in known}


def parse_hyper(texts: Sequence[str]) -> dict[str, float]:
    """Parses texts of the form `NAME=NUMBER`.

    Raises:
        UserError: If one is not of that form.
    """
    values = {}
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            values[name.strip().replace("-", "_")] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"--set '{text}'", expected="NAME=NUMBER, such as temperature=0.5")
    return values
