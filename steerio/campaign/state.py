"""The state of a campaign as bytes: its attributes, boards, half-filled calls and tasks.

Theory. The state is pickled, all of it at once, so that what is shared stays shared. Objects that
belong to a run are written as their places in the campaign: the campaign itself, its boards, and
task types by the names of their functions. What has no place, such as a handle of a task that is
under way, is refused, by the attribute that has it.
"""

from __future__ import annotations

import importlib
import io
import pickle
import threading
from functools import reduce
from typing import Any

from steerio.campaign.attributes import attributes_of
from steerio.campaign.board import Board
from steerio.edge.encoding.references import Latest, Reference
from steerio.errors import StateError
from steerio.session.task import Task
from steerio.session.task_type import TaskType, as_task_type


class _Here(threading.local):
    campaign: object = None
    boards: list[Board[Any]] | None = None


_here = _Here()


def _the_campaign() -> object:
    return _here.campaign


def _the_board(index: int) -> Board[Any]:
    assert _here.boards is not None
    return _here.boards[index]


def _task_type(module: str, name: str) -> TaskType[..., Any]:
    return as_task_type(_found(module, name))


def _found(module: str, name: str) -> Any:
    return reduce(getattr, name.split("."), importlib.import_module(module))


def _named(kind: TaskType[..., Any]) -> tuple[str, str]:
    function: Any = kind.function
    try:
        module, name = function.__module__, function.__qualname__
        if as_task_type(_found(module, name)).function is function:
            return module, name
    except Exception:  # noqa: BLE001 - it is then refused
        pass
    raise StateError(f"the task type {kind.name} cannot be found by its name")


class _Writer(pickle.Pickler):
    """Pickles state; objects of the run as their places in the campaign."""

    def __init__(self, file: io.BytesIO, campaign: object, boards: dict[int, int]) -> None:
        super().__init__(file, protocol=5)
        self._campaign = campaign
        self._boards = boards

    def reducer_override(self, obj: Any) -> Any:
        """Return the place of an object of the run."""
        if obj is self._campaign:
            return _the_campaign, ()
        kind = type(obj)
        if issubclass(kind, Board):
            index = self._boards.get(id(obj))
            if index is None:
                raise StateError(f"{obj!r} is no board that the campaign hands out from")
            return _the_board, (index,)
        if issubclass(kind, TaskType):
            return _task_type, _named(obj)
        if issubclass(kind, Task):
            raise StateError(f"{obj!r} is a handle, which is of this run alone")
        if issubclass(kind, (Reference, Latest)):
            raise StateError(f"{obj!r} stands for a value in the store, which is of this run alone")
        return NotImplemented


def write_state(value: object, campaign: object, boards: list[Board[Any]]) -> bytes:
    """Return a value as bytes.

    Raises:
        StateError: something in it cannot be.
    """
    file = io.BytesIO()
    writer = _Writer(file, campaign, {id(board): i for i, board in enumerate(boards)})
    try:
        writer.dump(value)
    except StateError:
        raise
    except Exception as error:  # pickling may raise anything
        raise StateError(f"{type(error).__name__}: {error}") from error
    return file.getvalue()


def read_state(data: bytes, campaign: object, boards: list[Board[Any]]) -> Any:
    """Return the value that `write_state` made bytes of.

    Raises:
        StateError: that cannot be done with the code as it is now.
    """
    _here.campaign, _here.boards = campaign, boards
    try:
        return pickle.loads(data)
    except Exception as error:  # unpickling may raise anything
        raise StateError(f"{type(error).__name__}: {error}") from error
    finally:
        _here.campaign = _here.boards = None


def refused_attributes(campaign: object, boards: list[Board[Any]]) -> dict[str, str]:
    """Return the attributes that cannot be a part of a snapshot, each with the reason."""
    refused: dict[str, str] = {}
    for name, value in attributes_of(campaign).items():
        try:
            write_state(value, campaign, boards)
        except StateError as error:
            refused[name] = str(error)
    return refused
