"""Recovered results: a journal has them, and no call of the resumed campaign asked for them."""

from __future__ import annotations

import importlib
from functools import reduce
from typing import Any

from steerio.edge.encoding.values import ANY_VALUE
from steerio.edge.record.entries import ResultEntry
from steerio.model.results import Result
from steerio.session.reading_results import make_result
from steerio.session.replay import Read, RecordedResult, read_here
from steerio.session.task_type import TaskType, as_task_type


class _Call:
    """A call of an earlier incarnation, as far as it is known."""

    timeout_s = 0.0
    yielded = None
    cause = ""
    recalled = ""

    def __init__(self, entry: ResultEntry) -> None:
        self.id = entry.settled.task_id
        kind = task_type_of(entry.task_type)
        self.type: Any = UnknownType(entry.task_type) if kind is None else kind
        self.given: Any = (), {}
        self.created = entry.settled.queued
        self.tags = entry.tags
        if entry.call and kind is not None:
            self.given = kind.codec.unpack(entry.call, ())


class UnknownType:
    """A task type that is not found by its name any more."""

    memo = False
    kind = "function"

    class codec:  # noqa: D106, N801 - as of a task type
        result = ANY_VALUE

    def __init__(self, name: str) -> None:
        self.name = name


def as_result(recorded: RecordedResult, read: Read = read_here) -> Result:
    """Return a recorded result as agents know results.

    Its arguments are missing if they were long, or the function is not found any more.
    """
    entry, frames = read(recorded)
    return make_result(_Call(entry), entry.settled, lambda: tuple(map(bytearray, frames)))


def task_type_of(name: str) -> TaskType[..., Any] | None:
    """Return the task type of a name, if it is found by that."""
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        return as_task_type(reduce(getattr, path.split("."), found))
    except Exception:  # noqa: BLE001 - the module is the user's, and may be another by now
        return None
