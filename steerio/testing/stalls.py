"""Notices that a simulated cluster goes on beating although nothing will ever happen again.

A loop without timers is deadlocked, but nodes and brokers always have one: the next beat.
So what counts is whether any timer is left that is *not* part of this background.  Where
there is none, no attempt may yet be timed out, and a while longer than every bound of the
broker passes without a task coming or going, nobody is left who could wake anybody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.client.client import Client
from steerio.core.lifecycle import State
from steerio.edge.wire.endpoint import Bell
from steerio.errors import DeadlockError
from steerio.model.events import PoolStalled
from steerio.node.node import Node
from steerio.testing.agenda import Agenda
from steerio.testing.loop import VirtualLoop
from steerio.testing.network import Line
from steerio.testing.record import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable


class Nuisance:
    """Base of faults that come again and again: they are not what a campaign waits for."""


class StallWatch:
    """Fails a loop on which nothing can happen any more.

    Args:
        loop, agenda: where to look for what is to happen.
        broker: whose tasks and bounds to go by.
        record: where the last event says when something happened last.
        worker_may_die: whether faults to come may free a task from its worker.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        agenda: Agenda,
        broker: Broker,
        record: MemoryJournal,
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
        """Begin to look, now and then."""
        self._timer = self._loop.call_later(self._quiet_s, self._look)

    def close(self) -> None:
        """Look no more."""
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
            stalled = [f"tasks: {pool.stalled}" for pool in pools if pool.stalled]
            self._loop.fail(DeadlockError(at_s, self._loop.waiting() + stalled))

    def _something_is_due(self) -> bool:
        """Whether a timer is set, or an attempt under way, that is not part of the background."""
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


BACKGROUND = (Agenda, Bell, Broker, Client, Driver, Line, Node, Nuisance, StallWatch)
"""Whose timers do not count as something to wait for.  Of messages on their way, what counts
is what they bring about by the next look."""
