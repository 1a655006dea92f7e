"""Lines put together to statements: as people type them, and as a pipe has them."""

from __future__ import annotations

import ast
import warnings
from codeop import CommandCompiler
from collections.abc import Iterable, Iterator


class StatementLines:
    """The lines of a statement that has begun.

    A line that can be no part of Python counts as the end of a statement: the campaign's process
    says what is wrong with it.

    Args:
        blank_ends: whether a blank line ends a block, as people type it. In a pipe it does not: a
            block ends with a line that cannot belong to it.
    """

    def __init__(self, *, blank_ends: bool) -> None:
        self._compile = CommandCompiler()
        self._compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._blank_ends = blank_ends
        self._lines: list[str] = []

    def __repr__(self) -> str:
        return f"<StatementLines: {len(self._lines)}>"

    def __bool__(self) -> bool:
        return bool(self._lines)

    def drop(self) -> None:
        """Begin anew."""
        self._lines.clear()

    def add(self, line: str) -> list[str]:
        """Add a line without its end; return the statements that are whole with it."""
        whole: list[str] = []
        if self._lines and not self._blank_ends and self._is_over(line):
            whole += self.rest()
        self._lines.append(line)
        text = "\n".join(self._lines)
        waits = not self._blank_ends and not line.strip() and len(self._lines) > 1
        if not waits and self._state_of(text) is not None:
            whole += self.rest()
        return whole

    def rest(self) -> list[str]:
        """Return the lines that are left, as a statement; nothing, if they are blank."""
        text = "\n".join(self._lines)
        self._lines.clear()
        return [text] if text.strip() else []

    def _is_over(self, line: str) -> bool:
        """Say whether a line begins another statement, as the one so far is whole without it."""
        before = "\n".join(self._lines)
        return (
            self._state_of(before + "\n") is True and self._state_of(f"{before}\n{line}") is False
        )

    def _state_of(self, text: str) -> bool | None:
        """Return whether a text is a statement: ``None`` if more lines may make it one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown where it is run
            try:
                return True if self._compile(text, "<attached>", "single") else None
            except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
                return False


def statements_of(lines: Iterable[str]) -> Iterator[str]:
    """Yield the statements of a pipe, each as soon as it is whole."""
    begun = StatementLines(blank_ends=False)
    for line in lines:
        yield from begun.add(line.rstrip("\r\n"))
    yield from begun.rest()
