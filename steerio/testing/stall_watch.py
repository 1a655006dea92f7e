"""Notices that a simulated cluster still sends beats although nothing else will ever happen.

A loop without timers is deadlocked, but nodes and brokers always have one: for the next beat. So
only timers that are *not* part of this background count.  If none of these is left, no attempt has
a timeout to come, and a time longer than every bound of the broker passes without a task that is
submitted or ends, then nothing is left that could wake a waiting task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.client.client import Client
from steerio.core.lifecycle import State
from steerio.edge.wire.memory import Bell
from steerio.errors import DeadlockError
from steerio.model.events import PoolStalled
from steerio.model.showing import printable
from steerio.node.node import Node
from steerio.testing.agenda import Agenda
from steerio.testing.hosts import Direction
from steerio.testing.loop import VirtualLoop
from steerio.testing.network import SimulatedLink
from steerio.testing.record import MemoryRecord

if TYPE_CHECKING:
    from collections.abc import Callable


class Nuisance:
    """Base of faults that come again and again: a campaign does not wait for these."""


class StallWatch:
    """Fails a loop on which nothing but the background can happen any more.

    Args:
        loop, agenda: hold the calls that are to come.
        broker: its tasks and bounds are watched.
        record: its last event gives the time at which something happened last.
        worker_may_die: returns whether faults to come may kill a worker, and so end its attempt.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        agenda: Agenda,
        broker: Broker,
        record: MemoryRecord,
        worker_may_die: Callable[[], bool],
    ) -> None:
        settings = broker.settings
        self._loop = loop
        self._agenda = agenda
        self._core = broker.core
        self._record = record
        self._worker_may_die = worker_may_die
        self._quiet_s = settings.start_s + settings.join_s + 2 * settings.lease_s
        self._seen: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look at regular times."""
        self._timer = self._loop.call_later(self._quiet_s, self._look)

    def follow(self, broker: Broker) -> None:
        """Watch another broker, which has the place of the last."""
        self._core = broker.core

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.start()
        if self._something_is_due() or self._attempt_may_end():
            self._seen = None
            return
        ended = sum(self._core.ended.values())
        before, self._seen = self._seen, (ended, len(self._core.tasks))
        if before == self._seen:
            events = self._record.events
            at_s = next((e.at for e in reversed(events) if not isinstance(e, PoolStalled)), 0.0)
            pools = self._core.pools.values()
            held = [printable(f"pool {p.name}: paused {p.paused}") for p in pools if p.paused]
            held += [f"tasks: {pool.stalled}" for pool in pools if pool.stalled]
            self._loop.fail(DeadlockError(at_s, self._loop.waiting() + held))

    def _something_is_due(self) -> bool:
        """Whether a call is to come that is not part of the background."""
        return self._loop.awaits_timer(BACKGROUND) or self._agenda.awaits(BACKGROUND)

    def _attempt_may_end(self) -> bool:
        """Whether the broker will stop an attempt, or a fault may."""
        runs = self._core.runs
        if runs and self._worker_may_die():
            return True
        return any(
            record.options.timeout_s is not None or record.state == State.STOPPING
            for record in runs.values()
        )


BACKGROUND = (
    Agenda,
    Bell,
    Broker,
    Client,
    Driver,
    Direction,
    Node,
    Nuisance,
    SimulatedLink,
    StallWatch,
)
"""The classes whose timers do not count as something to wait for.  A message on its way does not
count either, but its effects by the next look do."""
