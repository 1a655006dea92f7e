"""No fact costs work for others than those that it is about, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest

from steerio.core.core import Core
from steerio.core.effects import (
    FetchCopies,
    ForgetCopies,
    RecallTask,
    SendTask,
    TellMove,
    UndefineTypes,
)
from steerio.core.heads import Want
from steerio.core.idle import IdleWorkers
from steerio.core.newest_versions import VersionWaiter
from steerio.core.pool_queue import PoolQueue
from steerio.core.records import NodeRecord, TaskRecord, TypeRecord, WorkerRecord
from steerio.model.events import PoolChanged
from steerio.model.objects import Inputs, StoredObject
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec
from tests.core.counting import Visited, calls, growth

LINEAR = 2.3
"""Most that work for twice as many may be; it would be 4 if each looked at all the others."""
CONSTANT = 1.3
"""Most that work may grow if twice as many others are there."""
CLIENT, OTHER = 1, 2
SETTINGS = Settings(join_s=8.0, hold_s=0.05, held_s=0.001, held=32, recall_s=0.1)


class Crowd:
    """A core with nodes and workers, whose state is checked when a test asks for it."""

    def __init__(self, nodes: int = 0, per_node: int = 1, *, copies: bool = False) -> None:
        fetch_ahead_bytes = 1_000_000 if copies else 0
        pools = ["simulate", "learn"]
        self.core = Core(SETTINGS, pools, closed=False, fetch_ahead_bytes=fetch_ahead_bytes)
        self.cluster = self.core.cluster
        self.now = 0.0
        self.peers = 1_000
        self.submitted = 0
        self.core.client_joined(CLIENT, "client", watched=False, now=0.0)
        self.core.define(CLIENT, 1, TaskSpec("energy", "simulate"))
        self.type: TypeRecord = self.core.clients[CLIENT].types[1]
        for _ in range(nodes):
            self.node(per_node)
        self.core.take_effects()

    def node(self, workers: int, make: WorkerNeeds | None = None) -> NodeRecord:
        """Let a node join with workers that are ready."""
        makes = {"simulate": make} if make is not None else None
        peer, self.peers = self.peers, self.peers + 1
        node = self.core.node_joined(
            peer, "node", "host", {"simulate": workers}, self.now, None, makes
        )
        assert node is not None
        for worker in list(node.workers.values()):
            self.peers += 1
            assert self.core.worker_joined(self.peers, worker.name, 1, self.now)
        return node

    def submit(self, count: int, client: int = CLIENT, **options: Any) -> list[TaskRecord]:
        """Submit tasks with these options."""
        return [self.submit_one(TaskOptions(**options), client) for _ in range(count)]

    def submit_one(
        self, options: TaskOptions | None = None, client: int = CLIENT, inputs: Inputs | None = None
    ) -> TaskRecord:
        """Submit one task."""
        self.submitted += 1
        number = self.submitted
        options = options or TaskOptions()
        record = TaskRecord(
            number, client, self.type, b"", (), options, 0.0, 0.0, number, options.priority
        )
        record.inputs = inputs
        assert self.core.submit(record, self.now)
        return record

    def report(self, record: TaskRecord, run_s: float = 60.0) -> None:
        """Let a task's worker report its success."""
        assert self.core.reported(record.run, "succeeded", self.now - run_s, self.now, self.now)

    def finish(self, work: Callable[[], object]) -> Callable[[], object]:
        """Return work with the taking of its effects, as a broker does it once a step."""

        def all_of_it() -> None:
            work()
            self.core.take_effects()
            self.core.take_events()

        self.core.take_effects()
        self.core.take_events()
        return all_of_it


# -- losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_node", [1, 10])
def test_the_loss_of_many_nodes_at_once_is_work_for_each_worker_once(per_node: int) -> None:
    def prepared(nodes: int) -> Callable[[], object]:
        crowd = Crowd(nodes, per_node)
        crowd.submit(2 * nodes * per_node)
        now = crowd.now + SETTINGS.lease_s
        return crowd.finish(lambda: crowd.core.tick(now))

    assert growth(prepared) < LINEAR


def test_nodes_that_are_lost_together_are_not_given_each_others_tasks() -> None:
    crowd = Crowd(8, per_node=2)
    tasks = crowd.submit(8, retries=TaskOptions().retries)
    crowd.core.take_effects()
    crowd.core.tick(SETTINGS.lease_s)
    crowd.core.check(SETTINGS.lease_s)
    assert not crowd.core.workers
    assert {(task.attempt, task.losses) for task in tasks} == {(1, 1)}
    assert not [e for e in crowd.core.take_effects() if isinstance(e, SendTask)]


