"""What is around the core, as a model: nodes, workers, clients and the links between them.

The model keeps to what the real ones promise and to nothing else.  A worker reads its
messages in order and runs what it was sent in that order; its words reach the broker
late, repeated or in odd order; what it said before it died may be lost or come after the
news of its death.  A node says which attempt its worker began last, or that it knows of
none; and of one that is recalled, that its worker will not begin it.  Orders of the core
are carried out some steps after they were given.

The model also keeps books on what really happened, which the core must never contradict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any, assert_never

from steerio.core.core import Core
from steerio.core.effects import (
    AskToStop,
    DefineType,
    Discard,
    Dismiss,
    Effect,
    Ending,
    Expel,
    FetchCopies,
    ForgetCopies,
    FreeObjects,
    Grant,
    RecallTask,
    Retire,
    SendOrder,
    SendTask,
    Settle,
    Signal,
    Start,
    SweepObjects,
    TellMove,
    TellNode,
    TellOrder,
    TellPause,
    TellPort,
    UndefineTypes,
)
from steerio.core.lifecycle import State
from steerio.core.move_requests import NOBODY
from steerio.core.records import KeptByNode, MoveRecord, NodeRecord, TaskRecord, TypeRecord
from steerio.core.waiting import watch_empty
from steerio.model.campaign_orders import Checkpoint, GivenOrder, OrderAnswer
from steerio.model.events import AnyEvent, PoolFailed, TaskEnded, TaskRetried, TaskStarted
from steerio.model.moving import How
from steerio.model.objects import Inputs
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import ReportedAs, TaskOptions, TaskSpec
from tests.core.model_parts import RUN_S, SETTINGS, Book, Client, Node, Word, Worker

SPECS = (
    TaskSpec("short", "simulate"),
    TaskSpec("long", "simulate"),
    TaskSpec("train", "learn"),
    TaskSpec("stray", "nowhere"),
)
"""The task types that all clients know, by their numbers."""


class Cluster:
    """The core and the model around it."""

    def __init__(self, closed: bool) -> None:
        self.now = 0.0
        self.core = Core(SETTINGS, ["simulate", "learn"], closed, epoch=1e9)
        self.core.begin_as(2)
        self.roster = self.core.cluster.roster
        self.roster.pools["simulate"].announced = 3 if closed else 0
        for pool in self.roster.pools.values():
            watch_empty(self.core.cluster, pool, self.now)
        self.events: list[AnyEvent] = []
        self.books: dict[int, Book] = {}
        self.runs: dict[int, int] = {}
        """The task that each attempt ever sent was one of."""
        self.succeeded: set[int] = set()
        """The attempts of which a success was told to the broker while it expected one."""
        self.killed: set[int] = set()
        """The attempts that were to be killed."""
        self.workers: dict[str, Worker] = {}
        self.nodes: list[Node] = []
        self.clients: list[Client] = []
        self.away: list[Client] = []
        """The detached clients that are away."""
        self.late: list[Word] = []
        self.always: dict[int, TypeRecord] = {}
        """Task types that somebody knows all the time."""
        self.news: dict[tuple[int, int], str] = {}
        self.there: dict[int, set[str]] = {}
        """The workers of each move, by its number, as far as its client was told."""
        """What clients were last told of their moves."""
        for number, spec in enumerate(SPECS):
            self.core.cluster.types.define(self.always, number, spec)
        self.types = list(self.always.values())
        self.types[0].mean_s = 1e-5
        self._shipped = 0
        self.watching: set[tuple[int, int]] = set()
        self.ordered: set[tuple[int, int]] = set()
        """The orders to campaigns that no answer was told to, by giver and number."""
        """Who has asked for a node to be drained, and was not told yet what came of it."""
        self.unclaimed: list[int] = []
        """The tasks of an earlier broker that were not submitted again."""
        self.waited: set[int] = set()
        """Those of which a success was told before."""
        self._earlier = 0
        """The attempts of that broker of which nodes have told."""
        self._drains = 0
        self._peers = 0
        self._orders: list[Effect] = []

    # -- clients ----------------------------------------------------------------------------

    def client_joins(self, watched: bool, detached: bool = False) -> None:
        """Let a client join."""
        self._lets_in(Client(self._peer(), watched, detached))

    def client_returns(self, client: Client) -> None:
        """Let a detached client come back that was away."""
        self.away.remove(client)
        client.member = client.beats = True
        self._lets_in(client)

    def _lets_in(self, client: Client) -> None:
        self.clients.append(client)
        name = f"client-{client.peer}"
        self.core.client_joined(
            client.peer, name, client.watched, self.now, name, detached=client.detached
        )
        for number, spec in enumerate(SPECS):
            self.core.define(client.peer, number, spec)

    def is_in(self, client: Client) -> bool:
        """Say whether a client may speak: one that was lost would not be heard."""
        known = self.core.clients.get(client.peer)
        return known is not None and not known.away

    def says_what_cannot_be_read(self, worker: Worker, times: int) -> None:
        """Let a worker say something that the broker cannot read, so many times."""
        record = self.roster.workers.get(worker.name)
        for _ in range(times if record else 0):
            assert record is not None
            self.core.unreadable(record.peer, "it cannot be read", self.now)

    def client_leaves(self, client: Client) -> None:
        """Let a client say goodbye."""
        self.core.client_left(client.peer, "it left", self.now)
        self._forget_client(client)

    def ships(self, client: Client, options: TaskOptions, again: bool) -> None:
        """Let a client submit a function by value, the same as last time or another."""
        if not self.is_in(client):  # it was lost, and would be dropped
            return
        known = self.core.clients[client.peer].types
        self._shipped += not again
        spec = TaskSpec("shipped", "simulate", code=b"%d" % self._shipped)
        number = len(SPECS) + self._shipped
        self.core.define(client.peer, number, spec)
        self.submit(client, known[number], options)

    def forgets(self, client: Client, which: int) -> None:
        """Let a client forget a function by value, if it knows any, and one that it does not."""
        if not self.is_in(client):
            return
        known = self.core.clients[client.peer].types
        shipped = [number for number in known if number >= len(SPECS)]
        numbers = [*shipped[which : which + 1], 999_999]
        assert self.core.forget_types(client.peer, numbers) == [999_999]

    def submit(
        self,
        client: Client,
        kind: TypeRecord,
        options: TaskOptions,
        inputs: Inputs | None = None,
        number: int = 0,
    ) -> None:
        """Submit a task, as the broker does."""
        if not self.is_in(client):
            return
        number = number or len(self.books) + 1
        record = TaskRecord(
            number,
            client.peer,
            kind,
            b"",
            (),
            options,
            0.0,
            self.now,
            number,
            options.priority,
            inputs=inputs,
        )
        self.books[number] = Book(record)
        assert self.core.submit(record, self.now)
        if number in self.tasks:
            assert not self.core.submit(record, self.now), "it was taken in twice"

    def claims(self, client: Client, kind: TypeRecord, options: TaskOptions, place: int) -> None:
        """Let a client submit a task again that an earlier broker had."""
        if self.is_in(client):
            number = self.unclaimed.pop(place)
            self.submit(client, kind, options, number=number)

    def cancel(self, book: Book, *, queued_only: bool = False) -> None:
        """Cancel a task, be it still there or not."""
        task_id = book.record.task_id
        there = task_id in self.tasks
        meant = there and (not queued_only or book.record.state == State.QUEUED)
        known = self.core.cancel(task_id, "unwanted", self.now, queued_only=queued_only)
        assert known == there
        book.cancelled |= meant
        book.drained |= there and not meant

    @property
    def tasks(self) -> Mapping[int, TaskRecord]:
        """The tasks that the core has not settled."""
        return self.core.tasks

    # -- nodes ------------------------------------------------------------------------------

    def node_joins(
        self,
        workers: dict[str, int],
        *preloading: str,
        makes: dict[str, WorkerNeeds] | None = None,
        walltime_s: float | None = None,
    ) -> None:
        """Let a node join, which starts its workers when it is told to."""
        node = Node(self._peer(), sum(workers.values()))
        requires = {pool: ["torch"] for pool in preloading}
        joined = self.core.node_joined(
            node.peer, "node", "host", workers, self.now, requires, makes, walltime_s
        )
        if joined is not None:
            self.nodes.append(node)

    def asks_to_drain(
        self, client: Client, node: Node, within_s: float | None, retire: bool
    ) -> None:
        """Let a client ask for a node to be drained."""
        if not self.is_in(client):
            return
        self._drains += 1
        name = self.core.nodes[node.peer].name
        self.watching.add((client.peer, self._drains))
        assert not self.core.drain(
            client.peer, self._drains, name, self.now, within_s=within_s, retire=retire
        )

    def undrains(self, node: Node) -> None:
        """Let a client have a node stay."""
        there = self.core.nodes[node.peer]
        may = bool(there.draining) and self.now < there.until
        assert (self.core.undrain(there.name, self.now) == "") == may

    def pauses(self, client: Client, pool: str) -> None:
        """Let a client ask for a pool to be paused."""
        if not self.is_in(client):
            return
        self._drains += 1
        self.watching.add((client.peer, self._drains))
        refusal = self.core.pause(client.peer, self._drains, pool, "to look at it", self.now)
        assert not refusal

    def resumes(self, pool: str) -> None:
        """Let a client have a pool go on."""
        assert not self.core.resume(pool, "it was looked at", self.now)

    # -- orders to campaigns ------------------------------------------------------------------

    def takes_orders(self, client: Client, *, takes: bool) -> None:
        """Let a client be a campaign that takes orders, or no longer."""
        if self.is_in(client):
            self.core.take_orders(client.peer, takes=takes)

    def gives_order(self, client: Client) -> None:
        """Let a client give an order to the only campaign there is."""
        if not self.is_in(client):
            return
        self._drains += 1
        refusal = self.core.give_order(
            client.peer, self._drains, "", GivenOrder(Checkpoint(), "a client")
        )
        assert (refusal == "") == (len(self.core.cluster.taking) == 1)
        if not refusal:
            self.ordered.add((client.peer, self._drains))

    @property
    def unanswered(self) -> set[tuple[int, int]]:
        """The orders of clients that are there to which no answer was told."""
        return {each for each in self.ordered if each[0] in self.core.clients}

    def answers_order(self, number: int) -> None:
        """Let the campaign that was passed an order answer it, and no other."""
        order = self.core.cluster.orders[number]
        answer = OrderAnswer(True, "it is done")
        assert not self.core.order_done(order.taker + 1, number, answer)
        assert self.core.order_done(order.taker, number, answer)

    # -- moves ------------------------------------------------------------------------------

    def asks_to_move(self, client: Client, source: str, target: str, count: int, **how: Any) -> str:
        """Let a client ask for workers to be moved; returns why that cannot be."""
        if not self.is_in(client):  # it was lost, and would be dropped
            return "it was lost"
        request = len(self.news) + 1
        refusal = self.core.ask_move(client.peer, request, source, target, count, self.now, **how)
        self.news[client.peer, request] = "refused" if refusal else "asked"
        return refusal

    def ends_move(self, which: tuple[int, int], how: How) -> None:
        """Let a client undo a move, or give back what it was lent."""
        self.core.end_move(*which, how, self.now)

    def node_leaves(self, node: Node) -> None:
        """Let a node say goodbye."""
        self.core.node_lost(node.peer, "it left", self.now)
        self._forget_node(node)

    def node_returns(self, node: Node | None, offers: dict[str, int], earlier: list[str]) -> None:
        """Let a node be lost, if one is named, and one come that has kept workers.

        These are those that work on a task, and others, of these pools, that began theirs before.
        """
        staying = [] if node is None else [w for w in node.workers if self._stays(w)]
        pools = {worker.name: self.roster.workers[worker.name].pool for worker in staying}
        if node is not None:
            for worker in staying:
                self._blur(worker)
                self.late += worker.outbox
                node.workers.remove(worker)
                worker.outbox = []
                worker.inbox.clear()
                worker.held.clear()
            self.node_leaves(node)
            self.perform()  # what was on its way to it is lost
        fresh = Node(self._peer(), sum(offers.values()))
        for pool in earlier:
            self._earlier += 1
            run, task_id = self._earlier, 1_000 + self._earlier
            self.runs[run] = task_id
            self.unclaimed.append(task_id)
            name = f"{pool}-{run}"
            self.workers[name] = Worker(name, fresh, running=run, began_last=run)
            staying.append(self.workers[name])
            pools[name] = pool
        for worker in staying:
            worker.node, worker.ready = fresh, False
        fresh.workers += staying
        keeps = [
            KeptByNode(w.name, pools[w.name], self.runs[w.running], w.running) for w in staying
        ]
        assert self.core.node_joined(fresh.peer, "node", "host", offers, self.now, keeps=keeps)
        self.nodes.append(fresh)

    def _stays(self, worker: Worker) -> bool:
        record = self.roster.workers.get(worker.name)
        there = record is not None and record.node.peer == worker.node.peer
        return there and worker.alive and bool(worker.running)

    def node_tells(self, node: Node) -> None:
        """Let a node's oldest word reach the broker."""
        name, run = node.exits.pop(0)
        if node.member:
            self.workers[name].last_words = []
            self.core.worker_exited(name, run, "signal 9", self.now)

    # -- workers ------------------------------------------------------------------------------

    def comes_up(self, worker: Worker) -> None:
        """Let a worker that was started say that it is ready."""
        worker.ready = True
        joined = self.core.worker_joined(self._peer(), worker.name, 1, self.now)
        if joined is None:  # its node was lost meanwhile, or it was given up
            self.dies(worker, says=True)

    def reads(self, worker: Worker) -> None:
        """Let a worker take in its next message."""
        worker.held.append(worker.inbox.popleft())

    def begins(self, worker: Worker) -> None:
        """Let a worker begin the next attempt, or give it back if it was recalled."""
        worker.began_last = worker.held.popleft()
        if worker.began_last in worker.recalled:
            worker.outbox.append(Word(worker.began_last, "returned"))
            return
        worker.running = worker.began_last
        self.books[self.runs[worker.running]].begun += 1
        at_work = self.core.runs.get(worker.running)
        if at_work is not None and at_work.rank >= 0:
            assert self.core.gang_opened(at_work, 2, b"") == (at_work.rank == 0)
        if worker.running in worker.doomed:
            self.dies(worker, says=True)

    def ends(self, worker: Worker, ended_as: ReportedAs, run_s: float) -> None:
        """Let a worker end its attempt."""
        worker.outbox.append(Word(worker.running, ended_as, run_s))
        worker.running, worker.hangs = 0, False

    def delivers(self, words: list[Word], place: int, repeat: bool) -> None:
        """Let one of these words reach the broker; ``repeat``: it will come again."""
        word = words[place]
        if not repeat:
            del words[place]
        expected = word.run in self.core.runs
        if word.ended_as == "not begun":
            assert self.core.not_begun(word.run, self.now) == expected
            return
        if word.ended_as == "returned":
            assert self.core.returned(word.run, self.now) == expected
            return
        if not expected and self._tells_early(word):
            return
        if expected and word.ended_as == "succeeded":
            self.succeeded.add(word.run)
        ended = self.now
        known = self.core.reported(
            word.run, word.ended_as, ended - word.run_s, ended, self.now, stored=word.stored
        )
        assert known == expected

    def _tells_early(self, word: Word) -> bool:
        """Let a word of an attempt reach the broker before the client of that is back."""
        assert word.ended_as not in ("not begun", "returned")
        there = [kept for kept in self.core.kept.values() if kept.run == word.run]
        worker = there[0].worker if there else None
        if worker is None or not worker.peer:
            return False
        success = word.ended_as == "succeeded"
        known = self.core.kept_run_ended(
            worker, word.run, word.ended_as, 0.0, self.now, self.now, b"", (), word.stored
        )
        assert known == success
        if success:
            self.waited.add(there[0].task_id)
        return True

    def moves(self, worker: Worker) -> list[str]:
        """Name what a worker may do next."""
        if not worker.ready:
            return ["comes_up"] if worker.alive else []
        can = {
            "reads": bool(worker.inbox),
            "begins": bool(worker.held) and not worker.running,
            "ends": bool(worker.running) and not worker.hangs,
            "delivers": bool(worker.outbox),
        }
        return [move for move, may in can.items() if may and worker.alive]

    def make(self, worker: Worker, move: str, ended_as: ReportedAs) -> None:
        """Let a worker make one of its moves."""
        match move:
            case "comes_up":
                self.comes_up(worker)
            case "reads":
                self.reads(worker)
            case "begins":
                self.begins(worker)
            case "ends":
                book = self.books.get(self.runs[worker.running])
                self.ends(worker, ended_as, RUN_S[book.record.type.spec.name] if book else 0.3)
            case _:
                self.delivers(worker.outbox, 0, repeat=False)

    def dies(self, worker: Worker, says: bool) -> None:
        """Let a worker's process end; ``says``: its node knows what it was at."""
        if not says:
            self._blur(worker)
        worker.node.exits.append((worker.name, worker.began_last if says else 0))
        self._dies(worker)

    # -- time ---------------------------------------------------------------------------------

    def tick(self, seconds: float, *, words_wait: bool = False) -> None:
        """Let time pass; whoever beats is heard."""
        self.now += seconds
        beating = [client.peer for client in self.clients if client.beats]
        beating += [node.peer for node in self.nodes if node.beats]
        for peer in beating:
            self.core.heard(peer, self.now)
        self.core.tick(self.now, words_wait=words_wait)

    # -- the broker's part ----------------------------------------------------------------------

    def decided(self) -> None:
        """Note what the core wants, to be carried out later."""
        fresh = self.core.take_events()
        self.events += fresh
        for event in fresh:
            if isinstance(event, TaskRetried):
                assert not self.books[event.task_id].drained
                self.books[event.task_id].retried[event.reason.partition(":")[0]] += 1

    def perform(self) -> None:
        """Carry out all that the core wanted so far."""
        for _ in range(10):
            orders = self.core.take_effects()
            for order in orders:
                self._perform(order)
            if not orders:
                return
        raise AssertionError("the core never stops giving orders")

    def _perform(self, order: Effect) -> None:  # noqa: C901 - one case for each effect
        match order:
            case DefineType(worker, kind):
                assert worker.name in self.workers, f"it is told of {kind} without being there"
            case SendTask(worker, record):
                assert record.type.type_id in worker.known_types
                self._send(worker.name, record)
            case UndefineTypes(worker, types):
                assert not {record.type.type_id for record in worker.in_hand} & set(types)
            case RecallTask(worker, run):
                self._recall(self.workers[worker.name], run)
            case AskToStop(worker, run):
                assert run in self.runs
            case Signal(worker, run, signal):
                self._signal(self.workers.get(worker.name), run, signal)
            case Start(node, started):
                self._start(node.peer, started.name)
            case Discard(node, name):
                there = self.workers[name]
                if there.alive and there.node.peer == node.peer:
                    self.dies(there, says=True)
            case Retire(worker):
                process = self.workers[worker.name]
                if process.alive:
                    self.dies(process, says=True)
            case TellMove(move, state, came, gone, _):
                self._hears_of(move, state, came, gone)
            case SendOrder(taker, number, _, _):
                assert number not in self.core.cluster.orders or taker in self.core.clients
            case TellOrder(client, request, _):
                self.ordered.discard((client, request))
            case TellNode(client, request, _, _) | TellPause(client, request, _):
                self.watching.discard((client, request))  # it may have left just now
            case Dismiss(peer, _):
                assert not any(
                    w.alive for node in self.nodes if node.peer == peer for w in node.workers
                )
                self._expel(peer)
            case Expel(peer, _):
                self._expel(peer)
            case Settle(record, ending):
                self._settle(record, ending)
            case Discard():
                raise AssertionError("no node of this model keeps workers")
            case TellPort(worker, run, port, _):
                assert (port, run in self.runs, worker.name in self.workers) == (2, True, True)
            case Grant() | FreeObjects() | ForgetCopies() | SweepObjects() | FetchCopies():
                pass
            case _:
                assert_never(order)

    def _hears_of(self, move: MoveRecord, state: str, came: list[str], gone: list[str]) -> None:
        if move.client != NOBODY:
            last = self.news[move.client, move.request]
            assert last != "ended"
            assert last != "granted" or (move.lease and state in ("granted", "returning", "ended"))
            self.news[move.client, move.request] = state
        there = self.there.setdefault(move.number, set())
        assert there.isdisjoint(came), "it is told twice that a worker came"
        assert there.issuperset(gone), "it is told that a worker went of which it never heard"
        there |= set(came)
        there -= set(gone)

    def _send(self, name: str, record: TaskRecord) -> None:
        assert record.run not in self.runs, "an attempt was sent twice"
        assert record.worker is not None
        assert record.worker.name == name
        self._fits_in_time(record, record.worker.node)
        needs = record.options.needs
        assert needs is None or record.worker.make.suffices_for(needs)
        assert self.core.runs[record.run] is record
        self.runs[record.run] = record.task_id
        self.workers[name].inbox.append(record.run)

    def _fits_in_time(self, record: TaskRecord, node: NodeRecord) -> None:
        """Assert that a task that was just sent would be done before its node is left."""
        assert record.sent is not None
        mean_s = record.type.mean_s
        # else the mean may be another by now, as that of a new type is once one was reported
        if (
            self.now == record.sent
            and not record.type.spec.code
            and not self._was_measured_since(record)
        ):
            bound_s = record.options.timeout_s or inf
            assert mean_s < 0 or record.sent + min(mean_s, bound_s) <= node.until

    def _was_measured_since(self, record: TaskRecord) -> bool:
        """Say whether a task of the same type ended after this one started, at the same time."""
        for event in reversed(self.events):
            if event.at < 1e9 + self.now:
                return False
            if isinstance(event, TaskStarted) and event.task_id == record.task_id:
                return False
            if isinstance(event, TaskEnded) and event.task_type == record.type.spec.name:
                return True
        return False

    def _recall(self, worker: Worker, run: int) -> None:
        """Let a node keep its worker from beginning an attempt, and say so if it can."""
        if worker.alive and worker.node.member and run > worker.began_last:
            worker.recalled.add(run)
            worker.node.answers.append(Word(run, "not begun"))

    def check_stopping(self) -> None:
        """Assert that whatever is to stop, and has begun, will be made to."""
        due = {(due, about) for _, due, about in self.core.cluster.deadlines}
        ordered = {effect.run for effect in self.core.cluster.effects if isinstance(effect, Signal)}
        for worker in self.roster.workers.values():
            if worker.in_hand and worker.in_hand[0].state == State.STOPPING:
                run = worker.in_hand[0].run
                to_come = ("term", run) in due or ("kill", run) in due
                assert to_come or run in self.killed or run in ordered

    def check_replaced(self) -> None:
        """Assert that each node has all its workers or will, unless some pool was given up."""
        if any(isinstance(event, PoolFailed) for event in self.events):
            return
        away = Counter(gone.node.peer for gone in self.core.cluster.to_replace.values())
        for node in self.nodes:
            if node.peer in self.core.nodes:
                record = self.core.nodes[node.peer]
                assert len(record.workers) + away[node.peer] + len(record.away) == node.offers

    def _signal(self, worker: Worker | None, run: int, signal: str) -> None:
        if signal == "kill":
            self.killed.add(run)
        if worker is None or not worker.alive or not worker.node.member:
            return
        if signal == "kill" and run in (0, worker.running):
            self.dies(worker, says=True)
        elif signal == "kill" and run > worker.began_last:
            worker.doomed.add(run)

    def _start(self, peer: int, name: str) -> None:
        for node in self.nodes:
            if node.peer == peer and node.member:
                worker = Worker(name, node)
                self.workers[name] = worker
                node.workers.append(worker)

    def _expel(self, peer: int) -> None:
        for client in self.clients:
            if client.peer == peer:
                self._forget_client(client)
        for node in self.nodes:
            if node.peer == peer:
                self._forget_node(node)

    def _settle(self, record: TaskRecord, ending: Ending) -> None:
        book = self.books[record.task_id]
        book.endings.append(ending)
        assert len(book.endings) == 1, "a task was settled twice"
        assert record.state == State.ENDED
        assert record.task_id not in self.tasks
        book.check(
            ending,
            told_of_success=self._was_told_of_success(record),
            client_left=record.client not in self.core.clients,
        )

    def _was_told_of_success(self, record: TaskRecord) -> bool:
        gang = record.options.gang
        if gang == 1:
            return record.run in self.succeeded or record.task_id in self.waited
        runs = [run for run, task_id in self.runs.items() if task_id == record.task_id]
        return len(runs) >= gang and self.succeeded.issuperset(runs[-gang:])

    def _peer(self) -> int:
        self._peers += 1
        return self._peers

    def _forget_client(self, client: Client) -> None:
        client.member = client.beats = False
        self.clients.remove(client)
        self.watching = {asked for asked in self.watching if asked[0] != client.peer}
        self.ordered = {given for given in self.ordered if given[0] != client.peer}
        if client.detached:
            self.away.append(client)

    def _forget_node(self, node: Node) -> None:
        node.member = node.beats = False
        self.nodes.remove(node)
        node.answers.clear()
        for worker in node.workers:
            self._blur(worker)
            self._dies(worker)

    def _blur(self, worker: Worker) -> None:
        """Note that the broker will not know what a worker began."""
        begun = [word.run for word in (*worker.outbox, *worker.last_words)]
        if worker.running and begun:  # what it runs is behind something it had not told of
            begun.append(worker.running)
        for run in begun:
            if (book := self.books.get(self.runs[run])) is not None:
                book.blurred = True

    def _dies(self, worker: Worker) -> None:
        self.late += worker.outbox
        worker.last_words, worker.outbox = worker.outbox, []
        worker.alive = False
