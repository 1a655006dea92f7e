"""The recording of results, as seen by sessions and the handles of their tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from steerio.edge.record.atom_calls import AtomCalls
from steerio.edge.record.entries import Call
from steerio.model import results as rs
from steerio.model.messages import TaskSettled
from steerio.model.tasks import TaskSpec
from steerio.session.arguments import Given
from steerio.session.memo import Recalled
from steerio.session.task_type import TaskType

ReadFrames = Callable[[], Sequence[Any]]
"""Returns the frames of a value, or raises `ObjectMissing`."""
Reading = Callable[[ReadFrames], rs.Result]
"""Makes a result of the frames of its value."""


class RecordedTask(Protocol):
    """A handle, as seen by the recording of its result."""

    id: int
    type: TaskType[..., Any]
    given: Given
    tags: dict[str, str]
    call: Call | AtomCalls | None
    """Its call, or those of its type, if its result is recorded."""
    replayed: bool
    """Whether its result was recorded before, and no worker ran it now."""
    recalled: str
    """The run that its result was recalled from; empty: it was computed for this call."""


class Recall(NamedTuple):
    """A call that is given a known result: these, and a function that tells its task."""

    call: Call
    found: Recalled
    tell: Callable[[], None]


class Replays(Protocol):
    """A replay, as seen by results that are not a part of it."""

    @property
    def over(self) -> bool:
        """Whether all recorded results were given out that are expected to be asked for."""
        ...

    def call_later(self, then: Callable[[], None]) -> None:
        """Call back once it is over, or the agents get on without its results."""
        ...


class Records(Protocol):
    """A recorder of results."""

    def knows(
        self,
        task: RecordedTask,
        spec: TaskSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        body: bytes,
        *,
        of_atoms: bool,
    ) -> bool:
        """Take in a call; say whether its result is recorded, and was not given out again."""
        ...

    def give(self, task: RecordedTask) -> None:
        """Give a task its recorded result, when it is its turn."""
        ...

    @property
    def replay(self) -> Replays:
        """The results of earlier incarnations."""
        ...

    def record_recalled(self, recalls: Sequence[Recall]) -> None:
        """Record that calls are given known results, and then tell them."""
        ...

    def record_stored(
        self,
        task: RecordedTask,
        message: TaskSettled,
        read: Reading,
        then: Callable[[rs.Result], None],
    ) -> tuple[Reading, Callable[[rs.Result], None]]:
        """Have a result whose value is in the store recorded between its reading and its end."""
        ...