def test_a_pool_says_once_how_many_workers_it_has_left_after_the_loss_of_a_node() -> None:
    crowd = Crowd(2, per_node=20)
    crowd.core.take_events()
    (first, _) = crowd.core.nodes
    crowd.core.node_lost(first, "power", 0.0)
    changes = [event for event in crowd.core.take_events() if isinstance(event, PoolChanged)]
    assert [(event.pool, event.workers) for event in changes] == [("simulate", 20)]


def test_workers_that_exit_one_by_one_in_one_step_are_work_for_each_once() -> None:
    def prepared(workers: int) -> Callable[[], object]:
        crowd = Crowd(1, workers)
        crowd.submit(2 * workers)
        names = list(crowd.core.workers)

        def all_exit() -> None:
            for name in names:
                crowd.core.worker_exited(name, 0, "signal 9", crowd.now)

        return crowd.finish(all_exit)

    assert growth(prepared) < LINEAR


def test_a_node_that_is_lost_costs_nothing_for_workers_that_others_replace_later() -> None:
    crowd = Crowd(2, per_node=20)
    core, cluster = crowd.core, crowd.cluster
    (kept, lost) = core.nodes.values()
    for _ in range(SETTINGS.start_failures):
        for node in (kept, lost):
            for name in list(node.workers):
                core.worker_exited(name, 0, "no module", crowd.now)
    of_lost = len(lost.put_off)
    assert min(of_lost, len(kept.put_off)) > 10
    cluster.to_replace = there = Visited(cluster.to_replace)
    core.node_lost(lost.peer, "power", crowd.now)
    assert there.visits == 0
    assert cluster.to_replace.keys() == kept.put_off.keys()
    core.check(crowd.now)


def test_who_cannot_be_read_is_found_without_a_look_at_others() -> None:
    crowd = Crowd(1, 20)
    roster = crowd.cluster.roster
    worker = next(iter(roster.workers.values()))
    roster.workers = there = Visited(roster.workers)
    crowd.core.unreadable(worker.peer, "noise", crowd.now)
    assert worker.broken == "noise"
    assert there.visits == 0


# -- clients ------------------------------------------------------------------------------------


def test_a_client_leaves_without_a_look_at_the_tasks_and_moves_of_others() -> None:
    crowd = Crowd(1, 2)
    core, cluster = crowd.core, crowd.cluster
    core.client_joined(OTHER, "other", watched=False, now=0.0)
    kept = crowd.submit(20)
    gone = crowd.submit(3, client=OTHER)
    assert not core.ask_move(CLIENT, 1, "simulate", "learn", 1, 0.0)
    assert not core.ask_move(OTHER, 1, "simulate", "learn", 1, 0.0)
    cluster.tasks = tasks = Visited(cluster.tasks)
    cluster.moves = moves = Visited(cluster.moves)
    core.client_left(OTHER, "it left", crowd.now)
    assert (tasks.visits, moves.visits) == (0, 0)
    assert [core.tasks.get(task.task_id) for task in gone] == [None] * 3
    assert list(core.tasks_of(CLIENT)) == kept
    assert list(core.tasks_of(OTHER)) == []
    assert list(core.moves) == [(CLIENT, 1)]
    core.check(crowd.now)


def test_many_clients_that_wait_for_a_version_leave_for_the_work_of_one_each() -> None:
    stored = StoredObject(b"model", 10)

    def prepared(clients: int) -> Callable[[], object]:
        crowd = Crowd()
        peers = range(10, 10 + clients)
        for peer in peers:
            crowd.core.client_joined(peer, "client", watched=False, now=0.0)
            for after in range(3):
                crowd.core.ask_version("model", VersionWaiter(peer, after, after))
                crowd.core.ask_version(f"model of {peer}", VersionWaiter(peer, after, 0))
        crowd.core.publish_version("model", stored, "trainer", 0.0)

        def all_leave() -> None:
            for peer in peers:
                crowd.core.client_left(peer, "it left", 0.0)
            assert not crowd.cluster.versions._waiting

        return crowd.finish(all_leave)

    assert growth(prepared) < LINEAR


def test_the_cancelling_of_many_tasks_is_work_for_each_once() -> None:
    def prepared(tasks: int) -> Callable[[], object]:
        crowd = Crowd(1, 1)
        numbers = [task.task_id for task in crowd.submit(tasks)]

        def cancel_all() -> None:
            for number in numbers:
                crowd.core.cancel(number, "unwanted", 0.0)

        return crowd.finish(cancel_all)

    assert growth(prepared, 200) < LINEAR


