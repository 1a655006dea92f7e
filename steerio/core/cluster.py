"""All that a broker's core knows, in one place: the state that every decision reads and changes.

The modules beside this one are the decisions: functions that take the `Cluster` and a fact.
None of them keeps anything for itself, and none is called by one that it calls.  They append
their orders to ``effects``; which workers and pools are to be given work next they note in
``to_assign`` and ``to_feed``, for `assigning.assign`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from steerio.core.deadlines import ABOUT, About, Deadlines, Due
from steerio.core.effects import Effect
from steerio.core.eventlog import EventLog
from steerio.core.fetching import Fetching
from steerio.core.holdings import Holdings
from steerio.core.newest_versions import NewestVersions
from steerio.core.records import (
    ClientRecord,
    GangRecord,
    KeptAttempt,
    MoveRecord,
    NodeRecord,
    OrderUnderWay,
    TaskRecord,
    WorkerRecord,
)
from steerio.core.roster import Pool, Roster
from steerio.core.task_types import TaskTypes
from steerio.model.objects import Inputs, StoreLoad
from steerio.model.settings import Settings
from steerio.model.showing import counted


class Cluster:
    """Tasks, workers, nodes, clients, pools, moves, objects, deadlines and events.

    Args:
        settings: bounds and leases.
        pools: the names of the pools there are.
        closed: whether there are no other pools, ever.
        epoch: the difference of Unix time to the core's clock.

    Invariants: a task is in ``tasks`` until it is settled, and in ``runs`` exactly while it is in
    the hands of a worker; all that `checks.check` looks at.
    """

    def __init__(
        self, settings: Settings, pools: Iterable[str], closed: bool, epoch: float = 0.0
    ) -> None:
        self.settings = settings
        self.roster = Roster(settings, pools, closed)
        self.log = EventLog(epoch)
        self.emit = self.log.emit
        """Adds an event: its kind, the time, and its other fields."""
        self.deadlines: Deadlines[Due] = Deadlines()
        self.effects: list[Effect] = []
        """The orders to the broker that were not taken yet."""
        self.some_void = False
        """Whether some of these may be void by now (`effects.is_void`)."""
        # -- tasks
        self.types = TaskTypes(self.roster)
        self.tasks: dict[int, TaskRecord] = {}
        self.tasks_of: dict[int, dict[int, TaskRecord]] = {}
        """The same by client and id, of the clients that have any."""
        self.runs: dict[int, TaskRecord] = {}
        """The tasks at workers, by the numbers of their attempts."""
        self.run = 0
        """The number of the last attempt."""
        self.gangs: dict[int, GangRecord] = {}
        """The gangs at work, by task."""
        self.ended: defaultdict[str, int] = defaultdict(int)
        """How many tasks have ended in each way."""
        self.kept: dict[int, KeptAttempt] = {}
        """Attempts that went on without a broker, by task, until the client of that is back."""
        self.keeps_own = True
        """Whether nodes go on also with attempts of this broker, which it had given up."""
        self.first_run = 0
        """The number of the last attempt of earlier brokers."""
        self.kept_by_worker: dict[WorkerRecord, int] = {}
        """The tasks of these, by the workers that still work on them."""
        self.recalled: dict[int, float] = {}
        """The held attempts that were asked back lately, by number, and when."""
        self.same_inputs: Inputs | None = None
        """The inputs of the last task: if the next needs the same, these are kept once."""
        # -- objects of the store
        self.holdings = Holdings()
        self.versions = NewestVersions(self.holdings, self.log)
        self.fetching = Fetching(self.roster, self.holdings)
        self.out_of_sight: deque[list[str]] = deque()
        """Makers of objects that are gone, though no node saw them end, in the order of that."""
        self.swept: set[str] = set()
        """Those that were swept after, so that nothing is left of all they made."""
        self.pauses = 0
        """How often pools were paused and resumed."""
        # -- orders to campaigns
        self.taking: dict[int, None] = {}
        """The clients that are campaigns and take orders, by the numbers of their peers."""
        self.orders: dict[int, OrderUnderWay] = {}
        """Those that were passed to campaigns, and are not answered, by number."""
        self.order_numbers = 0

        # -- clients and nodes
        self.clients: dict[int, ClientRecord] = {}
        """All clients, by the numbers of their peers."""
        self.nodes: dict[int, NodeRecord] = {}
        """All nodes, by the numbers of their peers."""
        self.inside: dict[int, WorkerRecord] = {}
        """The clients that tasks are, and the workers that run these."""
        self.to_replace: dict[int, WorkerRecord] = {}
        """Workers that are gone and are to be replaced later, by number."""
        self.put_off: set[tuple[Due, int]] = set()
        """The silences that are looked at a beat later, as words may wait to be taken in."""
        self.silent: list[NodeRecord] = []
        """Nodes that were found silent for too long and are about to be lost, together."""
        # -- moves
        self.moves: dict[tuple[int, int], MoveRecord] = {}
        """Those that are not over yet, by client and the client's number for them."""
        self.moves_of: dict[int, dict[int, MoveRecord]] = {}
        """The same for each client that has any."""
        self.moves_by_number: dict[int, MoveRecord] = {}
        self.move_numbers = 0
        # -- looks that are to come
        self.watched: set[Due] = set()
        """The reasons for which the whole cluster is going to be looked at, once for each."""
        self.stalls_told: list[str] = []
        """Why tasks wait in vain, as far as that was said since it was last taken."""
        self.to_assign: deque[WorkerRecord] = deque()
        """Workers that may have something else to do now."""
        self.to_feed: dict[Pool, None] = {}
        """Pools whose idle workers may have something to do now."""
        self.gang_pools: dict[Pool, None] = {}
        """Pools for which gangs may be queued."""

    def __repr__(self) -> str:
        nodes, tasks = counted(len(self.nodes), "node"), counted(len(self.tasks), "task")
        return f"<Cluster of {nodes}, {tasks}>"

    def store_load(self) -> StoreLoad:
        """Return the number and size of the objects in the store, and their holders."""
        names = {client.peer: client.name for client in self.clients.values()}
        by_clients: Counter[str] = Counter()
        by_versions: dict[str, int] = {}
        for (kind, which), nbytes in self.holdings.bytes_by_holder().items():
            if kind != "version":
                by_clients[names[int(which)]] += nbytes
            else:
                by_versions[str(which)] = nbytes
        newest = {name: version.number for name, version in self.versions.newest.items()}
        sizes, by_tasks = self.holdings.sizes, self.holdings.bytes_by_tasks()
        total = sum(sizes.values())
        return StoreLoad(len(sizes), total, by_tasks, dict(by_clients), by_versions, newest)

    def replace_later(self, worker: WorkerRecord, when: float) -> None:
        """Have another worker started then in the place of one that is gone."""
        self.to_replace[worker.number] = worker
        worker.node.put_off[worker.number] = None
        self.roster.pools[worker.home].put_off += 1
        self.deadlines.add(when, Due.REPLACE, worker.number)

    def take_put_off(self, number: int) -> WorkerRecord | None:
        """Take out a worker that was to be replaced later, if there is one of that number."""
        gone = self.to_replace.pop(number, None)
        if gone is not None:
            del gone.node.put_off[number]
            self.roster.pools[gone.home].put_off -= 1
        return gone

    def look_later(self, when: float, due: Due, about: int) -> None:
        """Set a deadline that may be void long before it comes up."""
        self.deadlines.add(when, due, about)
        self.deadlines.sweep(self._holds)

    def watch(self, due: Due, when: float) -> None:
        """Look at the whole cluster then, unless that is to come already."""
        if due not in self.watched:
            self.watched.add(due)
            self.deadlines.add(when, due, 0)

    def _holds(self, due: Due, about: int) -> bool:
        match ABOUT[due]:
            case About.RUN:
                return about in self.runs
            case About.MOVE:
                return about in self.moves_by_number
            case About.TASK:
                return about in self.kept
            case _:
                return True
