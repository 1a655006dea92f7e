"""Accounts: a node says what it knows of its workers, because messages about them were lost.

Messages arrive in the order in which they were sent, so a count shows that some are lost, and an
account shows which: attempts of which a worker was never told, and attempts that have ended without
a word.  Nothing else has to be given up: the other tasks go on.
"""

from __future__ import annotations

from collections.abc import Mapping

from steerio.core import gangs
from steerio.core.attempts import lose, settle_stopped, take_back
from steerio.core.cluster import Cluster
from steerio.core.lifecycle import RETIRING, STARTING, State
from steerio.core.records import Accounted, TaskRecord, WorkerRecord
from steerio.core.worker_life import break_off, worker_exited

UNKNOWN = "its node does not know of it any more"
"""The reason for which a worker is over whose end was told in a word that was lost."""
NO_WORD = "the word on how it ended was lost on its way"
ITEMS = "items of its task, or the leave to yield more, were lost on their way"

PORT = "the port of its gang may have been lost on the way"


def take(
    cluster: Cluster,
    peer: int,
    heard: float,
    workers: Mapping[str, Accounted],
    now: float,
    *,
    orders_lost: bool,
) -> None:
    """Take in the account of a node; see `Core.accounted`."""
    node = cluster.nodes.get(peer)
    if node is None:
        return
    for worker in list(node.workers.values()):
        if worker.phase is STARTING:  # the order to start it may be on its way; it has a deadline
            continue
        its = workers.get(worker.name)
        if its is None:
            worker_exited(cluster, worker.name, 0, UNKNOWN, now)
        elif (orders_lost or its.words_lost) and worker.phase is not RETIRING and not worker.broken:
            _compare(cluster, worker, its, heard, now, orders_lost)


def _compare(
    cluster: Cluster,
    worker: WorkerRecord,
    its: Accounted,
    heard: float,
    now: float,
    orders_lost: bool,
) -> None:
    """Queue tasks again of which a worker was not told; give up those that it ended unheard."""
    if orders_lost:  # the types of tasks may be among them
        worker.forget_types()
    changed = False
    for record in list(worker.in_hand):
        if record.run in its.runs or record.sent is None or record.sent >= heard:
            continue
        ended = its.words_lost and record.run <= its.ended
        if ended or orders_lost:
            changed = True
            _take_out(cluster, worker, record)
            if record.rank >= 0:
                _of_gang(cluster, worker, record, now, ended)
            elif ended:
                _give_up(cluster, worker, record, now)
            else:
                take_back(cluster, record, now)
    if worker.in_hand and worker.in_hand[0].type.spec.kind == "generator":
        break_off(cluster, worker, ITEMS, now)
    elif worker.in_hand and worker.in_hand[0].rank >= 0:
        break_off(cluster, worker, PORT, now)
    elif changed:
        cluster.to_assign.append(worker)


def _take_out(cluster: Cluster, worker: WorkerRecord, record: TaskRecord) -> None:
    del cluster.runs[record.run]
    worker.in_hand.remove(record)


def _of_gang(
    cluster: Cluster, worker: WorkerRecord, record: TaskRecord, now: float, ended: bool
) -> None:
    if ended:
        cluster.roster.pools[worker.pool].running -= 1
        gangs.lost(cluster, record, NO_WORD, False, now)
    else:
        gangs.came_back(cluster, record, now)


def _give_up(cluster: Cluster, worker: WorkerRecord, record: TaskRecord, now: float) -> None:
    """Retry or settle a task whose attempt has ended, it is not known how."""
    cluster.roster.pools[worker.pool].running -= 1
    if record.state == State.STOPPING:
        settle_stopped(cluster, record, now)
    else:
        lose(cluster, record, NO_WORD, False, now)
