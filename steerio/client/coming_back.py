"""Coming back: a client finds its standing broker again, or the one that has taken its place.

Theory. A broker that ends in good order says so, and its clients end.  If it only is gone, a client
looks for a broker in the same run directory, for up to ``Settings.away_s``: meanwhile nothing that
it says is sent, and all its waits go on.  Once it is let in, under its old number, it says again
all that the broker has to know: its tasks that have not ended, the objects that it holds, its
subscriptions and requests.  A result that comes twice ends its task once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol

from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.errors import BrokerLost, JoinRefused, UsageError

log = logging.getLogger("steerio.client")

P = ParamSpec("P")
FIRST_S, LONGEST_S = 0.1, 1.0
"""Seconds between two looks for a broker: the first time, and at most."""
ANSWER_S = 5.0
"""Longest wait for a broker that was found to let this client in."""


class Finder(Protocol):
    """Finds the broker of a run directory."""

    async def find(self) -> LinkEndpoint | None:
        """Return a fresh link to the broker that is there now; ``None``: none is.

        Raises:
            UsageError: it can never be reached from here.
        """
        ...

    async def is_another(self) -> bool:
        """Say whether another broker has the place of the one that was found last."""
        ...


class ComingBack:
    """Brings one client back to its broker, whenever that is gone.

    Args:
        finder: finds the broker.
        join: joins over a link; it raises `JoinRefused`, or `BrokerLost` if no answer comes.
        give_up: is called with the reason if no broker is there in time.
    """

    def __init__(
        self,
        finder: Finder,
        join: Callable[[LinkEndpoint, float], Awaitable[None]],
        give_up: Callable[[str], None],
    ) -> None:
        self._finder = finder
        self._join = join
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<ComingBack: {'under way' if self._task else 'not needed'}>"

    @property
    def left_s(self) -> float:
        """How many seconds the broker is waited for at most, from now on."""
        return max(0.0, self._until - self._loop.time())

    def begin(self, reason: str, within_s: float) -> None:
        """Look for a broker, as the last one is gone."""
        log.warning("the broker is gone (%s); waiting up to %.0f s for it", reason, within_s)
        self._until = self._loop.time() + within_s
        self._start(self._come_back, reason, within_s)

    def look_around(self, gone: Callable[[str], None]) -> None:
        """See whether a silent broker has been replaced by another, and call ``gone`` if so."""
        if self._task is None:
            self._start(self._look, gone)

    def cancel(self) -> None:
        """End the search, in the next turns of the loop."""
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until no search is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _start(self, search: Callable[P, Awaitable[None]], *args: P.args, **_: P.kwargs) -> None:
        if self._task is not None:
            self._task.cancel()
        search_it = functools.partial(search, *args)
        self._task = self._loop.create_task(self._run(search_it), name="steerio coming back")

    async def _run(self, search: Callable[[], Awaitable[None]]) -> None:
        try:
            await search()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _look(self, gone: Callable[[str], None]) -> None:
        if await self._finder.is_another():
            self._task = None
            gone("another broker has its place")

    async def _come_back(self, reason: str, within_s: float) -> None:
        try:
            await self._search(reason, within_s)
        except Exception as error:
            self._give_up(f"{reason}; and now: {error!r}")  # else nothing would end the waits
            raise

    async def _search(self, reason: str, within_s: float) -> None:
        wait_s = FIRST_S
        while True:
            try:
                link = await self._finder.find()
                if link is not None:
                    await self._join(link, min(ANSWER_S, max(self.left_s, FIRST_S)))
                    log.warning("the broker is back, and goes on with this client")
                    return
            except BrokerLost as error:
                log.debug("the broker is not back yet: %s", error)
            except JoinRefused as error:
                if not error.again:
                    self._give_up(f"{reason}; and now: {error}")
                    return
            except UsageError as error:
                self._give_up(f"{reason}; and now: {error}")
                return
            if self.left_s <= 0:
                self._give_up(f"{reason}; no other has begun in its place within {within_s:g} s")
                return
            await asyncio.sleep(min(wait_s, self.left_s))
            wait_s = min(2 * wait_s, LONGEST_S)
