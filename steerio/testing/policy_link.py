"""The link of a simulated campaign's client, whose loop may be busy.

While it is, nothing is received, and a message arrives when the code that sends it has come that
far on the campaign's own clock.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence

from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.model.messages import FromBroker, ToBroker
from steerio.testing.policy_loop import PolicyLoop


class PolicyLink:
    """A link behind a loop that may be busy.  It loses nothing, so no packets are counted.

    Args:
        link: the link itself.
        policy: the loop.
        loop: the virtual loop on which all runs.
    """

    packets = 0

    def __init__(
        self, link: LinkEndpoint, policy: PolicyLoop, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.immediate = link.immediate
        self._link = link
        self._policy = policy
        self._loop = loop
        self._held: deque[tuple[float, ToBroker, Frames]] = deque()
        """Messages that are not sent yet, each with its time."""
        self._timer: asyncio.TimerHandle | None = None
        self._wake: Callable[[], None] | None = None
        self._waits = False
        """Whether it is in the line of those that wait for the loop."""
        self._context = contextvars.copy_context()

    def __repr__(self) -> str:
        return f"<PolicyLink of {self._link!r}: {len(self._held)} held>"

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Send a message, now or when the code that sends it has come that far."""
        due = self._policy.time()
        if not self._held and due <= self._loop.time():
            self._link.send(message, frames)
            return
        self._held.append((due, message, frames))
        if self._timer is None:
            self._forward_at(due)

    def flush(self) -> None:
        """Hand over the messages that are sent; those that are held follow by themselves."""
        self._link.flush()

    def tick(self) -> None:
        """Take in that a beat has passed."""
        self._link.tick()

    def renew(self) -> None:
        """Begin anew with another broker."""
        self._held.clear()
        self._link.renew()

    def receive(self, limit: int) -> Sequence[tuple[FromBroker, Frames]]:
        """Take the messages that have arrived; none while the loop is busy."""
        return [] if self._deaf() else self._link.receive(limit)

    def ready(self) -> bool:
        """Whether something can be received now."""
        return not self._deaf() and self._link.ready()

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something may have arrived and the loop has time for it."""
        self._wake = wake
        self._link.attach(loop, self._arrived)

    def detach(self) -> None:
        """Call ``wake`` no more."""
        self._wake = None
        self._link.detach()

    def close(self) -> None:
        """Send all that is held, and let go."""
        if self._timer is not None:
            self._timer.cancel()
        while self._held:
            _, message, frames = self._held.popleft()
            self._link.send(message, frames)
        self._link.flush()
        self._link.close()

    def _deaf(self) -> bool:
        """Whether the loop is busy; then it looks again when it has time."""
        if not self._policy.busy:
            return False
        if not self._waits and self._link.ready():
            self._wait()
        return True

    def _arrived(self) -> None:
        if self._policy.free:
            self._take_turn()
        elif not self._waits:
            self._wait()

    def _wait(self) -> None:
        self._waits = True
        self._policy.waits(self._take_turn)

    def _take_turn(self) -> bool:
        self._waits = False
        if self._wake is not None:
            self._wake()
        return False

    def _forward_at(self, due: float) -> None:
        self._timer = self._loop.call_at(due, self._forward, context=self._context)

    def _forward(self) -> None:
        """Send the messages that are due."""
        self._timer, now = None, self._loop.time()
        while self._held and self._held[0][0] <= now:
            _, message, frames = self._held.popleft()
            self._link.send(message, frames)
        self._link.flush()
        if self._held:
            self._forward_at(self._held[0][0])
