"""The messages of clients about pools and nodes: moves of workers, pauses, drained nodes."""

from __future__ import annotations

from msgspec import Struct

from steerio.model.moving import How


class AskMove(Struct, frozen=True, gc=False, array_like=True, tag=15):
    """Move ``count`` workers from pool to pool, for good or (``lease``) until `EndMove`.

    ``request`` is the client's own number for it.  ``how`` is ``drain`` (wait for running tasks) or
    ``preempt`` (stop them and queue them again); drain becomes preempt after ``preempt_after_s``;
    ``together``: none moves before all can.
    """

    request: int
    source: str
    target: str
    count: int
    lease: bool
    together: bool
    how: How
    preempt_after_s: float | None


class EndMove(Struct, frozen=True, gc=False, array_like=True, tag=16):
    """Undo a move that is not granted yet, or give leased workers back."""

    request: int
    how: How


class AwaitMove(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """A caller of mine waits until this move has ``count`` workers, and ``holds`` these leases.

    ``cause`` names the caller if it is an agent.
    """

    request: int
    count: int
    holds: list[int]
    cause: str


class AskPause(Struct, frozen=True, gc=False, array_like=True, tag=26):
    """Hand out no queued task of a pool until it is resumed; tell me when that has taken effect.

    If I ask ``again`` only tell me: by now another may have resumed a pool that was paused for me.
    """

    request: int
    pool: str
    reason: str = ""
    again: bool = False


class AskResume(Struct, frozen=True, gc=False, array_like=True, tag=27):
    """Hand out the queued tasks of a paused pool again."""

    request: int
    pool: str
    reason: str = ""


class AskDrain(Struct, frozen=True, gc=False, array_like=True, tag=18):
    """Give a node no more tasks; with ``retire`` it ends when its workers have left.

    Tasks that still run there after ``within_s`` are stopped and queued again.  ``request`` is the
    client's own number for it; `NodeNews` answers.
    """

    request: int
    node: str
    within_s: float | None = None
    retire: bool = False


class AskUndrain(Struct, frozen=True, gc=False, array_like=True, tag=19):
    """Let a node take tasks again; `NodeNews` answers."""

    request: int
    node: str


class WatchPools(Struct, frozen=True, gc=False, array_like=True, tag=9):
    """Send me a `PoolStatus` now, and from now on as I want them.

    Every client gets one whenever the size of a pool changes, else now and then; with ``idle``
    also whenever the number of idle workers may have changed.
    """

    idle: bool
