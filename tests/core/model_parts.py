"""The parts of the model: processes, clients, what they say, and a book on each task."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

from steerio.core.effects import Ending
from steerio.core.records import TaskRecord
from steerio.model.objects import StoredObject
from steerio.model.settings import Settings
from steerio.model.tasks import ReportedAs

SETTINGS = Settings(
    beat_s=1.0,
    lease_s=4.0,
    start_s=3.0,
    join_s=5.0,
    start_failures=2,
    recall_s=0.1,
    ending_s=2.0,
    leave_s=0.5,
    away_s=5.0,
)

RUN_S = {"shipped": 1e-5, "short": 1e-5, "long": 0.3, "train": 0.02, "stray": 0.0}
"""What a task of each type takes, in seconds, unless it is ended at an odd time."""


@dataclass
class Word:
    """What a worker says of one attempt: how it ended, or that it was not begun."""

    run: int
    ended_as: ReportedAs | Literal["not begun", "returned"]
    run_s: float = 0.0
    stored: StoredObject | None = None


@dataclass
class Worker:
    """One worker process; ``inbox`` and ``outbox`` are its link to the broker.

    ``last_words`` were in its outbox as it died, and its node has not told yet that it did.
    """

    name: str
    node: Node
    inbox: deque[int] = field(default_factory=deque)
    held: deque[int] = field(default_factory=deque)
    outbox: list[Word] = field(default_factory=list)
    last_words: list[Word] = field(default_factory=list)
    ready: bool = False
    alive: bool = True
    running: int = 0
    began_last: int = 0
    hangs: bool = False
    doomed: set[int] = field(default_factory=set)
    recalled: set[int] = field(default_factory=set)


@dataclass
class Node:
    """One supervisor; the broker has not had yet the words in ``exits`` and ``answers``.

    These say who ended, and what workers will not begin.
    """

    peer: int
    offers: int = 0
    workers: list[Worker] = field(default_factory=list)
    exits: list[tuple[str, int]] = field(default_factory=list)
    answers: list[Word] = field(default_factory=list)
    beats: bool = True
    member: bool = True


@dataclass
class Client:
    """One client."""

    peer: int
    watched: bool
    detached: bool = False
    beats: bool = True
    member: bool = True


@dataclass
class Book:
    """What really happened to one task."""

    record: TaskRecord
    begun: int = 0
    cancelled: bool = False
    drained: bool = False
    """It was in hand when all that is queued was cancelled."""
    blurred: bool = False
    """A worker that had it was lost with words unsaid, so that no broker could know."""
    endings: list[Ending] = field(default_factory=list)
    retried: Counter[str] = field(default_factory=Counter)

    def check(self, ending: Ending, *, told_of_success: bool, client_left: bool) -> None:
        """Assert that this end is one that the task can have had."""
        record, retries = self.record, self.record.options.retries
        if self.cancelled:
            assert ending.ended_as == "cancelled"
        match ending.ended_as:
            case "succeeded":
                assert told_of_success
            case "cancelled":
                assert self.cancelled or self.drained or client_left
                assert ending.reason
            case "timed_out":
                assert record.options.timeout_s is not None
                assert self.drained or self.retried["timed out"] == retries.timed_out
            case "failed":
                assert self.drained or self.retried["failed"] == retries.failed
                assert ending.error is not None
            case "lost":
                assert ending.reason
            case other:
                raise AssertionError(f"{other!r} is no way to end")
        assert self.retried["lost"] <= retries.lost
        assert self.retried["failed"] <= retries.failed
        assert self.retried["timed out"] <= retries.timed_out
        tries = 1 + retries.lost + retries.failed + retries.timed_out + self.retried["preempted"]
        assert record.attempt <= tries
        assert record.kills <= SETTINGS.kills
        assert self.begun <= tries * record.options.gang or self.blurred
