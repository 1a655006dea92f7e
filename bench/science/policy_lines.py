"""The lines of a policy: those with code on them, without docstrings, comments and blank lines."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def policy_lines(folder: Path, names: Iterable[str]) -> int:
    """Count the lines of some definitions, like ``search.py:Search.setup`` or all of ``search.py``.

    Raises:
        LookupError: a module has no such definition.
    """
    counted: set[tuple[str, int]] = set()
    for name in names:
        module, _, inside = name.partition(":")
        source = (folder / module).read_text(encoding="utf-8")
        tree = ast.parse(source, module)
        node = _definition(tree, inside) if inside else tree
        first, last = _span(node, source)
        code = _lines_with_code(source) - set(_lines_of_docstrings(tree))
        counted |= {(module, line) for line in code if first <= line <= last}
    return len(counted)


def _definition(tree: ast.AST, name: str) -> ast.AST:
    node = tree
    for part in name.split("."):
        found = [each for each in ast.iter_child_nodes(node) if _name_of(each) == part]
        if not found:
            raise LookupError(f"nothing is defined as {name!r}: no {part!r}")
        node = found[-1]
    return node


def _name_of(node: ast.AST) -> str | None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return None


def _span(node: ast.AST, source: str) -> tuple[int, int]:
    if isinstance(node, ast.Module):
        return 1, source.count("\n") + 1
    decorators = getattr(node, "decorator_list", [])
    first = min(each.lineno for each in (node, *decorators))  # type: ignore[attr-defined]
    return first, node.end_lineno  # type: ignore[attr-defined]


def _lines_with_code(source: str) -> set[int]:
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return found


def _lines_of_docstrings(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of texts that are statements: docstrings, and those below attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)
            case _:
                pass
