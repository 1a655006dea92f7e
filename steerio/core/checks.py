"""The checks of the core's invariants between any two facts, which can be made at any time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import inf

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.holdings import Holder
from steerio.core.invariants import Dues, must
from steerio.core.lifecycle import BUSY, RETIRING, STARTING, Phase, State
from steerio.core.pool_checks import (
    check_move,
    check_place,
    check_pool,
    check_queue,
    check_queues_of_moves,
)
from steerio.core.records import NodeRecord, WorkerRecord

AT_A_WORKER = (State.HELD, State.RUNNING, State.STOPPING)


def check(cluster: Cluster, now: float) -> None:
    """Look at every invariant of nodes, workers, pools, tasks, moves and objects.

    Raises:
        InvariantBroken: one of them does not hold.
    """
    dues = {(due, about) for _, due, about in cluster.deadlines}
    for order in cluster.orders.values():
        there = order.giver in cluster.clients and order.taker in cluster.taking
        must(there, "the giver and the campaign of an order are there", str(order))
    must(not cluster.to_assign and not cluster.to_feed, "all is given out", cluster)
    inside = Counter(worker.number for worker in cluster.inside.values())
    for worker in cluster.roster.workers.values():
        _check_worker(cluster, worker, dues)
        counted = worker.clients == inside[worker.number]
        must(counted, "a worker counts the clients that its task is", worker.name)
        check_place(cluster, worker)
    for pool in cluster.roster.pools.values():
        check_pool(cluster, pool)
        check_queue(cluster, pool, dues, now)
    _check_nodes(cluster)
    for node in cluster.roster.nodes.values():
        _check_draining(node, dues)
    for number, gone in cluster.to_replace.items():
        must(gone.phase is Phase.GONE, "a worker that is to be replaced is gone", gone.name)
        there = cluster.nodes.get(gone.node.peer) is gone.node
        must(there, "its node is there", gone.name)
        must((Due.REPLACE, number) in dues, "it will be replaced", gone.name)
    _check_kept(cluster, dues)
    _check_tasks(cluster)
    _check_types(cluster)
    for key, move in cluster.moves.items():
        check_move(cluster, key, move, dues)
    check_queues_of_moves(cluster, dues)
    _check_holdings(cluster)


def _check_worker(cluster: Cluster, worker: WorkerRecord, dues: Dues) -> None:
    """A worker is on one node, in one pool, and the tasks that it has in hand fit its phase."""
    name, in_hand = worker.name, worker.in_hand
    must(worker.node.workers.get(name) is worker, "a worker is on its node", name)
    must(worker.pool in cluster.roster.pools, "a worker's pool is there", name)
    must((worker.phase is BUSY) == bool(in_hand), "a worker with tasks in hand is busy", name)
    for place, record in enumerate(in_hand):
        task = record.task_id
        must(record.worker is worker, "a task in hand knows its worker", task)
        must(cluster.runs.get(record.run) is record, "a task in hand is among the runs", task)
        must(record.state in AT_A_WORKER, "a task in hand is at a worker", task)
        first = place == 0
        must(record.state != (State.HELD if first else State.RUNNING), "the first runs", task)
        must((record.reached is not None) == first, "just the first is reached", task)
        if first and record.state == State.RUNNING and record.options.timeout_s is not None:
            must((Due.TIMEOUT, record.run) in dues, "a task that may time out is looked at", task)
    must(all(a.run < b.run for a, b in pairwise(in_hand)), "runs are in order", name)
    looked_at = len(in_hand) < 2 or (Due.RECALL, 0) in dues
    must(looked_at, "a worker that holds tasks ahead is looked at", name)


def _check_nodes(cluster: Cluster) -> None:
    """Members, nodes and numbers speak of the same nodes and workers."""
    roster = cluster.roster
    by_name = {node.name: node for node in cluster.nodes.values()}
    must(by_name == roster.nodes, "members that are nodes are in the roster", cluster)
    on_nodes = sum(len(node.workers) for node in roster.nodes.values())
    must(on_nodes == len(roster.workers), "workers are on nodes that are there", cluster)
    numbered: dict[int, NodeRecord | WorkerRecord] = {
        node.number: node for node in roster.nodes.values()
    }
    numbered |= {worker.number: worker for worker in roster.workers.values()}
    must(numbered == roster.by_number, "nodes and workers are found by number", cluster)
    joined = {worker.peer: worker for worker in roster.workers.values() if worker.peer}
    must(joined == roster.by_peer, "workers are found by peer", cluster)
    put_off = {number for node in roster.nodes.values() for number in node.put_off}
    must(
        put_off == cluster.to_replace.keys(),
        "a node knows the workers that it replaces later",
        cluster,
    )


def _check_draining(node: NodeRecord, dues: Dues) -> None:
    """A draining node has only workers that are on their way out, and its end will come."""
    name, number = node.name, node.number
    left = bool(node.draining)
    ends = node.ends == inf or left or (Due.END, number) in dues
    must(ends, "a walltime's end will be seen", name)
    must(not node.overdue or left, "an overdue node is being left", name)
    must(node.drained == (left and not node.workers), "a node without workers is drained", name)
    if not left:
        quiet = not any((node.retires, node.away, node.watchers)) and node.drain_by == inf
        must(quiet, "a node that is not left is as it was", name)
        return
    over = not (node.drained and (node.retires or node.watchers))
    must(over, "a drained node has told of it", name)
    stops = node.drain_by == inf or node.overdue or (Due.DRAIN, number) in dues
    must(stops, "tasks that run there will be stopped", name)
    for worker in node.workers.values():
        phase = worker.phase in (STARTING, BUSY, RETIRING)
        must(phase, "no worker idles on a node that is left", worker.name)
        stopping = all(record.state == State.STOPPING for record in list(worker.in_hand)[:1])
        must(
            not node.overdue or stopping, "tasks on an overdue node are being stopped", worker.name
        )


def _check_tasks(cluster: Cluster) -> None:
    """A task is in ``runs`` exactly while a worker has it in hand, and never ``ENDED`` here."""
    in_hand = [r for worker in cluster.roster.workers.values() for r in worker.in_hand]
    runs = {record.run: record for record in in_hand}
    must(runs == cluster.runs and len(in_hand) == len(runs), "runs are in one hand", cluster)
    for record in in_hand:
        gang = cluster.gangs.get(record.task_id) if record.rank >= 0 else None
        there = cluster.tasks.get(record.task_id) is (record if gang is None else gang.task)
        must(there, "a task in hand has not ended", record.task_id)
    for task_id, record in cluster.tasks.items():
        must(record.task_id == task_id, "a task is found by its id", task_id)
        must(record.state != State.ENDED, "a task that is here has not ended", task_id)
        runs_here = cluster.runs.get(record.run) is record or task_id in cluster.gangs
        must((record.state in AT_A_WORKER) == runs_here, "a task at a worker runs", task_id)
        untouched = record.worker is None and record.reached is None
        must(runs_here or untouched, "a queued task has no worker", task_id)
        of_client = cluster.tasks_of.get(record.client, {})
        must(of_client.get(task_id) is record, "a task is found by its client", task_id)
    found = sum(map(len, cluster.tasks_of.values()))
    must(found == len(cluster.tasks), "no other is", cluster)
    _check_gangs(cluster)


def _check_gangs(cluster: Cluster) -> None:
    """A gang runs whole: none of it is missing before it is being stopped, or some have ended."""
    ranks = {run: record for run, record in cluster.runs.items() if record.rank >= 0}
    for task_id, gang in cluster.gangs.items():
        must(gang.task is cluster.tasks.get(task_id), "a gang has a task", task_id)
        must(bool(gang.ranks), "a gang has workers", task_id)
        must(gang.size == gang.task.options.gang, "a gang is as large as was asked", task_id)
        whole = len(gang.ranks) + gang.succeeded == gang.size
        must(whole or gang.task.state == State.STOPPING, "no part of a gang runs alone", task_id)
        for run, record in gang.ranks.items():
            must(ranks.pop(run, None) is record, "a gang knows its runs", task_id)
            alike = record.state == gang.task.state
            must(alike, "all of a gang run, or all are stopped", task_id)
    must(not ranks, "no other run is that of a gang", cluster)


def _check_kept(cluster: Cluster, dues: Dues) -> None:
    """A kept attempt is at a worker that has nothing else to do, or has ended; it is looked at."""
    for task_id, kept in cluster.kept.items():
        must(kept.task_id == task_id, "a kept attempt is found by its task", task_id)
        must((Due.KEPT, task_id) in dues, "its client is not waited for for ever", task_id)
        must((kept.worker is None) == (kept.ending is not None), "it has a worker", task_id)
        if kept.worker is not None:
            known = cluster.kept_by_worker.get(kept.worker) == task_id
            must(known, "its worker is known", task_id)
            must(not kept.worker.node.overdue, "its node is not to be drained by now", task_id)
            must(task_id not in cluster.tasks or not kept.worker.peer, "it is claimed", task_id)
    for worker in cluster.kept_by_worker:
        there = cluster.roster.workers.get(worker.name) is worker
        must(there and worker.phase is STARTING, "its worker waits for it", worker.name)


def _check_types(cluster: Cluster) -> None:
    """A task type is there while a client knows it or has a task of it."""
    known = Counter(
        kind.type_id for client in cluster.clients.values() for kind in client.types.values()
    )
    tasks = Counter(record.type.type_id for record in cluster.tasks.values())
    kinds = {kind.type_id: kind for kind in cluster.types}
    for number, kind in kinds.items():
        must(kind.tasks == tasks[number], "a task type counts its tasks", kind.spec.name)
        must(kind.clients >= known[number], "and the clients that know it", kind.spec.name)
        must(bool(kind.tasks or kind.clients), "no other is there", kind.spec.name)
        told = {w.name for w in cluster.roster.workers.values() if number in w.known_types}
        must({w.name for w in kind.told} == told, "its workers know it", kind.spec.name)
    for worker in cluster.roster.workers.values():
        known_here = worker.known_types.items() <= kinds.items()
        must(known_here, "a worker knows no other", worker.name)


def _check_holdings(cluster: Cluster) -> None:
    """Objects are held for tasks, versions and clients that are there, and for nothing else."""
    by_tasks: Counter[bytes] = Counter()
    for record in cluster.tasks.values():
        if record.inputs is not None:
            versions = record.versions or {}
            stored = [*record.inputs.all, *(version.stored for version in versions.values())]
            by_tasks.update(one.name for one in stored)
            latest = record.inputs.latest if record.state in AT_A_WORKER else ()
            must(set(versions) == set(latest), "an attempt has its versions", record.task_id)
    endings = [kept.ending for kept in cluster.kept.values() if kept.ending is not None]
    by_tasks.update(ending.stored.name for ending in endings if ending.stored is not None)
    firsts = [gang.first for gang in cluster.gangs.values() if gang.first is not None]
    by_tasks.update(ending.stored.name for ending in firsts if ending.stored is not None)
    newest: dict[Holder, Counter[bytes]] = {
        ("version", name): Counter([version.stored.name])
        for name, version in cluster.versions.newest.items()
    }
    ledgers: dict[Holder, Counter[bytes]] = {
        ("ledger", client.peer): Counter(stored.name for stored in client.results.values())
        for client in cluster.clients.values()
        if client.results
    }
    there = [peer for peer, client in cluster.clients.items() if not client.away]
    differs = cluster.holdings.differs(by_tasks, newest | ledgers, there)
    must(not differs, "just the objects that are needed are held", cluster.holdings)
