"""The pulse of a campaign's event loop, beside a broker in another process.

Theory. An embedded broker has a stand-in thread that notices when the loop stands still. A broker
elsewhere cannot: the campaign is only silent. So a thread of the campaign's own watches the pulse
of the loop. It notes the agent that holds the loop, and the loop itself tells the broker of the
stall when it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator

from steerio.edge.system.held_loops import BLOCKED_S, warn_of_holder
from steerio.model.events import LoopStalled

log = logging.getLogger("steerio.campaign")

PULSE_S = 0.05
"""Time between two signs of the loop that it turns."""
LOOK_S = 0.25
"""Time between two looks of the thread."""


class LoopPulse(threading.Thread):
    """Notes the agents that hold the running loop for a second or more.

    Args:
        tell: called on the loop, with each stall that is over.
    """

    def __init__(self, tell: Callable[[LoopStalled], object]) -> None:
        super().__init__(name="steerio-loop-pulse", daemon=True)
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._closing = threading.Event()
        self._held: tuple[float, str, str] | None = None
        """The last pulse before a stall, the agent that holds the loop, and its line."""
        self._pulse = time.monotonic()
        self._timer = self._loop.call_later(PULSE_S, self._beat)

    def run(self) -> None:
        """Look at the pulse, until it is closed."""
        while not self._closing.wait(LOOK_S):
            pulse, held = self._pulse, self._held
            seconds = time.monotonic() - pulse
            if seconds > BLOCKED_S and (held is None or held[0] != pulse):
                self._held = (pulse, *warn_of_holder(self._loop, self._thread, seconds, log))

    def close(self) -> None:
        """End the thread, and wait for it; a stall that was not told is told."""
        self._timer.cancel()
        self._look_back()
        self._closing.set()
        self.join()

    def _beat(self) -> None:
        self._look_back()
        self._pulse = time.monotonic()
        self._timer = self._loop.call_later(PULSE_S, self._beat)

    def _look_back(self) -> None:
        held, self._held = self._held, None
        if held is None or held[0] != self._pulse:
            return
        _, agent, where = held
        self._tell(LoopStalled(0, 0.0, agent, time.monotonic() - held[0], where))


@contextlib.contextmanager
def telling_stalls(tell: Callable[[LoopStalled], object]) -> Generator[None]:
    """Have the stalls of the running loop told, for the length of a context."""
    pulse = LoopPulse(tell)
    pulse.start()
    try:
        yield
    finally:
        pulse.close()
