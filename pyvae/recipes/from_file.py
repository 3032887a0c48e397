"""Recipes from a file of the user's own: `my_vae.py:RECIPE`.

The file is a Python program: it is run, so only what a user names himself is loaded, never what a
trace or a run's folder names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pyvae.errors import UserError
from pyvae.model.recipe import Recipe, RecipeFile

__all__ = ["absolute_recipe_file", "load_recipe_file", "names_recipe_file", "recipe_error"]

HOW = "name it as FILE.py:NAME, such as my_vae.py:RECIPE"
_loaded: dict[Path, tuple[str, ModuleType]] = {}  # by path: checksum and module


def names_recipe_file(text: str) -> bool:
    """Whether a text names a recipe in a file, rather than one that has a name.

    Example:
        >>> names_recipe_file("my_vae.py:RECIPE"), names_recipe_file("conv")
        (True, False)
    """
    return text.endswith(".py") or ".py:" in text


def absolute_recipe_file(text: str) -> str:
    """The same with the file's absolute path, for a command that is repeated elsewhere."""
    place, _, name = text.rpartition(":")
    return f"{Path(place).expanduser().resolve()}:{name}" if place else text


def recipe_error(error: BaseException) -> UserError | None:
    """An error that arose in a recipe's file, or in what it called, as a line with its place; None
    if no recipe's file has to do with it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename) in _loaded:
            return UserError(
                f"recipe file '{frame.filename}', line {frame.lineno}: {_what(error)}",
                "correct the file",
            )
    return None


def load_recipe_file(text: str) -> Recipe:
    """Runs a Python file and returns a recipe that it defines.

    The file's folder is searched for its own imports, after everything that is installed. A file
    that was loaded before is run again only if it has changed.

    Arguments:
        text: `FILE.py:NAME`.

    Raises:
        UserError: If there is no such file or name, the name is that of something else, or the
            file raises an error.
    """
    place, _, name = text.rpartition(":")
    if not place or not name or text.endswith(".py"):
        raise UserError(f"recipe '{text}' names no object in the file", HOW)
    path = Path(place).expanduser().resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise UserError(f"recipe file '{place}' {why}", "check the path; " + HOW) from error
    checksum = hashlib.sha256(content).hexdigest()
    found = getattr(_module(path, content, checksum), name, None)
    if not isinstance(found, Recipe):
        given = "not in it" if found is None else f"of type {type(found).__name__}"
        there = _recipes_in(_loaded[path][1])
        remedy = (
            f"it has {' and '.join(there)}" if there else "define it: docs/how-to/write-a-recipe.md"
        )
        raise UserError(
            f"recipe file '{place}': '{name}' is {given}", remedy, expected="a pyvae Recipe"
        )
    return replace(found, file=RecipeFile(str(path), name, checksum))


def _module(path: Path, content: bytes, checksum: str) -> ModuleType:
    """The file as a module under its own name."""
    known, module = _loaded.get(path, ("", None))
    if module is not None and known == checksum:
        return module
    name = path.stem
    other = sys.modules.get(name)
    if other is not None and other is not module:
        raise UserError(
            f"recipe file '{path}' has the name of the module '{name}', which is in use",
            "rename the file",
        )
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None  # noqa: S101 (a spec of a name and no loader)
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        _loaded.pop(path, None)
        raise UserError(
            f"recipe file '{path}'{_where(error, path)}: {_what(error)}", "correct the file"
        ) from error
    _loaded[path] = checksum, module
    return module


def _where(error: BaseException, path: Path) -> str:
    """The last line of the file on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return f", line {lines[-1]}" if lines else ""


def _what(error: BaseException) -> str:
    said: Any = error.msg if isinstance(error, SyntaxError) else error
    return f"{type(error).__name__}: {said}" if str(said) else type(error).__name__


def _recipes_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Recipe)]
