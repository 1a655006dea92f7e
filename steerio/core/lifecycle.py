"""The life of a task, as one table.

Every change of a task's state goes through `advance`, so what the table does
not list cannot happen.  The state diagram in the documentation is drawn from it.
"""

from __future__ import annotations

from enum import IntEnum

from steerio.core.records import TaskRecord
from steerio.errors import SteerioError


class State(IntEnum):
    """Where a task is."""

    QUEUED = 0
    """in its pool's backlog"""
    HELD = 1
    """at a worker, behind the task that it works on"""
    RUNNING = 2
    """the task that its worker works on"""
    STOPPING = 3
    """at a worker, asked to stop"""
    ENDED = 4
    """its result is known and will not change"""


class Fact(IntEnum):
    """What can happen to a task."""

    SENT = 0
    """handed to an idle worker"""
    SENT_AHEAD = 1
    """handed to a worker that is still busy"""
    REACHED = 2
    """its worker finished what was before it"""
    RETURNED = 3
    """its worker gave it back unstarted"""
    STOP_ASKED = 4
    """cancelled or out of time while at a worker"""
    RETRIED = 5
    """its attempt ended badly and another is allowed"""
    SETTLED = 6
    """its result is known"""


Q, H, R, S, E = State.QUEUED, State.HELD, State.RUNNING, State.STOPPING, State.ENDED

TRANSITIONS: dict[tuple[State, Fact], State] = {
    (Q, Fact.SENT): R,
    (Q, Fact.SENT_AHEAD): H,
    (Q, Fact.SETTLED): E,
    (H, Fact.REACHED): R,
    (H, Fact.RETURNED): Q,
    (H, Fact.STOP_ASKED): S,
    (H, Fact.RETRIED): Q,
    (H, Fact.SETTLED): E,
    (R, Fact.RETURNED): Q,
    (R, Fact.STOP_ASKED): S,
    (R, Fact.RETRIED): Q,
    (R, Fact.SETTLED): E,
    (S, Fact.REACHED): S,
    (S, Fact.RETRIED): Q,
    (S, Fact.SETTLED): E,
}
"""The whole lifecycle; a task is born ``QUEUED``.

A ``RUNNING`` task can be returned: the broker infers who is running, and the worker
may give a task back in the moment in which it would have begun it.
"""

_NEXT = [[TRANSITIONS.get((state, fact), -1) for fact in Fact] for state in State]


class IllegalTransition(SteerioError):
    """The core tried what the table forbids: a bug in steerio, never the user's fault."""

    def __init__(self, record: TaskRecord, fact: Fact) -> None:
        self.record, self.fact = record, fact
        super().__init__(f"task {record.task_id} is {State(record.state).name}, so no {fact.name}")


def advance(record: TaskRecord, fact: Fact) -> None:
    """Move ``record`` along the table.

    Raises:
        IllegalTransition: the table has no such step.
    """
    state = _NEXT[record.state][fact]
    if state < 0:
        raise IllegalTransition(record, fact)
    record.state = state


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> QUEUED: submitted"]
    lines += [f"    {a.name} --> {b.name}: {f.name}" for (a, f), b in TRANSITIONS.items()]
    return "\n".join([*lines, "    ENDED --> [*]"])
