"""The broker of a run directory, found again after it was gone, perhaps another in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from steerio.edge.system.threads import in_thread
from steerio.edge.wire.addresses import resolve_address
from steerio.edge.wire.connection import Connection
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.edge.wire.links import open_link
from steerio.errors import UsageError
from steerio.launch.finding import find_broker, waits_for


class BrokerFinder:
    """Finds the broker of a run directory for one client, as often as that needs it.

    Args:
        run_dir: of the broker; or a connection file.
        identity: the client's name on the wire.
        opened: closes the links.

    Raises:
        UsageError: no broker runs there, or it cannot be reached from this machine.
    """

    def __init__(self, run_dir: Path | str, identity: str, opened: contextlib.ExitStack) -> None:
        self.connection = find_broker(run_dir)
        """To the broker that was found last."""
        self.on_another: Callable[[Connection], None] = lambda _: None
        """Called with the connection to another broker than before, once it was found."""
        self._run_dir = run_dir
        self._identity = identity
        self._opened = opened
        self._link: LinkEndpoint | None = None

    def __repr__(self) -> str:
        return f"<BrokerFinder in {self._run_dir}>"

    async def open(self) -> LinkEndpoint:
        """Return a link to the broker that was found.

        Raises:
            UsageError: it cannot be reached from this machine.
        """
        address, keys = self.connection.address
        address = await in_thread(resolve_address, address)
        link = open_link(address, self._identity, keys, "client", self._opened)
        self._link = link
        return link

    async def find(self) -> LinkEndpoint | None:
        """Return a fresh link to the broker that is there now; ``None``: none is yet.

        Raises:
            UsageError: the last one there was stopped, so no other takes its place.
        """
        connection = await in_thread(self._look)
        if connection is None:
            if await in_thread(waits_for, self._run_dir, 1.0) == 0:
                raise UsageError(f"the broker in {self._run_dir} was stopped")
            return None
        if connection == self.connection and self._link is not None:
            self._link.renew()
            return self._link
        if self._link is not None:
            self._link.close()
        self.connection, self._link = connection, None
        try:
            link = await self.open()
        except UsageError:  # it has just ended, or its address cannot be resolved for now
            return None
        self.on_another(connection)
        return link

    async def is_another(self) -> bool:
        """Say whether another broker has the place of the one that was found last."""
        connection = await in_thread(self._look)
        return connection is not None and connection != self.connection

    def _look(self) -> Connection | None:
        try:
            return find_broker(self._run_dir)
        except UsageError:
            return None
