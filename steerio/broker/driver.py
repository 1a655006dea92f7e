"""The driver of a broker on an asyncio loop, and from a thread while that loop stands still.

The embedded broker lives on the campaign's own loop, where a result reaches its agent
without crossing a thread or a process.  The price would be that an agent that computes
for three seconds stops the broker for three seconds.  So a *stand-in* thread watches
the loop's pulse: when the loop has not turned for ``STILL_S``, the thread takes the
broker's steps itself, until the loop is back.  Steps exclude each other by the broker's
lock, and a step touches nothing of asyncio, so it does not matter which thread takes it.

While the stand-in works it shortens the interpreter's switch interval, for a busy agent
would otherwise keep the interpreter for 5 ms at a time.  C code that never lets go of
the interpreter stops the stand-in too; no peer is lost for it, because the broker judges silence
only after it has taken in everything that had arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import sys
import threading
import time
from collections.abc import Callable

from steerio.broker.broker import Broker
from steerio.edge.system.held_loops import BLOCKED_S, warn_of_holder
from steerio.edge.wire.memory import MemoryRouter

log = logging.getLogger("steerio.broker")

PULSE_S = 0.02
"""Time between two signs of the loop that it turns."""
STILL_S = 0.06
"""Time without a turn after which the thread stands in for the loop."""
SWITCH_S = 0.0005
"""The interpreter's switch interval while the stand-in works."""
STEPS_IN_TURN = 2
"""Steps in one turn of the loop: the second takes in the messages that clients answer at once."""
POLL_MS = 2
"""How long the stand-in waits for messages before it looks at the loop again."""


class Driver:
    """Calls a broker's steps whenever there is something to do.

    Args:
        broker: the broker to drive.
        on_stop: called (on the loop) with the reason after the broker was asked to end.
        on_stop_heard: called (on the stand-in's thread) if the broker was asked to end while the
            loop stands still, so that ``on_stop`` has to wait.
    """

    def __init__(
        self,
        broker: Broker,
        on_stop: Callable[[str], None] | None = None,
        on_stop_heard: Callable[[], None] | None = None,
    ) -> None:
        self.broker = broker
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0
        self._again = False
        self._stand_in: StandIn | None = None
        self._on_stop = on_stop
        self._on_stop_heard = on_stop_heard
        self._closed = False
        memory = [router for router in broker.routers if isinstance(router, MemoryRouter)]
        self._memory = memory[0] if memory else None
        """The router of clients on this very loop, if there may be any."""

    def start(self, *, stand_in: bool) -> None:
        """Begin to drive; ``stand_in``: also while the loop stands still."""
        for router in self.broker.routers:
            router.attach(self._loop, self._step)
        if stand_in:
            self._stand_in = StandIn(self.broker, self._loop, self._step, self._on_stop_heard)
            self._stand_in.start()
        self._step()

    def close(self, reason: str) -> None:
        """Stop driving and close the broker."""
        if not self._closed:
            self.halt()
            self.broker.close(reason)

    def halt(self) -> None:
        """Stop driving, and leave the broker as it is: so a simulated one dies."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stand_in is not None:
            self._stand_in.close()
        for router in self.broker.routers:
            router.detach()

    def _step(self) -> None:
        self._again = False
        if not self._closed:
            self._look_ahead(self._take_steps())

    def _take_steps(self) -> float | None:
        memory = self._memory
        if memory is None:
            return self.broker.step()
        next_step: float | None = None
        for _ in range(STEPS_IN_TURN):
            memory.hold_bells()
            try:
                next_step = self.broker.step()
            finally:
                memory.answer_bells()
            if not memory.ready():
                break
        return next_step

    def _look_ahead(self, next_step: float | None) -> None:
        """Arrange for another step if there is cause for one."""
        if self._closed:  # by a callback of a client
            return
        if self.broker.more or (self._memory is not None and self._memory.ready()):
            self._step_again()
        if next_step is not None:
            self._arm(next_step)
        if self.broker.closing and self._on_stop is not None:
            on_stop, self._on_stop = self._on_stop, None
            self._loop.call_soon(on_stop, self.broker.closing)

    def _step_again(self) -> None:
        if not self._again:
            self._again = True
            self._loop.call_soon(self._step)

    def _arm(self, when: float) -> None:
        """Step at ``when`` at the latest.  A timer set for earlier is harmless, so keep it."""
        if self._timer is not None:
            if self._armed <= when:
                return
            self._timer.cancel()
        self._armed = when
        self._timer = self._loop.call_at(when, self._time_is_up)

    def _time_is_up(self) -> None:
        """Step; a deadline may not be due yet, for loops call a little early."""
        self._timer = None
        self._step()


class QuickSwitches:
    """The interpreter's interval between threads, short while any stand-in of the process steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._usual = 0.0

    def begin(self) -> None:
        """Make it short, if it is not."""
        with self._lock:
            if not self._count:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual, SWITCH_S))
            self._count += 1

    def end(self) -> None:
        """Set it back, if no other stand-in steps."""
        with self._lock:
            self._count -= 1
            if not self._count:
                sys.setswitchinterval(self._usual)


_quick_switches = QuickSwitches()


class StandIn(threading.Thread):
    """Takes a broker's steps while its loop stands still, and tells the broker of long stalls."""

    def __init__(
        self,
        broker: Broker,
        loop: asyncio.AbstractEventLoop,
        resume: Callable[[], None],
        on_stop_heard: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name="steerio-stand-in", daemon=True)
        self._broker = broker
        self._loop = loop
        self._resume = resume
        self._on_stop_heard = on_stop_heard
        self._thread = threading.get_ident()
        self._pulse = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = threading.Event()
        self._beat()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closing.set()
        if self._timer is not None:
            self._timer.cancel()
        self.join()

    def run(self) -> None:
        """Watch the pulse."""
        while not self._closing.wait(PULSE_S):
            if time.monotonic() - self._pulse > STILL_S:
                self._stand_in()

    def _beat(self) -> None:
        self._pulse = time.monotonic()
        self._timer = self._loop.call_later(PULSE_S, self._beat)

    def _stand_in(self) -> None:
        pulse = self._pulse
        _quick_switches.begin()
        poller = select.poll()
        for router in self._broker.routers:
            descriptor = router.fileno()
            if descriptor is not None:
                poller.register(descriptor, select.POLLIN)
        stalled = None
        try:
            while self._pulse == pulse and not self._closing.is_set():
                for router in self._broker.routers:
                    router.expect()
                self._broker.step()
                if self._broker.closing and self._on_stop_heard is not None:
                    on_stop_heard, self._on_stop_heard = self._on_stop_heard, None
                    on_stop_heard()
                if not self._broker.more:
                    poller.poll(POLL_MS)
                if stalled is None and time.monotonic() - pulse > BLOCKED_S:
                    seconds = time.monotonic() - pulse
                    stalled = warn_of_holder(self._loop, self._thread, seconds, log)
            if stalled is not None:
                agent, where = stalled
                self._broker.loop_stalled(agent, time.monotonic() - pulse, where)
        finally:
            _quick_switches.end()
            with contextlib.suppress(RuntimeError):  # the loop may have been closed
                self._loop.call_soon_threadsafe(self._resume)
