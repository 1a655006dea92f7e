"""The places at which a live view is shown: a cell of a notebook, a terminal, or lines of text.

Nothing of a notebook is imported unless the program runs in one, which is to say that it has loaded
it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any, Protocol

from steerio.model.markup import Markup
from steerio.model.showing import in_one_line

LINES_EVERY_S = 5.0
"""How often a line is written if no line can be drawn over."""
LINE_CHARACTERS = 400


class Screen(Protocol):
    """A place that shows the newest state of something."""

    def show(self, page: Markup, line: str) -> None:
        """Show a state, in place of the last: as HTML, or as one line of text."""
        ...

    def close(self) -> None:
        """Show no more, and leave the last state as it is."""
        ...


class KernelScreen:
    """The output of a cell in a Jupyter kernel: JupyterLab, VS Code, Colab and their kin."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, page: Markup, line: str) -> None:
        """See `Screen`."""
        data = {"text/html": str(page), "text/plain": line}
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        """See `Screen`."""


class MarimoScreen:
    """The output of a cell in marimo, which shows what is written while the cell runs."""

    def __init__(self, marimo: Any) -> None:
        self._marimo = marimo

    def show(self, page: Markup, line: str) -> None:
        """See `Screen`."""
        del line
        self._marimo.output.replace(self._marimo.Html(str(page)))

    def close(self) -> None:
        """See `Screen`."""


class TextScreen:
    """Standard error: one line that is drawn over on a terminal, else a line now and then."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._terminal = is_terminal(out)
        self._said = ""
        self._width = 0
        self._next = time.monotonic() + (0.0 if self._terminal else LINES_EVERY_S)
        self._drawn = False

    def show(self, page: Markup, line: str) -> None:
        """See `Screen`."""
        del page
        self._said = in_one_line(line, LINE_CHARACTERS)
        if self._terminal:
            columns = max(_columns(self._out) - 1, 10)
            self._write(f"\r\x1b[K{self._said[:columns]}")
            self._drawn = True
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINES_EVERY_S
            self._write(f"{self._said}\n")

    def close(self) -> None:
        """See `Screen`."""
        if self._drawn:
            self._write("\n")
        elif self._said and not self._terminal:
            self._write(f"{self._said}\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(Exception):  # a stream may be anything, and raise anything
            self._out.write(text)
            self._out.flush()


def find_screen() -> Screen:
    """Return the screen of this program."""
    return notebook_screen() or TextScreen(sys.stderr)


def notebook_screen() -> Screen | None:
    """Return the screen of the notebook that this code runs in, if it runs in one."""
    marimo: Any = sys.modules.get("marimo")
    with contextlib.suppress(Exception):
        if marimo is not None and marimo.running_in_notebook():
            return MarimoScreen(marimo)
    ipython: Any = sys.modules.get("IPython")
    with contextlib.suppress(Exception):
        shell = None if ipython is None else ipython.get_ipython()
        if getattr(shell, "kernel", None) is not None:  # else it is IPython in a terminal
            from importlib import import_module

            return KernelScreen(import_module("IPython.display").display)
    return None


def is_terminal(out: Any) -> bool:
    """Return whether a stream is a terminal in which lines can be drawn over."""
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    with contextlib.suppress(Exception):
        return bool(out.isatty())
    return False


def _columns(out: Any) -> int:
    with contextlib.suppress(Exception):
        return os.get_terminal_size(out.fileno()).columns
    return 80
