"""Recipes of the user's own, from files."""

from __future__ import annotations

import hashlib
import sys

import pytest

from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import RECIPES, from_file, get_recipe, open_recipe
from pyvae.recipes.from_file import (
    absolute_recipe_file,
    load_recipe_file,
    names_recipe_file,
    recipe_error,
)

TINY = """
from dataclasses import replace
from pyvae.recipes import get_recipe
RECIPE = replace(get_recipe("mlp"), name="tiny", epochs=EPOCHS)
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a file adds to this process is taken back."""
    monkeypatch.setattr(from_file, "_loaded", {})
    monkeypatch.setattr("pyvae.recipes._opened", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules, objectives = set(sys.modules), dict(OBJECTIVES)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    OBJECTIVES.clear()
    OBJECTIVES.update(objectives)


@pytest.fixture
def write(tmp_path):
    def written(text, name="mine_for_a_test.py"):
        (tmp_path / name).write_text(text)
        return f"{tmp_path / name}:RECIPE"

    return written


def test_a_recipe_is_loaded_with_where_it_comes_from_and_known_by_its_name(write, tmp_path):
    asked = write(TINY.replace("EPOCHS", "7"))
    recipe = open_recipe(asked)
    content = (tmp_path / "mine_for_a_test.py").read_bytes()
    assert (recipe.name, recipe.epochs, recipe.reference) == ("tiny", 7, asked)
    assert recipe.file == (*asked.rsplit(":", 1), hashlib.sha256(content).hexdigest())
    assert get_recipe("tiny") is recipe
    assert "tiny" not in RECIPES
    write(TINY.replace("EPOCHS", "8"))
    again = open_recipe(asked)
    assert (again.epochs, get_recipe("tiny").epochs) == (8, 8)
    assert again.file.sha256 != recipe.file.sha256


def test_a_file_is_run_once_as_a_module_of_its_name_beside_its_own_modules(write):
    write("VALUE = 3\n", "beside_for_a_test.py")
    asked = write(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import beside_for_a_test as beside\n"
        "runs = getattr(beside, 'runs', 0) + 1\n"
        "beside.runs = runs\n"
        "@dataclass\nclass Point:\n    x: int = beside.VALUE\n"
        + TINY.replace("EPOCHS", "Point().x")
    )
    assert load_recipe_file(asked).epochs == load_recipe_file(asked).epochs == 3
    assert sys.modules["beside_for_a_test"].runs == 1
    assert sys.modules["mine_for_a_test"].Point.__module__ == "mine_for_a_test"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = undefined\n", "', line 2: NameError: name 'undefined' is not defined."),
        ("x = 1\nfor\n", "', line 2: SyntaxError: invalid syntax."),
        ("def f():\n    raise ValueError\nf()\n", "', line 2: ValueError. Correct the file."),
        ("import json\njson.loads('{')\n", "', line 2: JSONDecodeError: Expecting property"),
        ("raise SystemExit(3)\n", "', line 1: SystemExit: 3."),
        ("import no_such_module\n", "', line 1: ModuleNotFoundError: No module named 'no_such"),
        ("OTHER = 1\n", "': 'RECIPE' is not in it: expected a pyvae Recipe. Define it: docs/"),
        ("RECIPE = 1\n", "': 'RECIPE' is of type int: expected a pyvae Recipe."),
        (
            TINY.replace("EPOCHS", "1").replace("RECIPE", "MINE"),
            "': 'RECIPE' is not in it: expected a pyvae Recipe. It has MINE.",
        ),
        (TINY.replace("EPOCHS", "1").replace('"tiny"', '"conv"'), "a recipe named 'conv', as pyv"),
        (
            TINY.replace("EPOCHS", "1, objectives=('no',)"),
            "line 4: UserError: unknown objective of recipe tiny 'no': expected one of vae,",
        ),
        (TINY.replace("EPOCHS", "1, clip=0.0"), "has clip=0.0: expected a number above 0"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_line_with_its_place(write, text, said):
    with pytest.raises(UserError) as caught:
        open_recipe(write(text))
    assert said in str(caught.value)
    assert str(caught.value).startswith("recipe file '")
    assert "mine_for_a_test" not in sys.modules or "line" not in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("no/such.py:RECIPE", "recipe file 'no/such.py' does not exist. Check the path"),
        ("such.py", "recipe 'such.py' names no object in the file. Name it as FILE.py:NAME"),
        ("such.py:", "recipe 'such.py:' names no object in the file."),
        ("tiny", "unknown recipe 'tiny': expected one of conv, mlp,"),
    ],
)
def test_a_recipe_that_is_not_there_is_one_line(asked, said):
    with pytest.raises(UserError) as caught:
        open_recipe(asked)
    assert str(caught.value).startswith(said)


def test_a_file_that_is_a_folder_or_has_a_module_s_name_is_refused(tmp_path, write):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe_file(f"{tmp_path}/folder.py:RECIPE")
    with pytest.raises(UserError, match="has the name of the module 'json', which is in use"):
        load_recipe_file(write("", "json.py"))


def test_a_recipe_has_no_variants_unless_it_is_pyvae_s(write):
    with pytest.raises(UserError, match="--variant wide: recipe tiny has no variants"):
        open_recipe(write(TINY.replace("EPOCHS", "1")), "wide")


def test_an_objective_of_another_file_keeps_its_name(write):
    own = (
        "from pyvae.model.objectives import Objective\n"
        "def parts(x, output, hyper): return {}\n"
        "OWN = Objective('mine', 'mine', 'mine', parts)\n"
    )
    first = write(own + TINY.replace("EPOCHS", "1, own_objectives=(OWN,), objectives=('mine',)"))
    recipe = open_recipe(first)
    assert OBJECTIVES["mine"] == recipe.own_objectives[0]
    with pytest.raises(UserError, match="objective 'mine' is defined in mine_for_a_test already"):
        open_recipe(write(own + TINY.replace("EPOCHS", "1, own_objectives=(OWN,)"), "other_t.py"))
    write(own.replace("{}", "{'x': x}") + TINY.replace("EPOCHS", "1, own_objectives=(OWN,)"))
    assert open_recipe(first).own_objectives[0].parts(1, 2, 3) == {"x": 1}  # it was written anew


def test_an_error_that_arises_in_a_file_is_told_with_its_line(write):
    text = TINY.replace("EPOCHS", "1") + "def fails(x):\n    return x.no_such\n"
    load_recipe_file(write(text))
    try:
        sys.modules["mine_for_a_test"].fails(1)
    except AttributeError as error:
        said = str(recipe_error(error))
    assert "mine_for_a_test.py', line 6: AttributeError: 'int' object has no attribute" in said
    assert recipe_error(ValueError("elsewhere")) is None


def test_what_names_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names_recipe_file("a.py:R")
    assert names_recipe_file("a.py")
    assert not names_recipe_file("conv")
    assert absolute_recipe_file("a.py:R") == f"{tmp_path.resolve()}/a.py:R"
