"""The answers to questions on a record: the attempts in a window of time, and the story of a task.

They are frozen values that encode to JSON, as snapshots are, and everything in them has a bound.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from steerio.view.task_views import FailureView


class Span(Struct, frozen=True, array_like=True):
    """One attempt on a worker: an array in JSON. ``row`` and ``task_type`` are indexes."""

    task_id: int
    row: int
    task_type: int
    started: float
    ended: float
    ended_as: str


class SpanWindow(Struct, frozen=True):
    """The attempts in a window of time, as they were: the zoom of a Gantt.

    Attributes:
        begin, end: the window.
        rows: the workers; types: the task types.
        spans: by their end; at most as many as were asked for; ``left_out`` counts the others.
    """

    begin: float
    end: float
    rows: tuple[str, ...]
    types: tuple[str, ...]
    spans: tuple[Span, ...]
    left_out: int


class TaskBrief(Struct, frozen=True):
    """One task in a line, as a cause or a consequence of another."""

    task_id: int
    task_type: str
    cause: str
    ended_as: str
    queued: float
    received: float
    args: str
    value: str


class AttemptView(Struct, frozen=True):
    """One attempt of a task; times are ``None`` if it did not get there."""

    attempt: int
    ended_as: str
    worker: str
    node: str
    sent: float | None
    started: float | None
    ended: float | None
    received: float
    versions: dict[str, int]


class TaskStory(Struct, frozen=True):
    """One task: the results before it, its agent, its attempts, its end, and the tasks after it.

    Attributes:
        state: ``ended``, ``running``, ``queued``, or ``unknown`` if the record has no such task.
        cause: the agent that submitted it.
        before: the results that it handled; ``after``: tasks that are because of this one, at most
            100, and ``more_after`` how many more.
        reaction_s: from the last of ``before`` to its queue; ``None`` without these.
        attempts: all, the last one last.
        value: as JSON text, cut; ``failure`` if it did not end well.
        events: its lines in ``events.jsonl``, as JSON text.
    """

    task_id: int
    state: Literal["ended", "running", "queued", "unknown"]
    task_type: str
    pool: str
    ended_as: str
    cause: str
    tags: dict[str, str]
    priority: float
    args: str
    value: str
    created: float | None
    queued: float | None
    received: float | None
    reaction_s: float | None
    attempts: tuple[AttemptView, ...]
    failure: FailureView | None
    before: tuple[TaskBrief, ...]
    after: tuple[TaskBrief, ...]
    more_after: int
    events: tuple[str, ...]
