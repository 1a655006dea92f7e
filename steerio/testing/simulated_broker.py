"""The standing broker of a simulated cluster, which may die, and another take its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.broker.ledgers import FolderInMemory
from steerio.broker.store_sweeper import StraightSweeper
from steerio.broker.succession import OnlyBroker
from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.endpoint import LinkEndpoint, RouterEndpoint
from steerio.model.objects import Version
from steerio.model.settings import Settings
from steerio.testing.loop import VirtualLoop
from steerio.testing.record import MemoryRecord


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


class SimulatedBrokers:
    """The brokers of a simulated cluster, of which each takes the place of the one before.

    Args:
        routers: their endpoints.
        counts: the number of workers of each pool.
        settings: bounds and leases.
        record: has the tasks and events of all of them.
        store: from which they remove objects.
        loop: that of the simulation.
    """

    def __init__(
        self,
        routers: Sequence[RouterEndpoint],
        counts: Mapping[str, int],
        settings: Settings,
        record: MemoryRecord,
        store: MemoryStore,
        loop: VirtualLoop,
    ) -> None:
        self.succession = SimulatedSuccession()
        self.ledgers = FolderInMemory()
        """The tasks and results of detached clients."""
        self._routers = routers
        self._counts = counts
        self._settings = settings
        self._record = record
        self._store = store
        self._loop = loop
        self.now = self.new()
        """The broker that is there now, or was there last."""
        self.driver: Driver | None = Driver(self.now)

    def __repr__(self) -> str:
        return f"<SimulatedBrokers: {self.succession.incarnation}, now {self.now!r}>"

    @property
    def is_there(self) -> bool:
        """Whether there is one that was not killed."""
        return self.driver is not None

    def drive(self) -> None:
        """Have the broker do its steps."""
        assert self.driver is not None
        self.driver.start(stand_in=False)

    def kill(self) -> None:
        """End the broker without a word."""
        if self.driver is not None:
            self.driver.halt()
            self.driver = None

    def begin_another(self) -> None:
        """Let another broker begin in the place of the last one, for `drive`."""
        self.succession.incarnation += 1
        self.succession.returns = True
        events = self._record.events
        self._record.last_event = events[-1].number if events else 0
        self.now = self.new()
        self.driver = Driver(self.now)

    def close(self, reason: str) -> None:
        """End the broker in good order."""
        if self.driver is not None:
            self.driver.close(reason)

    def new(self) -> Broker:
        """Return another broker, with the record and ledgers of the last one."""
        return Broker(
            self._routers,
            pools=self._counts,
            closed=True,
            settings=self._settings,
            record=self._record,
            sweeper=StraightSweeper(self._store),
            succession=self.succession,
            ledgers=self.ledgers,
            clock=self._loop.time,
            epoch=0.0,
        )
