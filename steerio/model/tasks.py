"""Task types and task options as values.

A *task type* is a function that workers know; its `TaskSpec` travels once per client to the broker
and once per worker, never with each task.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import LONGEST_S
from steerio.model.places import WorkerNeeds

LARGEST_GANG = 65_536
"""Most workers that run one task together."""
CLIENT_BITS = 40
"""A task id holds the number of its client above this bit and a counter below it."""

FunctionKind = Literal["function", "coroutine", "generator"]
"""The ways to run the function of a task type."""
ReportedAs = Literal["succeeded", "failed", "cancelled"]
"""The ways for an attempt to end, by its worker's word."""
EndedAs = Literal["succeeded", "failed", "cancelled", "timed_out", "lost"]
"""The ways for a task to end."""
ToldState = Literal["queued", "running"]
"""The states of a task that has not ended, by the broker's word."""
TaskState = Literal["pending", "waiting"] | ToldState | EndedAs
"""The states of a task as its submitter sees it; see `Task.state`."""
SignalName = Literal["term", "kill"]
"""The signals that are sent to a worker whose task does not stop."""


def task_id(client: int, counter: int) -> int:
    """Return the id of the ``counter``-th task of client number ``client``."""
    return client << CLIENT_BITS | counter


class Retries(Struct, frozen=True, gc=False, array_like=True):
    """The number of times that a task is tried again, by the kind of its end.

    A lost worker is not the task's fault, so it is retried by default; an
    exception or a timeout would most likely come again, so they are not.
    """

    lost: int = 2
    failed: int = 0
    timed_out: int = 0


class TaskOptions(Struct, frozen=True, gc=False, array_like=True):
    """The options that a submitter may give a task.

    Attributes:
        priority: higher goes first; equal priorities go in order of submission.
        timeout_s: longest run of one attempt, in seconds; ``None`` for no bound.
        retries: how often to try again, by kind of end.
        cancel_grace_s: seconds between the cooperative request to stop, SIGTERM and SIGKILL.
        needs: the least make of a worker that runs it; ``None``: any worker of the pool does.
        gang: the number of workers that run it together.
    """

    priority: float = 0.0
    timeout_s: float | None = None
    retries: Retries = Retries()
    cancel_grace_s: float = 0.2
    needs: WorkerNeeds | None = None
    gang: int = 1

    def __post_init__(self) -> None:
        """Refuse values that are out of bounds."""
        if not math.isfinite(self.priority):
            raise UsageError(f"priority must be a finite number, not {self.priority}")
        if self.timeout_s is not None and not 0 < self.timeout_s <= LONGEST_S:
            raise UsageError(
                f"timeout_s must be above 0 and at most {LONGEST_S:g} seconds, or None, not "
                f"{self.timeout_s}"
            )
        if not 0 <= self.cancel_grace_s <= LONGEST_S:
            raise UsageError(
                "cancel_grace_s must be 0 or more, at most "
                f"{LONGEST_S:g}, not {self.cancel_grace_s}"
            )
        if not 1 <= self.gang <= LARGEST_GANG:
            raise UsageError(f"gang must be 1 or more, at most {LARGEST_GANG:,}, not {self.gang}")


class GangPlace(Struct, frozen=True, gc=False, array_like=True):
    """The place of a worker in a gang, and the address at which the others reach its first."""

    rank: int
    size: int
    address: str


class TaskSpec(Struct, frozen=True, gc=False, array_like=True):
    """A task type as it travels.

    Attributes:
        name: unique name, ``module:qualname``.
        pool: the pool whose workers run it.
        kind: the way in which the function is run.
        code: the function by value (cloudpickle), empty if workers import it by name.
        threshold_bytes: the length above which values go by reference; ``None``: none does; below
            0: the store's threshold counts.
        digest: of the code behind the name, if it can be told apart.
        checked: whether arguments and value have to fit the function's annotations.
    """

    name: str
    pool: str
    kind: FunctionKind = "function"
    code: bytes = b""
    threshold_bytes: int | None = -1
    digest: bytes = b""
    checked: bool = True
