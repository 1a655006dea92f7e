"""What must hold of the core between any two steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import inf

from steerio.core.holdings import Holder
from steerio.core.lifecycle import State
from steerio.core.membership import Membership
from steerio.core.records import TypeRecord, WorkerRecord
from steerio.core.roster import READY, Pool
from steerio.model.events import AnyEvent, TaskEnded

Due = set[tuple[str, int]]
"""The deadlines that are still to come."""

AT_A_WORKER = (State.HELD, State.RUNNING, State.STOPPING)


def check(members: Membership, now: float) -> None:
    """Assert every invariant of nodes, workers, pools and tasks."""
    due = {(what, about) for _, _, what, about in members.dispatch.deadlines._heap}
    for worker in members.roster.workers.values():
        check_worker(members, worker, due)
    for pool in members.roster.pools.values():
        check_pool(members, pool, due, now)
    check_nodes(members)
    check_draining(members, due)
    check_replacements(members, due)
    check_tasks(members)
    check_moves(members, due)
    check_holdings(members)


def check_nodes(members: Membership) -> None:
    """Members, nodes and numbers speak of the same nodes and workers."""
    roster = members.roster
    assert {node.name: node for node in members.nodes.values()} == roster.nodes
    on_nodes = [worker for node in roster.nodes.values() for worker in node.workers.values()]
    assert len(on_nodes) == len(roster.workers)
    numbered = {node.number: node for node in roster.nodes.values()} | {
        worker.number: worker for worker in roster.workers.values()
    }
    assert numbered == roster.by_number


def check_draining(members: Membership, due: Due) -> None:
    """A draining node has only workers that are on their way out, and its end will come."""
    for node in members.roster.nodes.values():
        if node.ends < inf:
            assert node.draining or ("end", node.number) in due
        assert not node.overdue or node.draining
        assert node.drained == (bool(node.draining) and not node.workers)
        if not node.draining:
            assert not any((node.retires, node.away, node.watchers))
            assert node.drain_by == inf
            continue
        assert not (node.drained and (node.retires or node.watchers))
        assert node.drain_by == inf or node.overdue or ("drain", node.number) in due
        for worker in node.workers.values():
            assert worker.phase in ("starting", "busy", "retiring")
            if node.overdue and worker.in_hand:
                assert worker.in_hand[0].state == State.STOPPING


def check_replacements(members: Membership, due: Due) -> None:
    """Who is gone and to be replaced later was on a node that is there, and will be."""
    for number, gone in members._to_replace.items():
        assert gone.phase == "gone"
        assert members.nodes[gone.node.peer] is gone.node
        assert ("replace", number) in due


def check_worker(members: Membership, worker: WorkerRecord, due: Due) -> None:
    """A worker is on one node, in one pool, and what it has in hand fits its phase."""
    assert worker.node.workers[worker.name] is worker
    assert worker.pool in members.roster.pools
    assert (worker.phase == "busy") == bool(worker.in_hand), worker.phase
    for place, record in enumerate(worker.in_hand):
        assert record.worker is worker
        assert members.dispatch.runs[record.run] is record
        assert record.state in AT_A_WORKER
        if place == 0:
            assert record.state != State.HELD
            assert record.reached is not None
        else:
            assert record.state != State.RUNNING
            assert record.reached is None
    assert all(one.run < other.run for one, other in pairwise(worker.in_hand))
    for record in list(worker.in_hand)[:1]:
        if record.state == State.RUNNING and record.options.timeout_s is not None:
            assert ("timeout", record.run) in due


def check_pool(members: Membership, pool: Pool, due: Due, now: float) -> None:
    """A pool's counters are what counting gives, and no worker idles that fits a queued task."""
    workers = [w for w in members.roster.workers.values() if w.pool == pool.name]
    assert pool.workers == len(workers)
    assert pool.ready == sum(worker.phase in READY for worker in workers)
    assert pool.leaving == sum(bool(worker.node.draining) for worker in workers)
    ready = Counter(worker.make for worker in workers if worker.phase in READY)
    assert pool.makes_ready == ready
    assert pool.by_node == Counter(worker.node.name for worker in workers)
    assert pool.at_home == sum(w.home == pool.name for w in members.roster.workers.values())
    assert set(pool.idle) == {worker for worker in workers if worker.phase == "idle"}
    assert pool.running == sum(len(worker.in_hand) for worker in workers)
    assert len(pool.idle) == len(set(pool.idle))
    for record in pool.backlog:
        until = now + pool.backlog.takes_s(record)
        assert not pool.idle.fits(record.options.needs, until), (pool, record)
    away = [
        w for w in members.roster.workers.values() if pool.name == w.home and pool.name != w.pool
    ]
    makes = [w.make for w in workers] + [w.node.make(pool.name) for w in away]
    assert pool.makes == Counter(makes)
    assert not pool.backlog.needs or ("unfit", 0) in due
    assert not (pool.failure and pool.backlog), pool
    if pool.backlog and not pool.running and pool.workers == pool.ready and not pool.moves:
        assert ("stalled", 0) in due
    queued = [
        record
        for record in members.dispatch.tasks.values()
        if record.state == State.QUEUED and record.pool == pool.name
    ]
    assert len(pool.backlog) == len(queued)
    assert {record.task_id for record in pool.backlog} == {record.task_id for record in queued}
    if pool.workers or not members.roster.closed:
        assert pool.empty_since is None
    elif pool.backlog or not pool.may_be_empty:
        assert pool.empty_since is not None
    assert pool.empty_since is None or pool.failure or ("empty", 0) in due
    load = pool.load()
    assert (load.workers - load.starting, load.idle) == (pool.ready, len(pool.idle))
    assert (load.queued, load.running) == (len(queued), pool.running)
    assert load.fitting(None) == ready


