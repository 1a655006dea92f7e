"""A key tells what its peer may do: clients submit, nodes bring workers, observers look on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container
from typing import Any, TypeVar, get_args

import pytest

from steerio.broker.broker import Broker
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.keys import CLIENT, NODE, OBSERVER
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.campaign_orders import Checkpoint, GivenOrder, OrderAnswer
from steerio.model.events import Asked
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import TaskOptions, TaskSpec

M = TypeVar("M")
STORED = StoredObject(b"another's", 10)
DEEDS: list[Any] = [
    ms.DefineTask(2, TaskSpec("energy", "default")),
    ms.ForgetTypes([1]),
    ms.SubmitTask(1, 1, 0.0, b"", 0, TaskOptions(), None, "", Inputs(STORED)),
    ms.CancelTasks([1], "no"),
    ms.Reprioritise([(1, 5.0)]),
    ms.Publish("news", b"\xc0"),
    ms.WatchTasks(),
    ms.GrantItems(1, 5),
    ms.ReassignTasks([1], "other"),
    ms.HoldObject(STORED),
    ms.LetGo([STORED.name]),
    ms.PublishVersion(1, "model", STORED),
    ms.AskVersion(1, "model", -1),
    ms.AskPause(1, "default"),
    ms.AskResume(1, "default"),
    ms.AskLedger(1, 0),
    ms.AskResults([1]),
    ms.ForgetTasks([1]),
    ms.TakeOrders(),
    ms.GiveOrder(1, "", GivenOrder(Checkpoint(), "eve")),
    ms.OrderDone(1, OrderAnswer(True, "it is done")),
    ms.Announce(1, Asked(0, 0.0, 1, "?", ("yes",), "eve")),
    ms.AskMove(1, "default", "other", 1, False, False, "drain", None),
    ms.EndMove(1, "drain"),
    ms.AwaitMove(1, 1, [], ""),
    ms.AskDrain(1, "node"),
    ms.AskUndrain(1, "node"),
    ms.StopBroker("for fun"),
]
"""One of each message of clients that is more than looking on."""


class KeyedRouter(MemoryRouter):
    """A router whose peers have shown keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[bytes, str] = {}
        self.noise: list[Arrival] = []

    def receive(self, limit: int) -> list[Arrival]:
        noise, self.noise = self.noise, []
        arrivals = super().receive(limit)
        return [*(a._replace(key=self.keys.get(a.peer, "")) for a in arrivals), *noise]


class ListedDoor:
    """A door that says which keys are revoked, and notes which were cut."""

    def __init__(self) -> None:
        self.revoked: frozenset[str] = frozenset()
        self.refused: Counter[str] = Counter()
        self.cuts: list[set[str]] = []

    def look(self) -> frozenset[str]:
        return self.revoked

    def cut(self, labels: Collection[str]) -> None:
        self.cuts.append(set(labels))


class Bench:
    """A broker, its store, and peers that show keys."""

    def __init__(self, door: ListedDoor | None = None) -> None:
        self.now = 0.0
        self.router = KeyedRouter()
        self.freed: list[bytes] = []
        self.swept: list[str] = []
        self.broker = Broker(
            [self.router], clock=lambda: self.now, epoch=0.0, sweeper=self, door=door
        )

    def free(self, names: list[bytes]) -> None:
        self.freed += names

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        self.swept += makers

    def peer(self, key: str, *messages: Any) -> MemoryLink:
        """Return the link of a peer with this key, which has said this."""
        link = self.router.link()
        self.router.keys[link._identity] = key
        self.say(link, *messages)
        return link

    def say(self, link: MemoryLink, *messages: Any) -> None:
        for message in messages:
            link.send(message)
            self.broker.step()

    def beat(self) -> None:
        self.now += self.broker.settings.beat_s
        self.broker.step()

    def client(self) -> MemoryLink:
        """Return a client that has submitted a task."""
        define = ms.DefineTask(1, TaskSpec("energy", "default"))
        task = ms.SubmitTask(1, 1, 0.0, b"", 0, TaskOptions(), None, "")
        return self.peer(CLIENT, ms.JoinClient(ms.PROTOCOL, "client"), define, task)

    def status(self) -> ms.Status:
        (status,) = said(
            self.peer(OBSERVER, ms.JoinClient(ms.PROTOCOL, "o"), ms.AskStatus(1)), ms.Status
        )
        return status


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(1_000) if isinstance(message, kind)]


