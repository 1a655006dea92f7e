"""Sinks: the objects to which a client deals the news of tasks and moves."""

from __future__ import annotations

from typing import Protocol

from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.moving import MoveProgress
from steerio.model.tasks import ToldState


class Sink(Protocol):
    """The receiver of one task's news."""

    def settled(self, message: ms.TaskSettled, frames: Frames) -> None:
        """Take in how the task ended; the last call."""
        ...

    def item(self, message: ms.TaskItem, frames: Frames) -> None:
        """Take in an item that the task yielded."""
        ...

    def reached(self, state: ToldState) -> None:
        """Take in the state of the task; called if tasks are watched."""
        ...


class MoveSink(Protocol):
    """The receiver of one move's news."""

    def news(self, state: MoveProgress, came: list[str], gone: list[str], reason: str) -> None:
        """Take in how far the move is, and which workers came and went since the last news.

        The last news are ``refused`` or ``ended``, or ``granted`` if no lease was asked for.
        """
        ...

    def begin_again(self) -> None:
        """Take in that another broker is asked for it: none of the workers is there."""
        ...
