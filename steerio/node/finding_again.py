"""The broker of a node, found again after it was gone, perhaps another in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from steerio.edge.system.threads import in_thread
from steerio.edge.wire.addresses import resolve_address
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.edge.wire.keys import ClientKeys
from steerio.errors import UsageError

LOOK_S = 0.2
"""Time between two looks for a broker."""


class FindsBroker(Protocol):
    """Finds the broker of a node, or another in its place."""

    wants_fresh: bool
    """Whether a node that is to join the one there has to be a fresh process."""

    async def link(self) -> LinkEndpoint | None:
        """Return a link to the broker that is there now; ``None``: none is, or `wants_fresh`."""
        ...


async def look_for(
    find: FindsBroker, until: float, ended: asyncio.Future[str]
) -> LinkEndpoint | None:
    """Look for a broker again and again; return a link to one.

    Args:
        find: looks for it.
        until: when to give up, in seconds on the loop's clock.
        ended: the end of the node, which ends the search.

    Returns ``None`` if there was none in time, or if ``find`` wants a fresh node.
    """
    while not ended.done():
        link = await find.link()
        if link is not None or find.wants_fresh or ended.get_loop().time() > until:
            return link
        await asyncio.sleep(LOOK_S)
    return None


class FoundBroker(NamedTuple):
    """The way to a broker."""

    address: str
    keys: ClientKeys | None
    goes_on: bool
    """Whether a node of the last one can go on with it: it has the same store, say."""


class FindsAgain:
    """Finds the broker of a node again.

    Args:
        look: returns the broker that is there now, or ``None``; called in a thread.
        first: the one that was found first.
        link: the way to it.
        open_link: opens another.
    """

    def __init__(
        self,
        look: Callable[[], FoundBroker | None],
        first: FoundBroker,
        link: LinkEndpoint,
        open_link: Callable[[FoundBroker], LinkEndpoint],
    ) -> None:
        self.wants_fresh = False
        self._look = look
        self._found = first
        self._link = link
        self._open = open_link

    def __repr__(self) -> str:
        return f"<FindsAgain, last at {self._found.address}>"

    async def link(self) -> LinkEndpoint | None:
        """Return a link to the broker that is there now; ``None``: none is, or `wants_fresh`."""
        found = await in_thread(self._resolved)
        if found is None:
            return None
        if found == self._found:
            self._link.renew()
            return self._link
        if not found.goes_on:
            self.wants_fresh = True
            return None
        self._link.close()
        try:
            self._link = self._open(found)
        except (UsageError, OSError):  # it has just ended
            return None
        self._found = found
        return self._link

    async def is_another(self) -> bool:
        """Say whether another broker has the place of the one that was found last."""
        return await in_thread(self._resolved) not in (None, self._found)

    def _resolved(self) -> FoundBroker | None:
        try:
            found = self._look()
            return found and found._replace(address=resolve_address(found.address))
        except (UsageError, OSError):  # a file system that does not answer says nothing
            return None