def test_a_task_type_is_forgotten_by_the_workers_that_were_told_of_it_and_no_other_is_asked() -> (
    None
):
    crowd = Crowd(20, 1)
    roster = crowd.cluster.roster
    (task,) = crowd.submit(1)
    told = task.worker
    assert told is not None
    crowd.report(task)
    roster.workers = there = Visited(roster.workers)
    crowd.core.take_effects()
    crowd.core.forget_types(CLIENT, [1])
    orders = [e for e in crowd.core.take_effects() if isinstance(e, UndefineTypes)]
    assert [(order.worker, order.types) for order in orders] == [(told, [crowd.type.type_id])]
    assert there.visits == 0


def test_events_that_a_late_subscriber_missed_are_found_from_their_end() -> None:
    crowd = Crowd(1, 1)
    for number in range(50):
        crowd.core.published("topic", number, "client", 0.0)
    crowd.core.take_events()
    count = crowd.core.event_count
    missed, kept = crowd.core.events_after(count - 3)
    assert (missed, [event.number for event in kept]) == (0, [count - 2, count - 1, count])
    assert crowd.core.events_after(count) == (0, [])
    assert len(crowd.core.events_after(0)[1]) == count


def test_nodes_of_one_name_are_told_apart_for_the_work_of_one_each() -> None:
    crowd = Crowd()
    crowd.cluster.roster.nodes = there = Visited({})
    for _ in range(50):
        crowd.node(0)
    assert list(there)[:3] == ["node", "node~2", "node~3"]
    assert len(there) == 50
    assert there.looks <= 2 * 50


# -- moves --------------------------------------------------------------------------------------


def test_each_worker_that_a_move_takes_is_named_once() -> None:
    crowd = Crowd(1, 50)
    tasks = crowd.submit(50)
    assert not crowd.core.ask_move(CLIENT, 1, "simulate", "learn", 40, 0.0)
    for task in tasks:
        crowd.report(task)
    told = [effect for effect in crowd.core.take_effects() if isinstance(effect, TellMove)]
    assert told[-1].state == "granted"
    named = [name for effect in told for name in effect.came]
    assert len(named) == len(set(named)) == 40
    assert not any(effect.gone for effect in told)


def test_a_worker_that_came_and_went_between_two_news_of_a_move_is_not_named() -> None:
    crowd = Crowd(2, 1)
    tasks = crowd.submit(2)
    core = crowd.core
    assert not core.ask_move(CLIENT, 1, "simulate", "learn", 2, 0.0, lease=True)
    crowd.report(tasks[0])
    (move,) = core.moves.values()
    (lent,) = move.taken
    core.take_effects()
    core.worker_exited(lent.name, 0, "signal 9", 0.0)
    (fresh,) = move.taken
    core.worker_exited(fresh.name, 0, "signal 9", 0.0)
    crowd.report(tasks[1])
    (told,) = [effect for effect in core.take_effects() if isinstance(effect, TellMove)]
    there = [worker.name for worker in move.taken]
    assert sorted(told.came) == sorted(there)
    assert told.gone == [lent.name], "of the one that took its place the client has not heard"


class WatchedIdle(IdleWorkers):
    """Idle workers that count how many of them somebody goes through."""

    seen = 0

    def __iter__(self) -> Iterator[WorkerRecord]:
        for worker in super().__iter__():
            self.seen += 1
            yield worker


def test_a_move_looks_at_no_more_idle_workers_than_it_wants() -> None:
    crowd = Crowd()
    crowd.core.pools["simulate"].idle = idle = WatchedIdle()
    crowd.node(20)
    assert not crowd.core.ask_move(CLIENT, 1, "simulate", "learn", 3, crowd.now)
    assert (len(idle), idle.seen) == (17, 3)
    crowd.core.check(crowd.now)


def test_a_move_is_asked_for_with_one_look_at_those_that_wait() -> None:
    def prepared(moves: int) -> Callable[[], object]:
        crowd = Crowd(1, moves + 1)
        crowd.submit(moves + 1)
        for request in range(moves):
            assert not crowd.core.ask_move(CLIENT, request, "simulate", "learn", 1, 0.0)
        return crowd.finish(lambda: crowd.core.ask_move(CLIENT, -1, "simulate", "learn", 1, 0.0))

    assert growth(prepared) < LINEAR


