"""Whatever happens, in whatever order: every invariant holds, and every task ends once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from steerio.core.deadlock import find_circle
from steerio.model.events import TaskEnded
from steerio.model.moving import How
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import ReportedAs, Retries, TaskOptions
from tests.core import invariants
from tests.core.model_cluster import Cluster
from tests.core.model_parts import SETTINGS, Client, Node, Word, Worker

T = TypeVar("T")
Step = Callable[..., None]

MOST_TASKS = 30
DRAIN_S = 0.25
DRAIN_STEPS = 200
PATIENCE = 60
"""Steps of draining before an open broker is given a node for what still waits."""

picks = st.integers(min_value=0, max_value=11)
few = st.integers(min_value=0, max_value=2)
PLAIN = WorkerNeeds()
LARGE = WorkerNeeds(cpus=4)
LARGEST = WorkerNeeds(cpus=4, gpus=1, tags=("bigmem",))
makes = st.dictionaries(
    st.sampled_from(["simulate", "learn"]), st.sampled_from([PLAIN, LARGE, LARGEST])
)
options = st.builds(
    TaskOptions,
    priority=st.integers(-2, 2).map(float),
    timeout_s=st.sampled_from([None, None, None, 0.05, 0.6]),
    retries=st.builds(Retries, lost=st.integers(0, 4), failed=few, timed_out=few),
    cancel_grace_s=st.sampled_from([0.0, 0.2]),
    needs=st.sampled_from([None, None, None, None, LARGE, LARGEST]),
    gang=st.sampled_from([1, 1, 1, 1, 1, 2, 3]),
)
walltimes = st.sampled_from([None, None, 1.2, 3.0, 8.0])
"""Whole seconds of them count."""
MOSTLY: list[ReportedAs] = ["succeeded"] * 6
ENDS: list[ReportedAs] = [*MOSTLY, "failed", "cancelled"]

scripts = st.binary(min_size=2, max_size=24)
"""What workers do next: each byte is one move of one of them, and at times a moment passes."""


def happens(when: Callable[[Any], bool] = lambda _: True, **drawn: Any) -> Callable[[Step], Step]:
    """Make a rule: something happens, and then workers go on."""

    def as_rule(step: Step) -> Step:
        def step_and_go_on(self: DispatchMachine, then: bytes, **values: Any) -> None:
            step(self, **values)
            self.holds()
            self.workers_go_on(then)

        step_and_go_on.__name__ = step.__name__
        as_hypothesis_has_it = cast(Callable[[Step], Step], rule(then=scripts, **drawn))
        return precondition(when)(as_hypothesis_has_it(step_and_go_on))

    return as_rule


class DispatchMachine(RuleBasedStateMachine):
    """Drives a ``Core`` with all that can happen to it."""

    keeps_workers = True
    """Whether nodes come back with workers that they have kept."""
    detaches = True
    """Whether some clients are detached."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = self.around(closed=False)
        self.lag = 1
        self.steps = 0

    @initialize(
        closed=st.booleans(),
        lag=st.sampled_from([1, 1, 2, 5]),
        simulate=st.integers(1, 3),
        learn=few,
        tasks=st.lists(options, max_size=8),
        makes=makes,
        walltime_s=walltimes,
    )
    def start(
        self,
        closed: bool,
        lag: int,
        simulate: int,
        learn: int,
        tasks: list[TaskOptions],
        makes: dict[str, WorkerNeeds],
        walltime_s: float | None,
    ) -> None:
        self.cluster = self.around(closed)
        self.lag = lag
        self.cluster.client_joins(watched=True)
        offers = {"simulate": simulate, "learn": learn}
        self.cluster.node_joins(offers, makes=makes, walltime_s=walltime_s)
        self.cluster.perform()
        for worker in self.alive:
            self.cluster.comes_up(worker)
        for each in tasks:
            self.cluster.submit(self.cluster.clients[0], self.cluster.types[0], each)

    def around(self, closed: bool) -> Cluster:
        """Make the core and what is around it."""
        return Cluster(closed)

    # -- who there is -----------------------------------------------------------------------

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.cluster.workers.values() if worker.alive]

    @property
    def able_to_move(self) -> list[Worker]:
        return [worker for worker in self.alive if self.cluster.moves(worker)]

    @property
    def running(self) -> list[Worker]:
        return [worker for worker in self.alive if worker.running and not worker.hangs]

    @property
    def speaking(self) -> list[list[Word]]:
        boxes = [worker.outbox for worker in self.cluster.workers.values() if worker.ready]
        boxes += [node.answers for node in self.cluster.nodes]
        return [box for box in [*boxes, self.cluster.late] if box]

    @property
    def telling(self) -> list[Node]:
        return [node for node in self.cluster.nodes if node.exits]

    @property
    def there(self) -> list[Node]:
        members = self.cluster.core.nodes
        return [node for node in self.cluster.nodes if node.peer in members]

    # -- workers --------------------------------------------------------------------------

    def workers_go_on(self, script: bytes) -> None:
        """Let workers do what they do next; the second half of a byte says how that goes."""
        for byte in script:
            who, what = byte >> 4, byte & 15
            if who == 15:
                self.cluster.tick(0.02 * what)
                self.holds()
            if not (able := self.able_to_move):
                return
            worker = one(able, who)
            move = one(self.cluster.moves(worker), what)
            self.cluster.make(worker, move, one(ENDS, what))
            self.holds()

    @happens(lambda self: self.running, which=picks)
    def hangs(self, which: int) -> None:
        one(self.running, which).hangs = True

    @happens(lambda self: self.alive, which=picks, says=st.booleans())
    def dies(self, which: int, says: bool) -> None:
        self.cluster.dies(one(self.alive, which), says)

    @happens(
        lambda self: self.running,
        which=picks,
        run_s=st.sampled_from([float("nan"), float("inf"), -1.0]),
    )
    def ends_at_an_odd_time(self, which: int, run_s: float) -> None:
        self.cluster.ends(one(self.running, which), "succeeded", run_s)

    @happens(
        lambda self: any(worker.ready for worker in self.alive),
        which=picks,
        times=st.integers(1, 2),
    )
    def says_what_cannot_be_read(self, which: int, times: int) -> None:
        ready = [worker for worker in self.alive if worker.ready]
        self.cluster.says_what_cannot_be_read(one(ready, which), times)

    @happens(lambda self: self.speaking, which=picks, place=few, repeat=st.booleans())
    def is_heard_out_of_order(self, which: int, place: int, repeat: bool) -> None:
        words = one(self.speaking, which)
        self.cluster.delivers(words, min(place, len(words) - 1), repeat)

    # -- nodes ----------------------------------------------------------------------------

    @happens(
        lambda self: len(self.cluster.nodes) < 3,
        simulate=few,
        learn=few,
        elsewhere=st.sampled_from([0, 0, 0, 1]),
        preloading=st.sampled_from([(), (), ("learn",)]),
        makes=makes,
        walltime_s=walltimes,
    )
    def node_joins(
        self,
        simulate: int,
        learn: int,
        elsewhere: int,
        preloading: tuple[str, ...],
        makes: dict[str, WorkerNeeds],
        walltime_s: float | None,
    ) -> None:
        workers = {"simulate": simulate, "learn": learn} | ({"nowhere": 1} if elsewhere else {})
        self.cluster.node_joins(workers, *preloading, makes=makes, walltime_s=walltime_s)

    @happens(lambda self: self.cluster.nodes, which=picks, says_so=st.booleans())
    def node_leaves(self, which: int, says_so: bool) -> None:
        node: Node = one(self.cluster.nodes, which)
        if says_so:
            self.cluster.node_leaves(node)
        else:
            node.beats = False

    @happens(
        lambda self: self.keeps_workers and self.cluster.nodes,
        which=st.one_of(st.none(), picks),
        simulate=st.integers(0, 3),
        learn=few,
        earlier=st.lists(st.sampled_from(["simulate", "learn"]), max_size=2),
    )
    def node_returns(
        self, which: int | None, simulate: int, learn: int, earlier: list[str]
    ) -> None:
        node = None if which is None else one(self.cluster.nodes, which)
        offers = {"simulate": simulate, "learn": learn}
        self.cluster.node_returns(node, offers, earlier)

    @happens(lambda self: self.telling, which=picks)
    def node_tells(self, which: int) -> None:
        self.cluster.node_tells(one(self.telling, which))

    @happens(
        lambda self: self.there and self.cluster.clients,
        which=picks,
        who=picks,
        within_s=st.sampled_from([None, None, 0.0, 0.1, 1.0]),
        retire=st.booleans(),
    )
    def is_drained(self, which: int, who: int, within_s: float | None, retire: bool) -> None:
        node: Node = one(self.there, which)
        self.cluster.asks_to_drain(one(self.cluster.clients, who), node, within_s, retire)

    @happens(lambda self: self.there, which=picks)
    def is_undrained(self, which: int) -> None:
        self.cluster.undrains(one(self.there, which))

    @happens(
        lambda self: self.cluster.clients, who=picks, pool=st.sampled_from(["simulate", "learn"])
    )
    def is_paused(self, who: int, pool: str) -> None:
        if pool in self.cluster.roster.pools:
            self.cluster.pauses(one(self.cluster.clients, who), pool)

    @happens(lambda self: self.cluster.core.paused, which=picks)
    def is_resumed(self, which: int) -> None:
        self.cluster.resumes(one(list(self.cluster.core.paused), which))

    # -- orders to campaigns ----------------------------------------------------------------

    @happens(lambda self: self.cluster.clients, who=picks, takes=st.booleans())
    def takes_orders(self, who: int, takes: bool) -> None:
        self.cluster.takes_orders(one(self.cluster.clients, who), takes=takes)

    @happens(lambda self: self.cluster.clients, who=picks)
    def gives_order(self, who: int) -> None:
        self.cluster.gives_order(one(self.cluster.clients, who))

    @happens(lambda self: self.cluster.core.cluster.orders, which=picks)
    def answers_order(self, which: int) -> None:
        self.cluster.answers_order(one(list(self.cluster.core.cluster.orders), which))

    # -- clients --------------------------------------------------------------------------

    @happens(
        lambda self: len(self.cluster.clients) + len(self.cluster.away) < 3,
        watched=st.booleans(),
        detached=st.booleans(),
    )
    def client_joins(self, watched: bool, detached: bool) -> None:
        self.cluster.client_joins(watched, detached and self.detaches)

    @happens(lambda self: self.cluster.away, which=picks)
    def client_returns(self, which: int) -> None:
        self.cluster.client_returns(one(self.cluster.away, which))

    @happens(lambda self: len(self.cluster.clients) > 1, which=picks, says_so=st.booleans())
    def client_leaves(self, which: int, says_so: bool) -> None:
        client: Client = one(self.cluster.clients, which)
        if says_so:
            self.cluster.client_leaves(client)
        elif client.watched:
            client.beats = False

    @happens(
        lambda self: self.cluster.clients and len(self.cluster.tasks) < MOST_TASKS,
        which=picks,
        kind=st.integers(0, 9),
        count=st.integers(1, 8),
        options=options,
    )
    def submits(self, which: int, kind: int, count: int, options: TaskOptions) -> None:
        kinds = [*self.cluster.types, *self.cluster.types[:2], *self.cluster.types[:1] * 4]
        for _ in range(count):
            self.cluster.submit(one(self.cluster.clients, which), kinds[kind], options)

    @happens(
        lambda self: self.cluster.clients and self.cluster.unclaimed,
        which=picks,
        kind=st.sampled_from([0, 0, 0, 1, 2, 3]),
        place=few,
        options=options,
    )
    def claims(self, which: int, kind: int, place: int, options: TaskOptions) -> None:
        cluster, place = self.cluster, place % len(self.cluster.unclaimed)
        cluster.claims(one(cluster.clients, which), cluster.types[kind], options, place)

    @happens(lambda self: self.cluster.unclaimed, which=picks)
    def cancels_what_is_not_submitted_again(self, which: int) -> None:
        task_id = one(self.cluster.unclaimed, which)
        assert not self.cluster.core.cancel(task_id, "unwanted", self.cluster.now)

    @happens(
        lambda self: self.cluster.clients and len(self.cluster.tasks) < MOST_TASKS,
        which=picks,
        again=st.booleans(),
        options=options,
    )
    def ships(self, which: int, again: bool, options: TaskOptions) -> None:
        self.cluster.ships(one(self.cluster.clients, which), options, again)

    @happens(lambda self: self.cluster.clients, which=picks, what=st.integers(0, 3))
    def forgets(self, which: int, what: int) -> None:
        self.cluster.forgets(one(self.cluster.clients, which), what)

    @happens(
        lambda self: self.cluster.books,
        which=st.integers(0, 60),
        ended=st.sampled_from([False, False, False, True]),
    )
    def cancels(self, which: int, ended: bool) -> None:
        there = list(self.cluster.books if ended else self.cluster.tasks)
        if there:
            self.cluster.cancel(self.cluster.books[one(there, which)])

    @happens(
        lambda self: self.cluster.core.runs,
        which=picks,
        count=st.integers(1, 3),
        queued_only=st.sampled_from([False, False, True]),
    )
    def cancels_what_is_at_a_worker(self, which: int, count: int, queued_only: bool) -> None:
        at_workers = list(self.cluster.core.runs.values())
        for place in range(which, which + count):
            book = self.cluster.books[one(at_workers, place).task_id]
            self.cluster.cancel(book, queued_only=queued_only)

    @happens(
        lambda self: self.cluster.books,
        which=picks,
        by=st.sampled_from([-3.0, 0.0, 3.0, float("nan")]),
        width=picks,
    )
    def reprioritises(self, which: int, by: float, width: int) -> None:
        ids = list(self.cluster.books)[which : which + width]
        count = self.cluster.core.reprioritise([(i, by) for i in ids], self.cluster.now)
        assert count == (0 if isnan(by) else sum(task_id in self.cluster.tasks for task_id in ids))

    @happens(
        lambda self: self.cluster.books,
        which=picks,
        width=picks,
        pool=st.sampled_from(["simulate", "learn"]),
    )
    def reassigns(self, which: int, width: int, pool: str) -> None:
        tasks = self.cluster.tasks
        ids = list(self.cluster.books)[which : which + width]
        queued = sum(i in tasks and not tasks[i].state for i in ids)
        target = self.cluster.roster.pools[pool]
        assert self.cluster.core.reassign(ids, target.name, self.cluster.now) == queued

    # -- moves ----------------------------------------------------------------------------

    @happens(
        lambda self: self.cluster.clients and len(self.cluster.core.moves) < 5,
        which=picks,
        there=st.sampled_from(["simulate>learn", "learn>simulate", "simulate>nowhere"]),
        count=st.integers(1, 3),
        lease=st.booleans(),
        together=st.booleans(),
        how=st.sampled_from(["drain", "drain", "preempt"]),
        preempt_after_s=st.sampled_from([None, None, 0.0, 0.3]),
    )
    def asks_to_move(self, which: int, there: str, count: int, **how: Any) -> None:
        source, _, target = there.partition(">")
        client: Client = one(self.cluster.clients, which)
        self.cluster.asks_to_move(client, source, target, count, **how)

    @happens(
        lambda self: self.cluster.core.moves,
        which=picks,
        how=st.sampled_from(["drain", "preempt"]),
    )
    def ends_move(self, which: int, how: How) -> None:
        self.cluster.ends_move(one(list(self.cluster.core.moves), which), how)

    @happens(
        lambda self: self.cluster.core.moves,
        which=picks,
        count=st.integers(0, 4),
        leases=st.lists(picks, max_size=3),
    )
    def awaits_move(self, which: int, count: int, leases: list[int]) -> None:
        """Let somebody who has leases wait for a move, as long as nothing would wait for ever."""
        asked = self.cluster.core.moves
        client, request = one(list(asked), which)
        granted = [r for (c, r), move in asked.items() if c == client and move.state == "granted"]
        holds = sorted({one(granted, lease) for lease in leases}) if granted else []
        core = self.cluster.core
        core.await_move(client, request, count, holds, "somebody", self.cluster.now)
        if holds:
            assert not find_circle(asked, self.cluster.roster.pools)

    # -- time -----------------------------------------------------------------------------

    @happens(
        seconds=st.sampled_from([0.01, 0.1, 0.2, 0.5, 1.0, 3.0]),
        words_wait=st.sampled_from([False, False, True]),
    )
    def time_passes(self, seconds: float, words_wait: bool) -> None:
        self.cluster.tick(seconds, words_wait=words_wait)

    @invariant()
    def holds(self) -> None:
        self.cluster.decided()
        self.steps += 1
        self.cluster.core.check(self.cluster.now)
        invariants.check_types(self.cluster.core, self.cluster.always.values())
        self.cluster.check_stopping()
        self.cluster.check_replaced()
        if self.steps % self.lag == 0:
            self.cluster.perform()
            self.cluster.decided()
            if self.lag > 1:
                self.cluster.core.check(self.cluster.now)
                invariants.check_types(self.cluster.core, self.cluster.always.values())

    # -- the end --------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let everything run out: nothing may wait for ever."""
        cluster, self.lag = self.cluster, 1
        for worker in self.alive:
            book = cluster.books.get(cluster.runs[worker.running]) if worker.hangs else None
            if book is not None:
                cluster.cancel(book)
        for key, move in list(cluster.core.moves.items()):
            if move.lease:
                cluster.ends_move(key, "drain")
        for pool in cluster.core.paused:
            cluster.resumes(pool)
        for step in range(DRAIN_STEPS):
            self.holds()
            waits = cluster.tasks or cluster.core.moves
            if not (waits or self.able_to_move or self.speaking or self.telling):
                break
            if step == PATIENCE and not cluster.roster.closed:
                wanted = [name for name, pool in cluster.roster.pools.items() if pool.backlog]
                cluster.node_joins(dict.fromkeys(wanted, 1))
            self.everybody_does_what_they_should()
            cluster.tick(DRAIN_S)
        cluster.perform()
        cluster.decided()
        assert not cluster.tasks, f"these wait for ever: {list(cluster.tasks.values())[:3]}"
        assert not cluster.core.moves, "these moves never end"
        orders = cluster.core.cluster.orders.values()
        assert cluster.unanswered == {(each.giver, each.request) for each in orders}
        assert not cluster.watching, "these wait for ever for nodes to be drained"
        assert all(len(book.endings) == 1 for book in cluster.books.values())
        assert sum(cluster.core.ended.values()) == len(cluster.books)
        invariants.check_events(cluster.events)
        told = {e.task_id: e.ended_as for e in cluster.events if isinstance(e, TaskEnded)}
        assert told == {i: book.endings[0].ended_as for i, book in cluster.books.items()}
        self.everybody_leaves()

    def everybody_does_what_they_should(self) -> None:
        while self.able_to_move or self.speaking:
            for worker in self.able_to_move:
                self.cluster.make(worker, self.cluster.moves(worker)[0], "succeeded")
            for words in self.speaking:
                self.cluster.delivers(words, 0, repeat=False)
            self.holds()
        for node in self.telling:
            while node.exits:
                self.cluster.node_tells(node)

    def everybody_leaves(self) -> None:
        """No deadline may keep itself alive once nobody is left."""
        cluster = self.cluster
        for node in list(cluster.nodes):
            cluster.node_leaves(node)
        for client in list(cluster.away):
            cluster.client_returns(client)
        for client in list(cluster.clients):
            if client.detached and cluster.is_in(client):
                cluster.core.attach(client.peer)
            cluster.client_leaves(client)
        bounds = (SETTINGS.lease_s, SETTINGS.away_s, SETTINGS.start_s, SETTINGS.join_s)
        cluster.tick(10 * max(bounds))
        cluster.decided()
        assert len(cluster.core.cluster.deadlines) == 0
        cluster.core.check(cluster.now)
        assert not cluster.roster.workers


def one(things: Sequence[T], which: int) -> T:
    """Pick one of what there is."""
    return things[which % len(things)]


TestDispatch = DispatchMachine.TestCase
