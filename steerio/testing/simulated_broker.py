"""The standing broker of a simulated cluster, which may die, and another take its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from steerio.broker.succession import OnlyBroker
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.model.objects import Version


class SimulatedSuccession(OnlyBroker):
    """The place of each broker of one cluster; the last one's versions and pauses are in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.incarnation = 1

    def keep(self, newest: Mapping[str, Version], paused: Mapping[str, str]) -> None:
        """Keep the newest versions and the pauses of pools for the next broker."""
        self.versions: Mapping[str, Version] = dict(newest)
        self.paused: Mapping[str, str] = dict(paused)


class SimulatedFinder:
    """Finds the broker of a simulated cluster again."""

    def __init__(self, is_there: Callable[[], bool], link: LinkEndpoint) -> None:
        self._is_there = is_there
        self._link = link

    async def find(self) -> LinkEndpoint | None:
        """Return the client's link, renewed, if a broker is there."""
        if not self._is_there():
            return None
        self._link.renew()
        return self._link

    async def is_another(self) -> bool:
        """Say no: another one says itself that it does not know the client."""
        return False
