"""A store beside the model of a cluster, and books on who needs what of it.

The books are kept from what clients, workers and the store see, never from `Holdings`: what
a client has in hand is what it put or was told of and did not let go, what a task needs is
what it was submitted with and, while a worker has it, the versions that came with it.

Clients name only objects that they have in hand or have just put; workers just what they
put.  Both may die between putting an object and telling of it.  Who is gone without anybody
having seen it end lives on until it gives the broker up, and may put one more object.
"""

from __future__ import annotations

from collections import Counter

from msgspec import structs

from steerio.core.effects import (
    Effect,
    FetchCopies,
    ForgetCopies,
    FreeObjects,
    Settle,
    SweepObjects,
)
from steerio.core.newest_versions import VersionWaiter
from steerio.core.orphans import ENDING_S
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import ReportedAs, TaskOptions
from tests.core.model_cluster import Cluster
from tests.core.model_parts import SETTINGS, Book, Client, Node, Worker

LIVES_ON_S = SETTINGS.lease_s + SETTINGS.beat_s + ENDING_S
"""How long at most somebody goes on after the broker has given it up."""
NBYTES = 10
NAMES = ("model", "mesh")
"""What has versions."""


def swept_at(gone: float) -> float:
    """Return when it is swept after one that went out of sight then, to the last bit.

    The core adds up in this order; another sum may come to the moment before, and the clock to it.
    """
    return gone + 2 * SETTINGS.lease_s + ENDING_S