def test_held_tasks_are_recalled_once_for_all_moves_that_wait() -> None:
    crowd = Crowd(1, 1)
    crowd.type.mean_s = 1e-5
    (first,) = crowd.submit(1)
    crowd.submit(4)
    crowd.report(first, run_s=1e-5)
    crowd.core.take_effects()
    recalled: list[int] = []
    for request in (1, 2):
        crowd.core.ask_move(CLIENT, request, "simulate", "learn", 1, 0.0, lease=True)
        effects = crowd.core.take_effects()
        recalled.append(sum(isinstance(effect, RecallTask) for effect in effects))
    assert recalled == [3, 0]


# -- freed objects ------------------------------------------------------------------------------


def test_just_the_nodes_that_may_have_a_copy_are_told_that_an_object_is_freed() -> None:
    crowd = Crowd(10, 1, copies=True)
    mesh = StoredObject(b"mesh", 10)
    task = crowd.submit_one(inputs=Inputs(None, (mesh,)))
    assert task.worker is not None
    node = task.worker.node
    crowd.report(task)
    told = [effect for effect in crowd.core.take_effects() if isinstance(effect, ForgetCopies)]
    assert told == [ForgetCopies(node, [b"mesh"])]


def test_a_node_that_is_gone_is_not_told_that_objects_are_freed() -> None:
    crowd = Crowd(1, 1, copies=True)
    crowd.submit(1)
    mesh = StoredObject(b"mesh", 10)
    waiting = crowd.submit_one(inputs=Inputs(None, (mesh,)))
    (node,) = crowd.core.nodes.values()
    effects = crowd.core.take_effects()
    assert FetchCopies(node, [mesh]) in effects
    crowd.core.node_lost(node.peer, "power", 0.0)
    crowd.core.cancel(waiting.task_id, "unwanted", 0.0)
    assert not [effect for effect in crowd.core.take_effects() if isinstance(effect, ForgetCopies)]


# -- tasks with needs ---------------------------------------------------------------------------


def needs(number: int) -> WorkerNeeds:
    """Return one of many different needs."""
    return WorkerNeeds(memory_bytes=2**30 + number)


def queue_of(sorts: int) -> tuple[PoolQueue, list[TaskRecord]]:
    """Return a queue with two tasks for each of so many needs, and these."""
    crowd = Crowd()
    records = [
        crowd.submit_one(TaskOptions(needs=needs(number % sorts), priority=number % 7))
        for number in range(2 * sorts)
    ]
    return crowd.core.pools["simulate"].backlog, records


def test_the_best_task_is_found_without_a_look_at_all_needs() -> None:
    large, small = WorkerNeeds(memory_bytes=2**40), WorkerNeeds(memory_bytes=2**30 + 10)

    def prepared(sorts: int) -> Callable[[], object]:
        queue, _ = queue_of(sorts)
        for make in (large, small):
            queue.peek(make)  # it is the first look of such a worker that goes through all

        def decide() -> None:
            for make in (large, small) * 5:
                assert queue.pop(make) is not None

        return decide

    assert growth(prepared, 200) < CONSTANT


@pytest.mark.parametrize("make", [None, WorkerNeeds(memory_bytes=2**40), needs(15)])
def test_tasks_of_many_needs_go_in_order_of_their_rank(make: WorkerNeeds | None) -> None:
    queue, records = queue_of(30)
    queue.peek(make)
    changes = [(record, 10.0 - number) for number, record in enumerate(records) if number % 3]
    queue.reprioritise(changes)
    for record in records[::5]:
        record.state = -1
        queue.forget(record)
    left = [
        record
        for number, record in enumerate(records)
        if number % 5 and (make is None or make.suffices_for(needs(number % 30)))
    ]
    taken: list[TaskRecord] = []
    while (best := queue.pop(make)) is not None:
        best.state = -1
        taken.append(best)
    assert taken == sorted(left, key=lambda record: (-record.priority, record.order))
    assert len(queue) == len(records[1::5] * 4) - len(taken)


@pytest.mark.parametrize("first", [0, 1])
def test_tasks_of_types_that_are_told_apart_go_in_order_of_their_rank(first: int) -> None:
    crowd = Crowd()
    queue, make = PoolQueue("simulate", timed=True), WorkerNeeds(memory_bytes=2**40)
    records = [crowd.submit_one() for _ in range(2)]
    for number in (first, 1 - first):
        records[number].type = TypeRecord(10 + number, TaskSpec(f"task-{number}", "simulate"))
        queue.push(records[number])
    assert [queue.pop(make), queue.pop(make), queue.pop(make)] == [*records, None]


