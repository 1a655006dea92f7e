"""A step of the broker takes in so many messages and no more, and each peer has its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from steerio.broker.broker import Broker
from steerio.broker.inbox import MESSAGES_PER_STEP, TURN
from steerio.edge.wire.cutting import BATCH_MESSAGES
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.model.tasks import CLIENT_BITS, TaskOptions, TaskSpec, task_id

M = TypeVar("M")


class BatchRouter(MemoryRouter):
    """A router at which whole batches arrive, as they do over a wire."""

    local = False

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[bytes, deque[Arrival]] = {}
        """The batches of each peer, which are received in turn, as by ZeroMQ."""
        self.received = 0

    def arrive(self, link: MemoryLink, *messages: Any, fault: str = "") -> None:
        """Let messages arrive in batches as peers make them."""
        waiting = self.batches.setdefault(link._identity, deque())
        for start in range(0, max(1, len(messages)), BATCH_MESSAGES):
            pairs = [(message, ()) for message in messages[start : start + BATCH_MESSAGES]]
            waiting.append(Arrival(link._identity, pairs, fault))

    def receive(self, limit: int) -> list[Arrival]:
        arrivals: list[Arrival] = []
        while self.batches and limit > 0:
            peer, waiting = next(iter(self.batches.items()))
            arrivals.append(waiting.popleft())
            del self.batches[peer]
            if waiting:
                self.batches[peer] = waiting
            limit -= len(arrivals[-1].messages) or 1
        self.received += len(arrivals)
        return arrivals

    def ready(self) -> bool:
        return bool(self.batches)


class Bench:
    """A broker with clients, and a node with one worker."""

    def __init__(self, clients: int = 2) -> None:
        self.now = 0.0
        self.router = BatchRouter()
        self.settings = Settings()
        self.broker = Broker(
            [self.router], settings=self.settings, clock=lambda: self.now, epoch=0.0
        )
        self.clients = [self.router.link() for _ in range(clients)]
        self.node, self.worker = self.router.link(), self.router.link()
        for link in self.clients:
            self.say(link, ms.JoinClient(ms.PROTOCOL, "client"))
            self.say(link, ms.DefineTask(1, TaskSpec("energy", "default")))
        self.say(self.node, ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.say(self.worker, ms.JoinWorker(ms.PROTOCOL, "default-1", 2))

    def say(self, link: MemoryLink, *messages: Any) -> None:
        """Let a batch arrive and be taken in."""
        self.router.arrive(link, *messages)
        self.broker.step()

    def steps(self) -> int:
        """Step until all is taken in; return how many steps that took."""
        for number in range(1, 1_000):
            self.broker.step()
            if not self.broker.more:
                return number
        raise AssertionError("the broker never comes to an end")

    @property
    def tasks(self) -> list[int]:
        """The tasks that are there, in the order in which they were taken in."""
        return list(self.broker.core.tasks)


def tasks(client: int, count: int, first: int = 1) -> list[ms.SubmitTask]:
    """Return so many submissions of one client."""
    numbers = range(first, first + count)
    return [
        ms.SubmitTask(task_id(client, number), 1, 0.0, b"", 0, TaskOptions(), None, "")
        for number in numbers
    ]


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(100_000) if isinstance(message, kind)]


def ids(submissions: Sequence[ms.SubmitTask]) -> list[int]:
    """Return the ids of tasks."""
    return [submission.task_id for submission in submissions]


def test_a_step_takes_in_a_part_of_a_long_batch_and_says_that_there_is_more() -> None:
    bench = Bench()
    many = tasks(0, 3 * MESSAGES_PER_STEP + 1)
    bench.router.arrive(bench.clients[0], *many)
    bench.broker.step()
    assert (len(bench.tasks), bench.broker.more) == (MESSAGES_PER_STEP, True)
    assert bench.steps() == 3
    assert bench.tasks == ids(many)
    assert repr(bench.broker._inbox) == "<Inbox: 0 messages of 0 peers>"


def test_one_clients_many_tasks_do_not_hold_anothers_one() -> None:
    bench = Bench()
    flood, later = tasks(0, 20 * MESSAGES_PER_STEP), tasks(0, 5, 10**6)
    (mine,) = tasks(1, 1)
    bench.router.arrive(bench.clients[0], *flood)
    bench.router.arrive(bench.clients[1], mine)
    bench.router.arrive(bench.clients[0], *later)
    bench.broker.step()
    assert mine.task_id not in bench.tasks
    bench.broker.step()
    assert mine.task_id in bench.tasks, "it had its turn in the step in which it was received"
    assert bench.steps() <= 20
    assert [number for number in bench.tasks if number != mine.task_id] == ids([*flood, *later])


def test_all_who_have_said_much_have_their_turns() -> None:
    bench = Bench(clients=4)
    for number, link in enumerate(bench.clients):
        bench.router.arrive(link, *tasks(number, 6 * TURN))
    bench.steps()
    turns = [number >> CLIENT_BITS for number in bench.tasks[::TURN]]
    assert turns[:10] == [0] * 6 + [1] * 4, "one step's worth, as it came"
    assert turns[10:] == [1, 2, 3] * 2 + [2, 3] * 4
    for number in range(4):
        of_client = [task for task in bench.tasks if task >> CLIENT_BITS == number]
        assert of_client == ids(tasks(number, 6 * TURN))


def test_no_more_is_received_while_a_step_s_worth_waits() -> None:
    bench = Bench()
    order = ms.CancelTasks(ids(tasks(0, 10 * MESSAGES_PER_STEP, 10**6)), "unwanted")
    bench.router.arrive(bench.clients[0], order)
    bench.router.arrive(bench.clients[0], *tasks(0, 4 * BATCH_MESSAGES))
    before = bench.router.received
    received: list[int] = []
    for _ in range(3):
        bench.broker.step()
        received.append(bench.router.received - before)
    assert received == [2, 2, 3]
    bench.steps()
    assert len(bench.tasks) == 4 * BATCH_MESSAGES


def test_a_message_about_many_tasks_costs_as_much_as_many() -> None:
    bench = Bench()
    numbers = ids(tasks(0, 5 * MESSAGES_PER_STEP))
    bench.say(bench.clients[0], *tasks(0, 5 * MESSAGES_PER_STEP))
    bench.steps()
    parts = [numbers[start : start + 500] for start in range(0, len(numbers), 500)]
    orders = [ms.CancelTasks(part, "unwanted") for part in parts]
    bench.router.arrive(bench.clients[0], *orders)
    steps, bench.broker.more = 0, True
    while bench.broker.more:
        before = len(bench.tasks)
        bench.broker.step()
        assert before - len(bench.tasks) <= MESSAGES_PER_STEP + 500
        steps += 1
    assert steps >= 4


@pytest.mark.parametrize(
    "order",
    [
        ms.Reprioritise([(1, 2.0)] * 2_000),
        ms.ReassignTasks([1] * 2_000, "default"),
        ms.LetGo([b"object"] * 2_000),
        ms.ForgetTypes(list(range(100, 2_100))),
    ],
)
def test_after_a_long_message_others_wait_for_the_next_step(order: Any) -> None:
    bench = Bench()
    bench.say(bench.clients[0], order, *tasks(0, 3))
    assert (bench.tasks, bench.broker.more) == ([], True)
    assert bench.steps() == 1
    assert len(bench.tasks) == 3


def test_what_a_client_asked_for_at_length_counts_too() -> None:
    bench = Bench()
    bench.say(bench.clients[0], *tasks(0, 600))
    bench.steps()
    watch = [ms.WatchTasks(), ms.Subscribe(1, None, None, None, 0), ms.AskStatus(1)]
    bench.say(bench.clients[0], *watch, *watch, *watch)
    assert bench.broker.more
    assert bench.steps() >= 1
    assert len(said(bench.clients[0], ms.Status)) == 3


def test_a_node_that_has_spoken_is_not_lost_while_its_beat_waits() -> None:
    bench = Bench()
    bench.router.arrive(bench.clients[0], *tasks(0, 5 * MESSAGES_PER_STEP))
    bench.broker.step()
    bench.router.arrive(bench.node, ms.Beat(1.0, 0.0))
    bench.now = bench.settings.lease_s
    bench.broker.step()
    bench.steps()
    bench.now += bench.settings.beat_s
    bench.broker.step()
    assert len(bench.broker.core.nodes) == 1


@pytest.mark.parametrize("node_leaves", [False, True])
def test_what_a_worker_said_before_its_end_is_taken_in_before_its_node_says_so(
    *, node_leaves: bool
) -> None:
    bench = Bench()
    bench.say(bench.clients[0], *tasks(0, 1))
    (run,) = said(bench.worker, ms.RunTask)
    bench.router.arrive(bench.clients[1], *tasks(1, 3 * MESSAGES_PER_STEP))
    bench.broker.step()
    items = [ms.YieldItem(run.run, number, b"", 0) for number in range(3 * TURN)]
    report = ms.Report(run.run, "succeeded", 0.0, 1.0, b"\x01", 0, None)
    end = ms.Leave() if node_leaves else ms.WorkerExited("default-1", run.run, "signal 9")
    bench.router.arrive(bench.worker, *items, report)
    bench.router.arrive(bench.node, end)
    while bench.broker.more:
        bench.broker.step()
    (settled,) = said(bench.clients[0], ms.TaskSettled)
    assert settled.ended_as == "succeeded"


def test_a_client_that_has_gone_is_heard_to_the_end() -> None:
    bench = Bench()
    gone = bench.clients[0]
    bench.say(bench.clients[1], ms.Subscribe(1, ["Published", "ClientLost"], None, None, None))
    last = ms.Publish("topic", b"")
    bench.router.arrive(gone, ms.AskStatus(1), *tasks(0, 2 * MESSAGES_PER_STEP), last)
    gone.close()
    bench.steps()
    events = [event for news in said(bench.clients[1], ms.Events) for event in news.events]
    assert [type(event).__name__ for event in events] == ["Published", "ClientLost"]


def test_noise_behind_a_long_batch_comes_in_its_turn() -> None:
    bench = Bench()
    bench.router.arrive(bench.clients[0], *tasks(0, 2 * MESSAGES_PER_STEP))
    bench.router.arrive(bench.clients[0], fault="it is noise")
    bench.router.arrive(bench.clients[0])
    bench.broker.step()
    assert bench.broker.dropped == {}
    bench.steps()
    assert bench.broker.dropped == {"malformed": 1}
    assert len(said(bench.clients[0], ms.Refused)) == 1


def test_only_clients_that_follow_events_are_gone_through_when_there_are_some() -> None:
    bench = Bench(clients=3)
    follower, watcher, other = bench.clients
    bench.say(follower, ms.Subscribe(1, None, None, None, None))
    bench.say(watcher, ms.WatchTasks())
    assert len(bench.broker._peers.following) == 2
    bench.say(watcher, *tasks(1, 2))
    bench.say(other, *tasks(2, 2))
    states = said(watcher, ms.TaskStates)
    assert {number for told in states for number in told.running} == {task_id(1, 1)}
    assert {number for told in states for number in told.queued} == {task_id(1, 2)}
    assert said(other, ms.TaskStates) == said(other, ms.Events) == []
    bench.say(follower, ms.Unsubscribe(1))
    bench.say(watcher, ms.Unsubscribe(7))
    assert list(bench.broker._peers.following.values()) == [
        bench.broker._peers.at(bench.router, watcher._identity)
    ]
    bench.say(watcher, ms.Leave())
    assert not bench.broker._peers.following