class StoringCluster(Cluster):
    """A cluster whose tasks have inputs, and values, in a store."""

    def __init__(self, closed: bool) -> None:
        super().__init__(closed)
        self.core.cluster.fetching.wanted = True
        self.store: dict[bytes, str] = {}
        """Who made each object that is there."""
        self.objects: list[StoredObject] = []
        """All that there ever were."""
        self.in_hand: Counter[tuple[int, bytes]] = Counter()
        """How often each client, by its number, needs an object."""
        self.untold: dict[bytes, int] = {}
        """What clients have put, and the broker does not know of."""
        self._seen: set[str] = set()
        """The workers of whose end the broker was told."""
        self.published: dict[str, list[StoredObject]] = {name: [] for name in NAMES}
        self.awaited: list[tuple[str, VersionWaiter]] = []
        self.inputs: dict[int, Inputs] = {}
        """What each task was submitted with."""
        self.given: dict[int, list[bytes]] = {}
        """The versions that each attempt was given."""
        self.out_of_sight: dict[str, float] = {}
        """Who is gone, as far as the broker can tell, and since when."""
        self._makers: set[str] = set()
        """Who was there before the last step."""
        self._valued: set[int] = set()
        """The tasks whose clients were told of their value."""
        self._fetched: set[tuple[int, bytes]] = set()
        self._asked = 0

    # -- what clients do ----------------------------------------------------------------------

    def put(self, maker: str) -> StoredObject:
        """Let somebody put an object."""
        stored = StoredObject(b"object-%d" % (len(self.objects) + 1), NBYTES)
        self.objects.append(stored)
        self.store[stored.name] = maker
        return stored

    def client_puts(self, client: Client) -> StoredObject:
        """Let a client put an object, of which it has not told yet."""
        stored = self.put(f"client-{client.peer}")
        self.untold[stored.name] = client.peer
        return stored

    def named_by(self, client: Client) -> list[StoredObject]:
        """Return what a client may speak of: what it has in hand or has put."""
        names = {name for peer, name in self.in_hand if peer == client.peer}
        names |= {name for name, peer in self.untold.items() if peer == client.peer}
        return [stored for stored in self.objects if stored.name in names]

    def holds(self, client: Client, stored: StoredObject) -> None:
        """Let a client tell of an object that it needs."""
        self.untold.pop(stored.name, None)
        self.in_hand[client.peer, stored.name] += 1
        self.core.hold(stored, client.peer)

    def lets_go(self, client: Client, name: bytes) -> None:
        """Let a client need an object no more, be it in its hands or not."""
        key = (client.peer, name)
        known = self.core.let_go(name, client.peer)
        assert known == (self.in_hand[key] > 0)
        self.in_hand[key] -= known
        self.in_hand += Counter()  # drops what is not in its hands

    def publishes(self, client: Client, name: str, stored: StoredObject) -> None:
        """Let a client make an object the newest version of a name."""
        self.untold.pop(stored.name, None)
        self.published[name].append(stored)
        by = f"client-{client.peer}"
        _, served = self.core.publish_version(name, stored, by, self.now)
        number = len(self.published[name])
        due = [each for each in self.awaited if each[0] == name and each[1].after < number]
        assert served == [waiter for _, waiter in due]
        self.awaited = [each for each in self.awaited if each not in due]
        for waiter in served:
            self.in_hand[waiter.client, stored.name] += 1

    def asks(self, client: Client, name: str, after: int) -> None:
        """Let a client ask for a newer version."""
        self._asked += 1
        waiter = VersionWaiter(client.peer, self._asked, after)
        version = self.core.ask_version(name, waiter)
        there = len(self.published[name])
        assert (version is not None) == (there > after)
        if version is None:
            self.awaited.append((name, waiter))
        else:
            assert (version.number, version.stored) == (there, self.published[name][-1])
            self.in_hand[client.peer, version.stored.name] += 1

    def submit_with(self, client: Client, kind: int, options: TaskOptions, inputs: Inputs) -> None:
        """Submit a task that needs what is in the store."""
        if client.peer not in self.core.clients:  # it was lost, and would be dropped
            return
        for stored in inputs.all:
            self.untold.pop(stored.name, None)
        self.inputs[len(self.books) + 1] = inputs
        self.submit(client, self.types[kind], options, inputs)

    def submits_again(self, client: Client, book: Book) -> None:
        """Let a client repeat the id of a task, with other frames; it needs those for nothing."""
        inputs = Inputs(self.put(f"client-{client.peer}"), tuple(self.named_by(client)))
        again = structs.replace(book.record, inputs=inputs)
        assert not self.core.submit(again, self.now)

    # -- what workers do ------------------------------------------------------------------------

    def begins(self, worker: Worker) -> None:
        """Let a worker begin an attempt: what it needs is there, if anybody waits for it."""
        run = worker.held[0]
        if run in self.core.runs:
            inputs = self.inputs.get(self.runs[run], Inputs())
            needed = {stored.name for stored in inputs.all} | set(self.given[run])
            assert needed <= self.store.keys(), "it reads what is gone"
        super().begins(worker)

    def ends(self, worker: Worker, ended_as: ReportedAs, run_s: float) -> None:
        """Let a worker end its attempt, often with a value in the store."""
        run = worker.running
        super().ends(worker, ended_as, run_s)
        if run % 3:
            worker.outbox[-1].stored = self.put(worker.name)

    def dies(self, worker: Worker, says: bool) -> None:
        """Let a worker's process end, perhaps with a value put of which it has not told."""
        if worker.running % 2:
            self.put(worker.name)
        super().dies(worker, says)

    def node_tells(self, node: Node) -> None:
        """Let a node's oldest word reach the broker."""
        if node.member:
            self._seen.add(node.exits[0][0])
        super().node_tells(node)

    # -- what those do who are out of sight -------------------------------------------------------

    def alive(self) -> list[str]:
        """Name who is gone as far as the broker can tell, and may put objects still."""
        return [who for who, at in self.out_of_sight.items() if self.now < at + LIVES_ON_S]

    def _look_who_is_gone(self) -> None:
        """Note who is gone whom nobody saw end."""
        makers = {client.maker for client in self.core.clients.values()} | {*self.roster.workers}
        for who in self._makers - makers - self._seen:
            self.out_of_sight[who] = self.now
        self._makers = makers

    # -- the books ------------------------------------------------------------------------------

    def decided(self) -> None:
        """Bring the books up to date, and look whether the core's say the same."""
        super().decided()
        for effect in self.core.cluster.effects:
            self._value_told(effect)
        self._look_who_is_gone()
        there = self.core.clients.keys()
        for key in [key for key in self.in_hand if key[0] not in there]:
            del self.in_hand[key]
        self.untold = {name: peer for name, peer in self.untold.items() if peer in there}
        self.awaited = [(name, who) for name, who in self.awaited if who.client in there]
        for run, record in self.core.runs.items():
            if run not in self.given:
                versions = record.versions or {}
                newest = {name: len(self.published[name]) for name in versions}
                assert {name: version.number for name, version in versions.items()} == newest
                assert set(versions) == set(self.inputs.get(record.task_id, Inputs()).latest)
                self.given[run] = [self.published[name][-1].name for name in versions]
        needed = self.needed()
        holdings = self.core.cluster.holdings
        assert Counter(holdings._tasks) + Counter(holdings._others) == needed
        assert holdings.sizes == dict.fromkeys(needed, NBYTES)
        assert needed.keys() <= self.store.keys(), "what is needed is gone"

    def needed(self) -> Counter[bytes]:
        """Return how often each object is needed, by anybody."""
        needed: Counter[bytes] = Counter()
        for (_, name), times in self.in_hand.items():
            needed[name] += times
        for task_id, record in self.tasks.items():
            needed.update(s.name for s in self.inputs.get(task_id, Inputs()).all)
            if record.run in self.core.runs:
                needed.update(self.given[record.run])
            elif (gang := self.core.cluster.gangs.get(task_id)) is not None:
                needed.update(self.given[next(iter(gang.ranks))])
                if gang.first is not None and gang.first.stored is not None:
                    needed[gang.first.stored.name] += 1
        needed.update(versions[-1].name for versions in self.published.values() if versions)
        return needed

    def _value_told(self, effect: Effect) -> None:
        """Note that a client has a value in hand, of which the core says that it is told."""
        if not isinstance(effect, Settle) or effect.record.task_id in self._valued:
            return
        self._valued.add(effect.record.task_id)
        stored, client = effect.ending.stored, effect.record.client
        if stored is not None and client in self.core.clients:
            self.in_hand[client, stored.name] += 1

    # -- the broker's part ------------------------------------------------------------------------

    def perform(self) -> None:
        """Carry out all that the core wanted; then nothing is there that nobody needs."""
        super().perform()
        spare = self.store.keys() - self.needed().keys() - self.untold.keys() - self._in_words()
        for name in spare:
            maker = self.store[name]
            gone = self.out_of_sight.get(maker)
            if gone is None:  # a worker that has died, of which nobody knows yet
                assert maker in self.roster.workers, f"{name!r} is kept for nobody"
                assert not self.workers[maker].alive
            else:
                assert self.now < swept_at(gone), f"{name!r} is kept for nobody"

    def _in_words(self) -> set[bytes]:
        boxes = [self.late, *(worker.outbox for worker in self.workers.values())]
        return {word.stored.name for words in boxes for word in words if word.stored is not None}

    def _perform(self, order: Effect) -> None:
        match order:
            case FreeObjects(names):
                self._remove(names)
            case ForgetCopies(node, names):
                assert set(names).isdisjoint(self.core.held)
                self._fetched -= {(node.number, name) for name in names}
            case SweepObjects(makers):
                kept = self.core.held
                made = [name for name, who in self.store.items() if who in makers]
                self._remove([name for name in made if name not in kept])
            case FetchCopies(node, objects):
                told = {(node.number, stored.name) for stored in objects}
                assert not told & self._fetched, "a node is told twice"
                self._fetched |= told
            case _:
                super()._perform(order)

    def _remove(self, names: list[bytes]) -> None:
        assert not self.needed().keys() & set(names), "what is needed is removed"
        assert not self.untold.keys() & set(names), "what somebody is about to use is removed"
        for name in names:
            self.store.pop(name, None)