def test_what_a_make_of_workers_remembers_is_bounded_by_what_is_queued() -> None:
    crowd = Crowd()
    queue = crowd.core.pools["simulate"].backlog
    make = WorkerNeeds(memory_bytes=2**40)
    crowd.submit_one(TaskOptions(needs=needs(0)))
    queue.peek(make)
    for number in range(1, 500):
        crowd.submit_one(TaskOptions(needs=needs(number)))
        crowd.core.cancel(crowd.submitted, "unwanted", 0.0)
    heads = queue._heads.get(make)
    assert heads is None or heads._entries < 100
    assert queue.pop(make) is not None
    assert repr(queue._heads[make]) == f"<Heads of 1 queues for {make}>"
    assert queue.pop(make) is None
    queue.forget_make(make)
    assert not queue._heads


def test_all_tasks_of_some_needs_are_taken_out_and_others_stay() -> None:
    queue, records = queue_of(4)
    wants = [Want(needs(1), 1), Want(needs(3), 1)]
    assert queue.take_all(wants) == [records[i] for i in (5, 1, 3, 7)]
    assert len(queue) == 4
    assert set(queue.wants) == {Want(needs(0), 1), Want(needs(2), 1)}


def test_tasks_that_fit_no_worker_are_given_up_with_one_look_at_the_queue() -> None:
    def prepared(sorts: int) -> Callable[[], object]:
        crowd = Crowd()
        for number in range(sorts):
            crowd.submit_one(TaskOptions(needs=needs(number)))
        crowd.node(1, make=WorkerNeeds(memory_bytes=2**29))

        def give_up() -> None:
            for part in range(10):
                crowd.core.tick(SETTINGS.join_s * part / 5)
            assert not crowd.core.tasks

        return crowd.finish(give_up)

    assert growth(prepared) < LINEAR


def test_an_idle_worker_of_another_kind_is_placed_without_sorting_all_kinds() -> None:
    def prepared(kinds: int) -> Callable[[], object]:
        idle = IdleWorkers()
        node = NodeRecord("n", "host", 1, 0.0)
        workers = [
            WorkerRecord(f"w{number}", "simulate", node, make=needs(number))
            for number in range(kinds)
        ]
        for worker in workers:
            idle.add(worker)
        others = [WorkerRecord(f"x{n}", "simulate", node, make=WorkerNeeds(cpus=n)) for n in (2, 3)]

        def come_and_go() -> None:
            for other in others * 10:
                idle.add(other)
                assert idle.take_of(other.make, inf) is other

        assert [worker.name for worker in idle] == [worker.name for worker in workers]
        return come_and_go

    assert growth(prepared) < CONSTANT


def test_kinds_of_workers_that_idle_no_more_are_forgotten() -> None:
    idle = IdleWorkers()
    node = NodeRecord("n", "host", 1, 0.0)
    for number in range(200):
        worker = WorkerRecord(f"w{number}", "simulate", node, make=needs(number))
        idle.add(worker)
        assert idle.take(None, 0.0, 0.0) is worker
    assert len(idle._groups) == len(idle._in_order) < 50


def test_calls_are_counted() -> None:
    assert calls(lambda: [len(()) for _ in range(10)]) >= 10


def test_a_task_that_comes_back_to_its_pool_waits_there_once() -> None:
    crowd = Crowd()
    queue, make = crowd.core.pools["simulate"].backlog, WorkerNeeds(memory_bytes=2**40)
    task = crowd.submit_one(TaskOptions(needs=needs(1)))
    for _ in range(2):
        assert queue.peek(make) is task
        for pool in ("learn", "simulate"):
            assert crowd.core.reassign([task.task_id], pool, 0.0) == 1
    assert queue.pop(make) is task
    task.state = -1
    assert (queue.pop(make), len(queue)) == (None, 0)


def test_a_task_that_came_back_to_its_pool_is_given_up_once() -> None:
    crowd = Crowd()
    queue = crowd.core.pools["simulate"].backlog
    task, other = (crowd.submit_one(TaskOptions(needs=needs(1))) for _ in range(2))
    for pool in ("learn", "simulate"):
        assert crowd.core.reassign([task.task_id], pool, 0.0) == 1
    assert queue.take_all([Want(needs(1), 1)]) == [task, other]
    assert (len(queue), queue.wants) == (0, [])
