"""A statement of an attached prompt: compiled, run step by step on the event loop, and shown.

Theory.  A statement is a coroutine if it has an ``await``, and other agents run while it waits.  So
its output is caught only during its own steps, from one ``await`` to the next, and only on its own
thread: lines that agents and other threads print meanwhile are left alone.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import linecache
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TextIO

from steerio.model.attached import (
    INTERRUPTED,
    OUTPUT_CHARACTERS,
    RAN,
    VALUE_CHARACTERS,
    StatementEnded,
)
from steerio.model.bounds import cut

HELD_UP_S = 1.0
"""A step that takes longer is told of: the event loop stood still meanwhile."""
OURS = str(Path(__file__).parents[1])


class StatementOutput:
    """The printed text of a statement, passed on after each of its steps and cut to size.

    Args:
        say: takes the text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._left = OUTPUT_CHARACTERS
        self._texts: list[str] = []

    def __repr__(self) -> str:
        return f"<StatementOutput: {self._left} characters left>"

    def write(self, text: str) -> None:
        """Take in a text; beyond the bound it is dropped."""
        if self._left >= 0:
            self._texts.append(text[: self._left])
            if len(text) > self._left:
                self._texts.append(f"\n[the rest is cut, after {OUTPUT_CHARACTERS} characters]\n")
        self._left -= len(text)

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        """Take in all that this thread prints in the context, and pass it on."""
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Stream(self.write, out), _Stream(self.write, err)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err
            texts, self._texts = self._texts, []
            if texts:
                self._say("".join(texts))


class _Stream(io.TextIOBase):
    """A stream that takes the text of one thread; that of others goes to the stream before it."""

    def __init__(self, takes: Callable[[str], None], before: TextIO) -> None:
        self._takes = takes
        self._before = before
        self._thread = threading.get_ident()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if threading.get_ident() != self._thread:
            return self._before.write(text)
        self._takes(text)
        return len(text)

    def flush(self) -> None:
        if threading.get_ident() != self._thread:
            self._before.flush()


class Statement:
    """One statement, or several in lines, of an attached prompt.

    Args:
        text: its source.
        number: counts the statements of the campaign; it names this one in tracebacks.
        names: the namespace that it is run in.
        say: takes printed text, and the value of a last expression.
    """

    def __init__(
        self, text: str, number: int, names: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.text = text
        self.file = f"<attached {number}>"
        self.interrupted = False
        """Whether its prompt, or the campaign's end, has interrupted it."""
        self.abandoned = False
        """Whether it may not go on after it was interrupted, as there is no prompt any more."""
        self.held_up_s = 0.0
        """The time of its longest step, for which the event loop stood still."""
        self._names = names
        self._say = say
        self._output = StatementOutput(say)

    def __repr__(self) -> str:
        return f"<Statement {self.file}>"

    async def run(self) -> StatementEnded:
        """Run it, and return how it ended; raises nothing."""
        lines = self.text.splitlines(keepends=True)
        linecache.cache[self.file] = (len(self.text), None, lines, self.file)
        try:
            for code in self._compiled():
                with self._step():
                    value = eval(code, self._names)
                if code.co_flags & inspect.CO_COROUTINE:
                    value = await self._stepped(value)
                if value is not None:  # a last expression's, for other statements have none
                    self._show(value)
        except BaseException as error:  # noqa: BLE001 - an exit, too, is the statement's alone
            if self.interrupted and isinstance(error, asyncio.CancelledError):
                return StatementEnded(INTERRUPTED)
            shown = cut(self._traceback_of(error), VALUE_CHARACTERS)
            return StatementEnded(type(error).__name__, shown)
        finally:
            linecache.cache.pop(self.file, None)
        return StatementEnded(RAN)

    def _show(self, value: Any) -> None:
        self._names["_"] = value
        with self._step():
            text = repr(value)
        self._say(cut(text, VALUE_CHARACTERS) + "\n")

    def _compiled(self) -> list[types.CodeType]:
        """Compile it; a last expression by itself, for its value is shown.

        Raises:
            SyntaxError, ValueError, RecursionError, MemoryError: it cannot be.
        """
        tree = ast.parse(self.text, self.file)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        parts: list[tuple[ast.Module | ast.Expression, str]] = []
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            parts.append((ast.Expression(last.value), "eval"))
            tree.body.pop()
        if tree.body:
            parts.insert(0, (tree, "exec"))
        return [compile(part, self.file, mode, flags, dont_inherit=True) for part, mode in parts]

    @types.coroutine
    def _stepped(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await a coroutine, and catch the output of each of its steps."""
        given: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                with self._step():
                    awaited = coroutine.throw(thrown) if thrown else coroutine.send(given)
                    if thrown and self.abandoned:
                        coroutine.close()  # it was cancelled, and would go on
                        raise thrown
            except StopIteration as end:
                return end.value
            given = thrown = None
            try:
                given = yield awaited
            except BaseException as error:  # noqa: BLE001 - it is passed on
                thrown = error

    @contextlib.contextmanager
    def _step(self) -> Generator[None]:
        began = time.perf_counter()
        try:
            with self._output.caught():
                yield
        finally:
            self.held_up_s = max(self.held_up_s, time.perf_counter() - began)

    def _traceback_of(self, error: BaseException) -> str:
        """Return the traceback of an exception without our frames."""
        try:
            whole = traceback.TracebackException.from_exception(error)
            _drop_frames(whole, self.file)
            return "".join(whole.format())
        except Exception as other:  # noqa: BLE001 - the user's __str__, say
            return f"{type(error).__name__}, which cannot be shown: {type(other).__name__}\n"


def _drop_frames(shown: traceback.TracebackException, file: str) -> None:
    """Drop our frames of an exception and its causes, and those of it that led to the statement."""
    files = [frame.filename for frame in shown.stack]
    led = files.index(file) if file in files else len(files)
    shown.stack = traceback.StackSummary.from_list(shown.stack[led:])
    pending, seen = [shown], set[int]()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        frames = [frame for frame in each.stack if not frame.filename.startswith(OURS)]
        each.stack = traceback.StackSummary.from_list(frames)
        pending += [link for link in (each.__cause__, each.__context__) if link is not None]
        pending += each.exceptions or []
