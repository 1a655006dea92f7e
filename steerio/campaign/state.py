"""The state of a campaign as bytes: its attributes, boards, half-filled calls and tasks.

Theory. The state is pickled, all of it at once, so that shared parts stay shared. Objects that
belong to a run are written as their places in the campaign: the campaign itself, its boards, the
values in the store, and task types by the names of their functions. An object without a
place, such as a handle of a task that is under way, is refused, by the attribute that has it.
"""

from __future__ import annotations

import importlib
import io
import pickle
import threading
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from msgspec import Struct

from steerio.campaign.attributes import attributes_of
from steerio.campaign.board import Board
from steerio.campaign.item_flows import StreamedItem
from steerio.errors import StateError
from steerio.model.results import Result
from steerio.session.reference import Latest, Reference
from steerio.session.session import Session
from steerio.session.task import EndedCall, Task, ended_task
from steerio.session.task_type import TaskType, as_task_type
from steerio.session.versions import Versions


class Places(Struct):
    """The objects of a run that state refers to by their places.

    Attributes:
        campaign: the campaign.
        boards: its boards, in order.
        references: those to values in the store, by the names of the objects.
        session: its session.
    """

    campaign: object = None
    boards: Sequence[Board[Any]] = ()
    references: Mapping[bytes, Reference] = {}
    session: Session | None = None


class _Reading(threading.local):
    places = Places()


_reading = _Reading()


def _the_campaign() -> object:
    return _reading.places.campaign


def _the_board(index: int) -> Board[Any]:
    return _reading.places.boards[index]


def _the_reference(name: bytes) -> Reference:
    return _reading.places.references[name]


def _the_versions(name: str, seen: int) -> Versions:
    session = _reading.places.session
    assert session is not None
    versions = session.versions(name)
    versions.seen = seen
    return versions


def _the_item(
    value: object,
    kind: TaskType[..., Any],
    call: EndedCall,
    result: Result,
    index: int,
    attempt: int,
) -> StreamedItem:
    session = _reading.places.session
    assert session is not None
    return StreamedItem(value, ended_task(session, kind, call, result), index, attempt)


def _written(item: StreamedItem) -> tuple[Any, ...]:
    """Return an item with the call and the result of its task, which has ended."""
    task = item.task
    result = task.peek()
    if result is None:
        raise StateError(f"{task!r} still yields, and an item of it is of this run alone")
    call = task.args, task.kwargs, task.tags, task.chain
    return item.value, task.type, call, result, item.index, item.attempt


def _task_type(module: str, name: str, pool: str = "") -> TaskType[..., Any]:
    found = as_task_type(_found(module, name))
    return found.in_pool(pool) if pool else found


def _found(module: str, name: str) -> Any:
    return reduce(getattr, name.split("."), importlib.import_module(module))


def _named(kind: TaskType[..., Any]) -> tuple[str, ...]:
    function: Any = kind.function
    try:
        module, name = function.__module__, function.__qualname__
        found = as_task_type(_found(module, name))
        if found.function is function:
            return (module, name) if found.pool == kind.pool else (module, name, kind.pool)
    except Exception:  # noqa: BLE001 - it is then refused
        pass
    raise StateError(f"the task type {kind.name} cannot be found by its name")


class StateWriter:
    """Writes values as bytes, and notes the stored objects that they refer to.

    Args:
        campaign: whose values they are.
        boards: its boards, in order.
    """

    def __init__(self, campaign: object, boards: Sequence[Board[Any]]) -> None:
        self.campaign = campaign
        self.boards = {id(board): index for index, board in enumerate(boards)}
        self.references: dict[bytes, Reference] = {}
        """Those in the values, by the names of their objects, which stay in the store meanwhile."""

    def write(self, value: object, file: io.BytesIO | None = None) -> bytes:
        """Return a value as bytes.

        Raises:
            StateError: something in it cannot be.
        """
        file = io.BytesIO() if file is None else file
        try:
            _Pickler(file, self).dump(value)
        except StateError:
            raise
        except Exception as error:  # pickling may raise anything
            raise StateError(f"{type(error).__name__}: {error}") from error
        return file.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles state; objects of the run as their places."""

    def __init__(self, file: io.BytesIO, writer: StateWriter) -> None:
        super().__init__(file, protocol=5)
        self._writer = writer

    def reducer_override(self, obj: Any) -> Any:
        """Return the place of an object of the run."""
        writer: StateWriter = self._writer
        kind = type(obj)  # pyright: ignore[reportUnknownVariableType] - of any
        if obj is writer.campaign:
            return _the_campaign, ()
        if issubclass(kind, Board):
            if id(obj) not in writer.boards:
                raise StateError(f"{obj!r} is no board that the campaign hands out from")
            return _the_board, (writer.boards[id(obj)],)
        if issubclass(kind, TaskType):
            return _task_type, _named(obj)
        if issubclass(kind, Reference):
            writer.references[obj.stored.name] = obj
            return _the_reference, (obj.stored.name,)
        if issubclass(kind, Latest):
            return Latest, (obj.name,)
        if issubclass(kind, Versions):
            return _the_versions, (obj.name, obj.seen)
        if issubclass(kind, StreamedItem):
            return _the_item, _written(obj)
        if issubclass(kind, Task):
            raise StateError(f"{obj!r} is a handle, which is of this run alone")
        return NotImplemented


def read_state(data: bytes, places: Places) -> Any:
    """Return the value that a `StateWriter` made bytes of.

    Raises:
        StateError: that cannot be done with the code as it is now.
    """
    _reading.places = places
    try:
        return pickle.loads(data)
    except Exception as error:  # unpickling may raise anything
        raise StateError(f"{type(error).__name__}: {error}") from error
    finally:
        _reading.places = Places()


class _Nowhere(io.BytesIO):
    """Takes any number of bytes, and keeps none."""

    def write(self, data: Any, /) -> int:
        """Drop some bytes."""
        return memoryview(data).nbytes


def refused_attributes(campaign: object, boards: Sequence[Board[Any]]) -> dict[str, str]:
    """Return the attributes that cannot be a part of a snapshot, each with the reason."""
    refused: dict[str, str] = {}
    for name, value in attributes_of(campaign).items():
        try:
            StateWriter(campaign, boards).write(value, _Nowhere())
        except StateError as error:
            refused[name] = str(error)
    return refused