def check_moves(members: Membership, due: Due) -> None:
    """Every worker is where some move or nothing has put it, and every move can end."""
    roster, moves = members.roster, members.moves
    for worker in roster.workers.values():
        assert worker.home in roster.pools
        assert (worker.phase == "reserved") == bool(worker.move and worker in worker.move.reserved)
        if worker.move is None:
            assert worker.pool == worker.home
            assert not worker.goes_home
        elif worker.phase == "reserved":
            assert worker.pool == worker.home == worker.move.source
        else:
            assert worker in worker.move.taken
            assert (worker.pool, worker.home) == (worker.move.target, worker.move.source)
            assert worker.goes_home == (worker.move.state == "returning")
            assert not (worker.goes_home and worker.phase == "idle")
    for (client, request), move in moves.asked.items():
        assert (move.client, move.request) == (client, request)
        assert client in members.clients or move.state == "returning"
        assert (move.state == "waiting") == (move in roster.pools[move.source].moves)
        assert move.state in ("waiting", "granted", "returning")
        assert move.state != "granted" or move.lease
        assert move.state != "waiting" or move.owed > 0
        assert move.state != "returning" or move.taken
        if move.state == "waiting" and move.count > moves._to_give(move):
            assert ("short", move.number) in due
        assert not move.reserved or (move.together and move.state == "waiting")
        for worker in [*move.taken, *move.reserved]:
            assert worker.move is move
            assert roster.workers[worker.name] is worker
    if any(move.holds and move.blocked for move in moves.asked.values()):
        assert ("deadlock", 0) in due
    waiting = [move for move in moves.asked.values() if move.state == "waiting"]
    for pool in roster.pools.values():
        assert pool.coming == sum(move.target == pool.name for move in waiting)
        assert len(pool.moves) == sum(move.source == pool.name for move in waiting)
        assert not pool.moves or all(worker.home != pool.name for worker in pool.idle)


def check_tasks(members: Membership) -> None:
    """A task is in ``runs`` exactly while a worker has it in hand, and never ``ENDED`` here."""
    dispatch = members.dispatch
    in_hand = [r for worker in members.roster.workers.values() for r in worker.in_hand]
    assert {record.run: record for record in in_hand} == dispatch.runs
    assert len(in_hand) == len(dispatch.runs)
    for task_id, record in dispatch.tasks.items():
        assert record.task_id == task_id
        assert record.state != State.ENDED
        assert (record.state in AT_A_WORKER) == (dispatch.runs.get(record.run) is record)
        if record.state == State.QUEUED:
            assert record.worker is None
            assert record.reached is None
    assert all(dispatch.tasks[record.task_id] is record for record in in_hand)


def check_types(members: Membership, always: Iterable[TypeRecord]) -> None:
    """A task type is there just while somebody knows it or has a task of it."""
    dispatch = members.dispatch
    known = Counter(kind.type_id for kind in always)
    for client in members.clients.values():
        known.update(kind.type_id for kind in client.types.values())
    tasks = Counter(record.type.type_id for record in dispatch.tasks.values())
    kinds = {kind.type_id: kind for kind in dispatch.types}
    assert kinds.keys() == known.keys() | tasks.keys()
    for number, kind in kinds.items():
        assert (kind.clients, kind.tasks) == (known[number], tasks[number])
    for worker in members.roster.workers.values():
        assert worker.known_types <= kinds.keys()


def check_holdings(members: Membership) -> None:
    """What is held is what tasks, versions and clients that are there need, and nothing else."""
    dispatch = members.dispatch
    by_tasks: Counter[bytes] = Counter()
    for record in dispatch.tasks.values():
        if record.inputs is not None:
            stored = [*record.inputs.all, *(v.stored for v in (record.versions or {}).values())]
            by_tasks.update(each.name for each in stored)
            latest = record.inputs.latest if record.state in AT_A_WORKER else ()
            assert set(record.versions or ()) == set(latest)
    newest: dict[Holder, Counter[bytes]] = {
        ("version", name): Counter([version.stored.name])
        for name, version in dispatch.versions.newest.items()
    }
    holdings = dispatch.holdings
    held = {holder: Counter(names) for holder, names in holdings._holds.items()}
    of_clients = {holder: held[holder] for holder in held if holder[0] == "client"}
    assert {who for _, who in of_clients} <= members.clients.keys() == holdings._clients
    assert held == newest | of_clients
    assert holdings._tasks == by_tasks
    assert holdings._others == sum(held.values(), Counter[bytes]())
    assert holdings.sizes.keys() == holdings._tasks.keys() | holdings._others.keys()
    assert not holdings.freed.keys() & holdings.sizes.keys(), "what is freed is not held"


def check_events(events: list[AnyEvent]) -> None:
    """Numbers rise by one from 1, and no task ended twice."""
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    ended = Counter(event.task_id for event in events if isinstance(event, TaskEnded))
    assert all(times == 1 for times in ended.values()), ended
