"""The entries of a ledger, as they are in its file: in msgpack, each of a kind."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

from steerio.model import messages as ms
from steerio.model.tasks import TaskSpec

Change = ms.CancelTasks | ms.Reprioritise | ms.ReassignTasks


class LedgerKind(IntEnum):
    """The kinds of entries."""

    BEGAN = 1
    TYPE = 2
    TASK = 3
    CHANGE = 4
    ENDED = 5
    FORGOTTEN = 6


class BeganEntry(Struct, array_like=True, gc=False):
    """A session of the name began, the ``sessions``-th; ``last_task`` is that of earlier ones."""

    protocol: int
    client_number: int
    sessions: int
    last_task: int


class NamedType(Struct, array_like=True, gc=False):
    """A type of tasks, by its number in the ledger."""

    number: int
    spec: TaskSpec


class GivenTask(Struct, array_like=True, gc=False):
    """A task as it was submitted; ``kind`` is the number of its type in the ledger."""

    kind: int
    message: ms.SubmitTask
    frames: list[Any]


class EndEntry(Struct, array_like=True, gc=False):
    """The end of a task, in the place of one that it had."""

    settled: ms.TaskSettled
    frames: list[Any]


encode = msgspec.msgpack.Encoder().encode
_decoders: dict[Any, Any] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (BeganEntry, NamedType, GivenTask, Change, EndEntry, ms.ForgetTasks)
}


def decode(kind: Any, body: bytes) -> Any:
    """Return an entry of a kind.

    Raises:
        ValueError: it is of another form.
    """
    return _decoders[kind].decode(body)