def test_the_deeds_and_the_looks_are_all_that_a_client_says() -> None:
    deeds = {type(deed) for deed in DEEDS}
    assert deeds | set(get_args(ms.FromObserver)) == set(get_args(ms.FromClient))
    assert deeds.isdisjoint(get_args(ms.FromObserver))


@pytest.mark.parametrize("declared", [False, True], ids=["by its key", "by its own word"])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: type(deed).__name__)
def test_an_observer_that_does_more_than_look_on_is_shown_out(deed: Any, declared: bool) -> None:
    bench = Bench()
    client = bench.client()
    bench.peer(NODE, ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
    before = bench.status()
    joins = ms.JoinClient(ms.PROTOCOL, "observer", "", declared)
    observer = bench.peer(CLIENT if declared else OBSERVER, joins)
    assert [accepted.observes for accepted in said(observer, ms.Accepted)] == [True]
    said(client, object)
    bench.say(observer, deed)
    (refused,) = said(observer, ms.Refused)
    assert f"an observer may only look on, and it sent {type(deed).__name__}" in refused.reason
    assert bench.broker.dropped == {"not allowed": 1}
    assert not bench.broker.closing
    assert bench.broker.core.store_load().objects == 0
    assert said(client, (ms.TaskSettled, ms.VersionNews, ms.Events)) == []  # type: ignore[arg-type]
    after = bench.status()
    assert (after.ended, after.pools, list(after.nodes)) == (
        before.ended,
        before.pools,
        list(before.nodes),
    )
    assert after.clients == ["client", "o", "o"]
    assert list(bench.broker.core.tasks) == [1]
    bench.say(observer, deed)
    assert said(observer, ms.Refused)[0].rejoin, "it is a stranger now"


def test_an_observer_sees_status_events_and_pools() -> None:
    bench = Bench()
    client = bench.client()
    joins = ms.JoinClient(ms.PROTOCOL, "observer", "worker:1")
    observer = bench.peer(OBSERVER, joins)
    subscribe = ms.Subscribe(1, None, None, None, 0)
    bench.say(observer, subscribe, ms.WatchPools(idle=True), ms.AskStatus(3), ms.Beat(1.0, None))
    heard = [message for message, _ in observer.receive(1_000)]
    kinds = {type(message) for message in heard}
    assert {ms.Accepted, ms.Events, ms.PoolStatus, ms.Status, ms.BeatAnswer} <= kinds
    bench.say(client, ms.CancelTasks([1], "enough"))
    ((ended,),) = [message.events for message in said(observer, ms.Events)]
    assert type(ended).__name__ == "TaskEnded"
    bench.say(observer, ms.Unsubscribe(1), ms.Leave())
    bench.say(client, ms.Publish("news", b"\xc0"))
    assert said(observer, ms.Events) == []
    assert bench.broker.dropped == {}
    assert bench.status().clients == ["client", "o"]


def test_an_observer_is_told_why_a_task_waits() -> None:
    bench = Bench()
    bench.client()
    observer = bench.peer(OBSERVER, ms.JoinClient(ms.PROTOCOL, "o"), ms.AskWhy(1, 1))
    (answer,) = said(observer, ms.TaskReason)
    assert answer.reason == (
        "now it is QUEUED: pool 'default' has 1 task queued, and of its 0 workers none is ready"
    )
    bench.say(observer, ms.AskWhy(2, 99))
    assert said(observer, ms.TaskReason) == [ms.TaskReason(2, "")]


def test_messages_that_wait_for_their_turn_keep_their_key() -> None:
    bench = Bench()
    client = bench.client()
    for number in range(2, 3_000):  # more than one step takes in
        client.send(ms.SubmitTask(number, 1, 0.0, b"", 0, TaskOptions(), None, ""))
    while len(bench.broker.core.tasks) < 2_999:
        bench.broker.step()
    assert bench.broker.dropped == {}


def test_an_observer_whose_connection_is_gone_is_forgotten() -> None:
    bench = Bench()
    observer = bench.peer(OBSERVER, ms.JoinClient(ms.PROTOCOL, "observer"))
    observer.close()
    bench.now += 10  # it is due to be told of the pools
    bench.broker.step()
    assert bench.status().clients == ["o"]


@pytest.mark.parametrize("key", [CLIENT, OBSERVER])
def test_only_the_key_of_nodes_brings_workers(key: str) -> None:
    bench = Bench()
    node = ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1})
    for message, kind in ((node, "node"), (ms.JoinWorker(ms.PROTOCOL, "default-1", 2), "worker")):
        (refused,) = said(bench.peer(key, message), ms.Refused)
        assert f"with the key of {key}s no {kind} joins" in refused.reason
        assert "node.json" in refused.reason
        assert not refused.rejoin
    assert bench.broker.dropped == {"wrong key": 2}
    assert bench.status().nodes == {}
    assert said(bench.peer(NODE, node), ms.Accepted)
    worker = bench.peer(NODE, ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
    assert said(worker, ms.Accepted)


@pytest.mark.parametrize("observes", [False, True])
def test_the_key_of_nodes_lets_no_client_in(observes: bool) -> None:
    bench = Bench()
    joins = ms.JoinClient(ms.PROTOCOL, "n", "", observes)
    submits = ms.SubmitTask(1, 1, 0.0, b"", 0, TaskOptions(), None, "")
    peer = bench.peer(NODE, joins, submits)
    first, second = said(peer, ms.Refused)
    assert "with the key of nodes no client joins" in first.reason
    assert second.reason == "join first"
    node = bench.peer(NODE, ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}), submits)
    assert said(node, ms.Refused) == []
    assert bench.broker.dropped == {"wrong key": 1, "stranger": 1, "out of place": 1}
    assert not bench.broker.core.tasks


