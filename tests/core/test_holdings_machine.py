"""Whatever happens: an object is never gone while it is needed, and never kept when it is not.

All that happens to the dispatch happens here too, to tasks with objects in the store.
"""

from __future__ import annotations

from math import nextafter

from hypothesis import strategies as st

from steerio.core.deadlines import Due
from steerio.core.orphans import ENDING_S
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import TaskOptions
from tests.core.model_cluster import Cluster
from tests.core.model_parts import SETTINGS, Client
from tests.core.model_store import NAMES, StoringCluster
from tests.core.test_dispatch_machine import (
    MOST_TASKS,
    DispatchMachine,
    few,
    happens,
    one,
    options,
    picks,
)

names = st.sampled_from(NAMES)


def has_clients(machine: DispatchMachine) -> bool:
    """Whether there is somebody to do something."""
    return bool(machine.cluster.clients)


class HoldingsMachine(DispatchMachine):
    """Drives the core with all that can happen to tasks, objects and versions."""

    cluster: StoringCluster
    keeps_workers = False
    detaches = False

    def around(self, closed: bool) -> Cluster:
        """Make the core and what is around it, with a store."""
        return StoringCluster(closed)

    def client(self, which: int) -> Client:
        """Pick a client."""
        return one(self.cluster.clients, which)

    def named(self, client: Client, which: int) -> StoredObject:
        """Pick something that a client has, or have it put something new."""
        there = self.cluster.named_by(client)
        return one(there, which) if there and which % 4 else self.cluster.client_puts(client)

    @happens(has_clients, which=picks, what=picks, tells=st.sampled_from([True, True, False]))
    def puts(self, which: int, what: int, tells: bool) -> None:
        client = self.client(which)
        stored = self.named(client, what)
        if tells:
            self.cluster.holds(client, stored)

    @happens(
        lambda self: has_clients(self) and self.cluster.objects,
        which=picks,
        what=st.lists(st.integers(0, 60), min_size=1, max_size=4),
        its_own=st.sampled_from([True, True, True, False]),
    )
    def lets_go(self, which: int, what: list[int], its_own: bool) -> None:
        client = self.client(which)
        there = self.cluster.named_by(client) if its_own else self.cluster.objects
        for place in what if there else ():
            self.cluster.lets_go(client, one(there, place).name)

    @happens(has_clients, which=picks, what=picks, name=names)
    def publishes(self, which: int, what: int, name: str) -> None:
        client = self.client(which)
        self.cluster.publishes(client, name, self.named(client, what))

    @happens(has_clients, which=picks, name=names, after=st.integers(0, 3))
    def asks_for_a_version(self, which: int, name: str, after: int) -> None:
        self.cluster.asks(self.client(which), name, after)

    @happens(
        lambda self: has_clients(self) and len(self.cluster.tasks) < MOST_TASKS,
        which=picks,
        kind=st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
        count=st.integers(1, 6),
        what=st.lists(picks, max_size=3),
        frames=st.booleans(),
        latest=st.sampled_from([(), (), ("model",), ("mesh", "model")]),
        options=options,
    )
    def submits_with_inputs(
        self,
        which: int,
        kind: int,
        count: int,
        what: list[int],
        frames: bool,
        latest: tuple[str, ...],
        options: TaskOptions,
    ) -> None:
        client = self.client(which)
        shared = tuple(self.named(client, place) for place in what)
        for _ in range(count):
            own = self.cluster.client_puts(client) if frames else None
            self.cluster.submit_with(client, kind, options, Inputs(own, shared, latest))

    @happens(lambda self: has_clients(self) and self.cluster.tasks, which=picks, what=few)
    def repeats_a_task(self, which: int, what: int) -> None:
        there = list(self.cluster.tasks)
        self.cluster.submits_again(self.client(which), self.cluster.books[one(there, what)])

    @happens(lambda self: self.cluster.alive(), which=picks)
    def puts_out_of_sight(self, which: int) -> None:
        self.cluster.put(one(self.cluster.alive(), which))

    def everybody_leaves(self) -> None:
        """Only the newest versions stay, when nobody is left."""
        super().everybody_leaves()
        cluster = self.cluster
        cluster.perform()
        newest = {versions[-1].name for versions in cluster.published.values() if versions}
        assert cluster.store.keys() == cluster.core.held == newest
        assert not cluster.core.cluster.versions._waiting
        assert cluster.core.cluster.fetching._copies.keys() <= newest


TestHoldings = HoldingsMachine.TestCase


def test_the_books_have_a_maker_swept_after_at_the_moment_at_which_the_core_does() -> None:
    """The clock may come to a moment that is the deadline but for its last bit."""
    cluster = StoringCluster(closed=False)
    cluster.client_joins(watched=True)
    cluster.decided()
    cluster.tick(0.38)
    cluster.client_leaves(cluster.clients[0])
    cluster.decided()
    (maker,) = cluster.alive()
    left = cluster.put(maker)
    cluster.tick(2 * SETTINGS.lease_s + ENDING_S)
    (due,) = (when for when, due, _ in cluster.core.cluster.deadlines if due is Due.SWEEP)
    assert cluster.now == nextafter(due, 0.0)
    cluster.perform()
    assert left.name in cluster.store
    cluster.tick(due - cluster.now)
    cluster.perform()
    assert not cluster.store
