"""Types are imported as everything else is: a circle of imports cannot hide in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "steerio"
PUBLIC = PACKAGE / "__init__.py"
"""Loads each name when it is asked for, and shows type checkers all of them."""
OURS = re.compile(r"(from|import) +(\.|steerio\b)")


def imported_for_types(module: ast.Module) -> Iterator[str]:
    """Iterate over what a module imports of steerio if ``TYPE_CHECKING`` is true."""
    for node in ast.walk(module):
        if not isinstance(node, ast.If) or "TYPE_CHECKING" not in ast.unparse(node.test):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom) and OURS.search(ast.unparse(inner)):
                yield ast.unparse(inner)


def test_no_module_imports_another_of_ours_for_types_alone() -> None:
    found = {
        str(path.relative_to(PACKAGE)): list(imported_for_types(ast.parse(path.read_text())))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert found.pop(str(PUBLIC.relative_to(PACKAGE))), "nothing was looked for"
    assert {path: names for path, names in found.items() if names} == {}
