"""Leaves Cosmic Ray the mutants that mutmut does not make: of what stands outside of functions, and
of decorated ones such as properties.

    python tests/mutants/outside.py SESSION
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec

# A | of types or of dicts that becomes another operator fails as soon as it is imported.
FAILS_AT_ONCE = "core/ReplaceBinaryOperator_BitOr_"


@cache
def seen_by_mutmut(path: Path) -> tuple[range, ...]:
    """The lines of functions and methods without a decorator."""
    tree = ast.parse(path.read_text())
    bodies = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    functions = (node for body in bodies for node in body.body if isinstance(node, ast.FunctionDef))
    return tuple(
        range(node.lineno, node.end_lineno + 1) for node in functions if not node.decorator_list
    )


def is_outside(mutation: MutationSpec) -> bool:
    if mutation.operator_name.startswith(FAILS_AT_ONCE):
        return False
    line = mutation.start_pos[0]
    return not any(line in lines for lines in seen_by_mutmut(mutation.module_path))


def keep(work: WorkDB) -> None:
    """Takes all other mutants out of a session."""
    kept = [item for item in work.work_items if all(map(is_outside, item.mutations))]
    work.clear()
    work.add_work_items(kept)


if __name__ == "__main__":
    with use_db(sys.argv[1]) as session:
        keep(session)
