"""Imports point one way: between packages, between a package's rooms, and between modules."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "pyvae": {"pyvae"},
    "r_bridge": {"pyvae", "r_bridge"},
    "comparisons": {"pyvae", "comparisons"},
    "benchmarks": {"pyvae", "r_bridge", "comparisons", "benchmarks"},
}
# From the top: a room imports from those below it alone. Metrics stand above the trace: they
# measure one.
ROOMS = {
    "pyvae": (
        "__main__", "cli", "reproduction", "figures", "runs", "terminal", "training", "metrics",
        ("recording", "weights"), "trace", ("recipes", "engines"), ("model", "parallel"), "data",
        "files", ("environment", "plugins", "checks"), ("errors", "exports", "version"),
    ),
    "comparisons": (
        "cli", "seeds", "report", "saved", "runs", "beyond_steps", ("steps", "ports"), "diagnosis",
        "stages", ("expected", "agreement"),
    ),
    "r_bridge": (
        ("doctor", "from_r"), "engines", "process", "installed",
        ("errors", "rpy2_fit", "torch_in_r"),
    ),
    "benchmarks": (
        ("__main__", "cuda", "diagnosis", "recording"), "suite", "report", "measured", "sides",
        ("plain_loops", "limits"), "given",
    ),
}  # fmt: skip


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def nodes(file: Path) -> list[ast.AST]:
    """The imports and functions of a file."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)]


@cache
def imports(file: Path) -> list[str]:
    """The modules that a file imports, at the top, within functions or for type checking alone; of
    `from package import name` the module `package.name` if there is one."""
    found = []
    for node in nodes(file):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports from a place, not from a name"
            assert node.module
            place = ROOT / Path(*node.module.split("."))
            for alias in node.names:
                inside = (place / f"{alias.name}.py").exists() or (place / alias.name).is_dir()
                found.append(f"{node.module}.{alias.name}" if inside else node.module)
    return found


def packages(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def room_of(module: str) -> str:
    """The folder of a module, or its own name; empty for the package itself."""
    return [*module.split("."), ""][1]


@pytest.mark.slow
@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_package_looks_up(package):
    for file in files(package):
        assert packages(file) & set(MAY_IMPORT) <= MAY_IMPORT[package], file


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_looks_up(package):
    heights = {}
    for height, rooms in enumerate(reversed(ROOMS[package])):
        for room in (rooms,) if isinstance(rooms, str) else rooms:
            heights[room] = height
    assert {room_of(module_of(file)) for file in files(package)} - {""} == heights.keys()
    for file in files(package):
        mine = room_of(module_of(file))
        if not mine:  # the package itself shows what all its rooms have
            continue
        for name in imports(file):
            if name.partition(".")[0] == package and room_of(name) not in ("", mine):
                assert heights[room_of(name)] < heights[mine], f"{file} imports {name}"


@pytest.mark.parametrize("package", ROOMS)
def test_no_module_imports_itself_in_a_circle(package):
    mine = {module_of(file): file for file in files(package)}
    graph = {name: set(imports(file)) & mine.keys() - {name} for name, file in mine.items()}
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError


MOST_MODULES = 12  # of a room, its `__init__` not counted
MOST_PARAMETERS = 10
MOST_LINES = 60  # of a function


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_and_functions_stay_small(package):
    rooms = Counter(file.parent for file in files(package) if file.name != "__init__.py")
    assert max(rooms.values()) <= MOST_MODULES, rooms.most_common(1)
    for file in files(package):
        for node in nodes(file):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            given = node.args
            parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            assert len(parameters) <= MOST_PARAMETERS, f"{file}: {node.name}"
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MOST_LINES, f"{file}: {node.name} has {lines} lines"


def test_rooms_of_tests_stay_small():
    rooms = Counter(file.parent for file in files("tests") if file.name != "__init__.py")
    assert max(rooms.values()) <= MOST_MODULES, rooms.most_common(1)


def test_only_the_r_process_imports_rpy2():
    allowed = {"server.py", "conversion.py"}
    found = {
        file.name for package in MAY_IMPORT for file in files(package) if "rpy2" in packages(file)
    }
    assert found == allowed
