"""The recipe of a trace."""

from __future__ import annotations

from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.recipes import get_recipe
from pyvae.trace.header import RECIPE_FILE, file_not_named
from pyvae.trace.trace import Trace

__all__ = ["recipe_of"]


def recipe_of(trace: Trace) -> Recipe:
    """The recipe that a trace names.

    Raises:
        UserError: If there is none of that name; if it is of a file of the user's own, which has to
            be opened first: no file is run because a trace names it.
    """
    try:
        return get_recipe(trace.recipe)
    except UserError as error:
        if RECIPE_FILE not in trace.environment:
            raise
        raise file_not_named(trace.folder, trace.recipe) from error
