"""The output of tasks: whole lines, each with its time, worker and task.

Many workers share a log or a terminal.  So a line is written when it is whole, at one go, and a
task that ends in the midst of one ends the line. Output of C code, or of programs that a task
starts, goes there as it is.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

HELD_CHARACTERS = 65_536
"""Longest line that is written whole; longer ones go in pieces."""


class Output:
    """The output of this worker, with labels that name it and its task.

    Args:
        worker: its name.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.task_id: int | None = None
        self.unfinished = False
        """Whether a line may have been begun."""

    def label(self) -> str:
        """Return the beginning of a line that is printed now."""
        now = time.time()
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        task = "" if self.task_id is None else f" task {self.task_id}"
        return f"{clock}.{int(now % 1 * 1000):03} {self.worker}{task} | "

    def take_over(self) -> None:
        """Have this process print this way, also by loggers that it has already."""
        before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        for number, name in enumerate(("stdout", "stderr"), 1):
            stream = self.open(number)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        for handler in _handlers():
            for name, stream in before.items():
                if stream is not None and getattr(handler, "stream", None) is stream:
                    setattr(handler, "stream", getattr(sys, name))  # noqa: B010 - any kind may have one

    def open(self, number: int) -> io.TextIOWrapper:
        """Return a stream over a descriptor."""
        if not number:
            return io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
        return Lines(number, self)

    def end_begun(self) -> bool:
        """End lines that may have been begun; return whether there may have been any."""
        begun = self.unfinished
        if begun:
            self.end_lines()
        return begun

    def end_lines(self) -> None:
        """End the lines that a task has begun to print."""
        self.unfinished = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Lines):
                stream.end_line()


class Lines(io.TextIOWrapper):
    """A stream that writes whole lines."""

    def __init__(self, number: int, output: Output) -> None:
        raw = io.FileIO(number, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), "utf-8", "backslashreplace", newline="\n", line_buffering=True
        )
        self._output = output
        self._held = ""
        self._whose = threading.RLock()
        self._in_worker = True
        _streams.add(self)

    def write(self, text: str, /) -> int:
        """Take in text, and write the lines that it completes."""
        with self._whose:
            whole, newline, rest = (self._held + text).rpartition("\n")
            self._held = _last_written(rest)
            if rest:
                self._output.unfinished = True
            if newline:
                self._print(whole)
            if len(self._held) > HELD_CHARACTERS:
                self.end_line()
        return len(text)

    def flush(self) -> None:
        """Write out whole lines; a process that a task has forked writes all."""
        if not getattr(self, "_in_worker", True):
            self.end_line()
        super().flush()

    def end_line(self) -> None:
        """Write the unfinished line, if there is one, and end it."""
        if self._held:
            with self._whose:
                held, self._held = self._held, ""
                self._print(held)

    def begin_in_child(self) -> None:
        """In a fork, forget the line that the worker has begun to print."""
        self._whose = threading.RLock()
        self._held = ""
        self._in_worker = False

    def _print(self, lines: str) -> None:
        label = self._output.label()
        super().write("".join(f"{label}{_last_written(line)}\n" for line in lines.split("\n")))


def _last_written(line: str) -> str:
    """Return a line as a terminal would show it if it was written over, as progress bars do."""
    if "\r" not in line:
        return line
    shown = line.rstrip("\r")
    return shown.rpartition("\r")[2] + line[len(shown) :][:1].replace("\r", "")


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.root.handlers
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


_streams: weakref.WeakSet[Any] = weakref.WeakSet()


def _begin_in_child() -> None:
    for stream in list(_streams):
        stream.begin_in_child()


os.register_at_fork(after_in_child=_begin_in_child)