def test_a_name_that_comes_with_another_key_is_not_believed() -> None:
    bench = Bench()
    client = bench.client()
    bench.router.keys[client._identity] = OBSERVER
    bench.say(client, ms.CancelTasks([1], "no"), ms.AskStatus(1))
    bench.router.noise.append(Arrival(client._identity, (), "it is noise", OBSERVER))
    bench.broker.step()
    assert said(client, (ms.Status, ms.Refused)) == []  # type: ignore[arg-type]
    assert bench.broker.dropped == {"another key": 3}
    assert list(bench.broker.core.tasks) == [1]
    bench.router.keys[client._identity] = CLIENT
    bench.say(client, ms.AskStatus(1))
    assert len(said(client, ms.Status)) == 1, "nothing of it has changed"


@pytest.mark.parametrize("key", [OBSERVER, CLIENT])
def test_an_observer_has_no_object_removed(key: str) -> None:
    bench = Bench()
    bench.peer(key, ms.HoldObject(STORED))
    bench.peer(key, ms.JoinClient(ms.PROTOCOL, "o"), ms.HoldObject(STORED), ms.Leave())
    bench.now = 1_000.0
    bench.broker.step()
    named = {STORED.name} if key == CLIENT else set()
    assert (set(bench.freed), bool(bench.swept)) == (named, key == CLIENT)


def test_connections_of_a_revoked_key_are_cut_at_each_beat_after_their_peers_were_told() -> None:
    door = ListedDoor()
    bench = Bench(door)
    bob = bench.peer("client:bob", ms.JoinClient(ms.PROTOCOL, "bob"))
    assert len(said(bob, ms.Accepted)) == 1
    door.revoked = frozenset({"client:bob"})
    bench.beat()
    (told,) = said(bob, ms.Refused)
    assert "its key was revoked" in told.reason
    assert door.cuts == [], "it has to get that first"
    bench.beat()
    assert door.cuts == [{"client:bob"}]
    late = bench.peer("client:bob", ms.JoinClient(ms.PROTOCOL, "bob"))  # connected before
    (refused,) = said(late, ms.Refused)
    assert "its key was revoked" in refused.reason
    bench.beat()
    assert door.cuts == [{"client:bob"}] * 2
