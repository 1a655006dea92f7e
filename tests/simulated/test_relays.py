"""Nodes are relays of their workers, and it is found out if messages are lost on their links."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from steerio import Lost, NodeLost, Session, Succeeded, TaskEnded, TaskRetried, WorkerLost, task
from steerio.broker.broker import Broker
from steerio.core.accounts import ITEMS, NO_WORD, UNKNOWN
from steerio.edge.wire import cutting
from steerio.edge.wire.headers import decode_from_broker, encode_headers
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.edge.wire.relaying import arrival_of, opened, said_by
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.testing import KillWorker, Model, SimulatedCluster, run_virtual
from tests.simulated import test_random_faults as at_random
from tests.simulated.virtual import (
    AS_ASKED,
    WALL_LIMIT_S,
    cluster_of,
    of_kind,
    on_cluster,
    simulation,
)

M = TypeVar("M")
BEAT_S = 5.0
FROM_S, BACK_S = 5.0, 35.0
"""When the link of the first node loses all that is sent to its workers, or said about them."""


@task(pool="simulate")
def stepping(to: int) -> Iterator[int]:
    yield from range(to)


class Losing(Struct, frozen=True):
    """Have the link of a node lose messages about its workers, which no session below it would.

    ``orders``: also those to the node itself.
    """

    node: str = "node-1"
    at_s: float = FROM_S
    until_s: float = BACK_S
    orders: bool = False

    def arm(self, cluster: Any, rng: object) -> None:
        """Replace the functions by which the link is used."""
        del rng
        loop, link = asyncio.get_running_loop(), cluster.nodes[self.node]._link
        send, take = link.send, link.take
        kinds = RELAYED | ORDERS if self.orders else RELAYED

        def loses(message: object) -> bool:
            return isinstance(message, kinds) and self.at_s <= loop.time() < self.until_s

        def send_some(message: Any, frames: Any = ()) -> None:
            if not loses(message):
                send(message, frames)

        def take_some(messages: list[Any]) -> None:
            left = [entry for entry in messages if not loses(entry[0])]
            if left:
                take(left)

        link.send, link.take = send_some, take_some


RELAYED = ms.WorkerSaid | ms.WorkerExited | ms.TellWorker
ORDERS = ms.StopRunning | ms.SignalWorker | ms.TakeBack


# -- the broker by itself ---------------------------------------------------------------------


class Bench:
    """A broker, a client, and two nodes, each with one worker behind it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.router = MemoryRouter()
        self.broker = Broker([self.router], clock=lambda: self.now, epoch=0.0)
        self.client, self.node, self.other = (self.router.link() for _ in range(3))
        self.client.send(ms.JoinClient(ms.PROTOCOL, "client"))
        self.client.send(ms.DefineTask(1, TaskSpec("energy", "default")))
        for number, link in enumerate((self.node, self.other), 1):
            link.send(ms.JoinNode(ms.PROTOCOL, f"node-{number}", "host", number, {"default": 1}))
        self.broker.step()

    def join(self) -> None:
        """Let the worker of the first node join."""
        self.words(self.node, "default-1", ms.JoinWorker(ms.PROTOCOL, "default-1", 11))

    def join_other(self) -> None:
        self.words(self.other, "default-2", ms.JoinWorker(ms.PROTOCOL, "default-2", 12))

    def words(self, node: MemoryLink, worker: str, *messages: Any) -> None:
        """Let a worker say something, by way of its node."""
        self.say(node, ms.WorkerSaid(worker, encode_headers(messages), 0))

    def say(self, link: MemoryLink, *messages: Any) -> None:
        for message in messages:
            link.send(message)
        self.broker.step()

    def submit(self, number: int, **options: Any) -> None:
        self.say(
            self.client, ms.SubmitTask(number, 1, 0.0, b"", 0, TaskOptions(**options), None, "")
        )


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(1_000) if isinstance(message, kind)]


def told(link: MemoryLink) -> dict[str, list[Any]]:
    """Take what the broker has said to workers by way of this node."""
    found: dict[str, list[Any]] = {}
    for message, frames in link.receive(1_000):
        if isinstance(message, ms.TellWorker):
            header, *_ = opened(message, frames)
            found.setdefault(message.worker, []).extend(decode(header))
    return found


def decode(header: bytes) -> list[Any]:
    return decode_from_broker(header, "worker")


def test_a_worker_behind_a_node_is_told_and_heard_through_it() -> None:
    bench = Bench()
    bench.join()
    assert [type(m) for m in told(bench.node)["default-1"]] == [ms.Accepted]
    said(bench.other, object)
    bench.submit(1)
    define, run = told(bench.node)["default-1"]
    assert (type(define), type(run)) == (ms.DefineTask, ms.RunTask)
    bench.words(
        bench.node, "default-1", ms.Report(run.run, "succeeded", 0.0, 1.0, b"\x01", 0, None)
    )
    (settled,) = said(bench.client, ms.TaskSettled)
    assert (settled.ended_as, settled.worker) == ("succeeded", "default-1")
    assert told(bench.other) == {}


def test_messages_of_one_step_are_one_batch_with_its_attempts() -> None:
    bench = Bench()
    bench.join()
    said(bench.node, object)
    bench.submit(1)
    (envelope,) = said(bench.node, ms.TellWorker)
    assert envelope.runs == [1]
    assert bench.broker.step() is not None
    assert said(bench.node, ms.TellWorker) == []


@pytest.mark.borders
@pytest.mark.parametrize(
    "words",
    [[], [ms.JoinWorker(ms.PROTOCOL, "default-99", 1)], [ms.ReturnTask(1)]],
    ids=["nothing", "that it joins", "no joining"],
)
def test_nothing_is_kept_of_workers_that_nobody_expects(words: list[Any]) -> None:
    bench = Bench()
    bench.join()
    for number in range(100):
        bench.words(bench.node, f"default-{number + 50}", *words)
    (relay,) = [
        peer.relay
        for peer in bench.broker._peers
        if peer.relay is not None and peer.name == "node-1"
    ]
    assert set(relay._lines) == {b"default-1"}


@pytest.mark.borders
@pytest.mark.parametrize(
    "envelope",
    [
        ms.WorkerSaid("default-1", b"\xff noise", 0),
        ms.WorkerSaid("default-1", b"", 0),
        ms.WorkerSaid("default-1", b"", 0, "a batch of 0 frames"),
        ms.WorkerSaid("default-1", encode_headers([ms.JoinClient(ms.PROTOCOL, "x")]), 0),
        ms.WorkerSaid("default-1", encode_headers([ms.Report(1, "failed", 0, 0, b"", 3, None)]), 0),
    ],
    ids=["noise", "nothing", "no batch", "no worker's", "frames that are not there"],
)
def test_what_cannot_be_read_is_the_end_of_that_worker_and_of_nobody_else(
    envelope: ms.WorkerSaid,
) -> None:
    bench = Bench()
    bench.join()
    bench.submit(1)
    said(bench.node, object)
    bench.say(bench.node, envelope)
    heard = bench.node.receive(100)
    (order,) = [message for message, _ in heard if isinstance(message, ms.SignalWorker)]
    assert (order.worker, order.signal) == ("default-1", "kill")
    (farewell,) = [message for message, _ in heard if isinstance(message, ms.TellWorker)]
    assert [type(message) for message in decode(farewell.header)] == [ms.Refused]
    assert bench.broker.dropped == {"malformed": 1}
    bench.join_other()
    bench.submit(2)
    run = told(bench.other)["default-2"][-1]
    assert isinstance(run, ms.RunTask)
    assert len(bench.broker.core.nodes) == 2


@pytest.mark.borders
def test_a_worker_joins_only_from_behind_its_own_node() -> None:
    bench = Bench()
    bench.words(bench.other, "default-1", ms.JoinWorker(ms.PROTOCOL, "default-1", 11))
    assert [type(m) for m in told(bench.other)["default-1"]] == [ms.Refused]
    bench.words(bench.other, "default-2", ms.JoinWorker(ms.PROTOCOL, "default-1", 11))
    assert [type(m) for m in told(bench.other)["default-2"]] == [ms.Refused]
    assert bench.broker.dropped == {"refused": 2}
    bench.join()
    bench.join_other()
    assert [worker.phase for worker in bench.broker.core.workers.values()] == ["idle", "idle"]


@pytest.mark.borders
def test_the_workers_behind_a_node_go_with_it() -> None:
    bench = Bench()
    bench.join()
    bench.join_other()
    bench.say(bench.node, ms.Leave("why not"))
    assert [peer.name for peer in bench.broker._peers] == ["client", "node-2", "default-2"]
    bench.words(bench.node, "default-1", ms.Report(1, "succeeded", 0.0, 1.0, b"", 0, None))
    assert bench.broker.dropped == {"stranger": 1}


@pytest.mark.borders
def test_a_message_too_long_for_a_worker_is_the_end_of_that_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.join()
    said(bench.node, object)
    monkeypatch.setattr(MemoryRouter, "encodes", False)  # it is the broker that finds it too long
    monkeypatch.setattr(cutting, "LONGEST_HEADER_BYTES", 200)
    monkeypatch.setattr(cutting, "BATCH_HEADER_BYTES", 100)
    bench.say(bench.client, ms.SubmitTask(1, 1, 0.0, bytes(300), 0, TaskOptions(), None, ""))
    assert [type(m) for m in told(bench.node)["default-1"]] == [ms.DefineTask, ms.Refused]


def test_long_headers_travel_as_frames() -> None:
    header = encode_headers([ms.Report(1, "succeeded", 0.0, 1.0, bytes(100_000), 1, None)])
    envelope, frames = said_by("default-1", header, [b"frame"])
    assert (envelope.header, envelope.frames) == (b"", 2)
    ((report, its),) = arrival_of(envelope, frames).messages
    assert (len(report.body), its) == (100_000, (b"frame",))


def test_a_count_that_differs_has_the_node_asked_for_an_account_once() -> None:
    bench = Bench()
    bench.join()
    bench.submit(1)
    said(bench.node, object)
    bench.now = 1.0
    bench.say(bench.node, ms.Beat(0.5, 0.0, 2))  # its report was lost
    answers: list[Any] = said(bench.node, object)
    assert [type(m) for m in answers] == [ms.BeatAnswer, ms.AskAccount]
    assert answers[0].told == 2, "accepted, and a task"
    account = ms.WorkerAccount("default-1", [], 1, 2)
    bench.now = 2.0
    bench.say(bench.node, ms.Account(1.0, [account], False), ms.Beat(1.5, 0.0, 2))
    answers = said(bench.node, object)
    assert [type(m) for m in answers] == [ms.BeatAnswer, ms.TellWorker], "it is tried again"
    (retried,) = bench.broker.core.tasks.values()
    assert (retried.attempt, retried.losses) == (2, 1)
    assert bench.broker.dropped == {"lost on the way": 1}


# -- whole clusters -----------------------------------------------------------------------------


@on_cluster(2, nodes=2, faults=[Losing()])
async def test_orders_that_were_lost_are_given_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    await asyncio.sleep(6)
    tasks = session.map(simulation, [1.0] * 4)
    results = [await task.result() for task in tasks]
    assert all(isinstance(result, Succeeded) for result in results)
    assert {result.attempt for result in results} == {1}, "none of it counts as an attempt"
    late = max(result.timings.received or 0.0 for result in results)
    assert late < BACK_S + 2 * BEAT_S
    assert of_kind(cluster.record.events, NodeLost) == []


@on_cluster(1, faults=[Losing()])
async def test_a_report_that_was_lost_costs_an_attempt_and_no_more(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 10.0).result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 2
    (retried,) = of_kind(cluster.record.events, TaskRetried)
    assert NO_WORD in retried.reason
    assert retried.at < BACK_S + 2 * BEAT_S
    assert of_kind(cluster.record.events, WorkerLost) == [], "its worker goes on"


@on_cluster(1, faults=[Losing()])
async def test_a_task_that_runs_meanwhile_goes_on(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 70.0).result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 1


@on_cluster(1, faults=[Losing(), KillWorker(10)])
async def test_an_exit_that_was_lost_is_found_out(
    cluster: SimulatedCluster, session: Session
) -> None:
    assert await session.run(simulation, 20.0) == 20.0
    lost = of_kind(cluster.record.events, WorkerLost)[0]
    assert lost.reason == UNKNOWN
    assert lost.at < BACK_S + 2 * BEAT_S


@on_cluster(1, faults=[Losing()], model={stepping: Model(4.0), **AS_ASKED})
async def test_a_task_whose_items_were_lost_is_given_up_whole(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.options(retries={"lost": 0}).submit(stepping, 20)
    result = await task.result()
    assert isinstance(result, Lost)
    assert ITEMS in result.reason
    assert await session.run(simulation, 1.0) == 1.0


@pytest.mark.parametrize("obeys", ["asked", "term", "kill"])
def test_orders_to_stop_that_were_lost_are_repeated(obeys: Any) -> None:
    model = {simulation: Model(lambda _, seconds: seconds, obeys=obeys)}

    @on_cluster(1, faults=[Losing(orders=True)], model=model)
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        task = session.submit(simulation, 1e6)
        await asyncio.sleep(6)
        task.cancel()
        result = await task.result()
        assert result.ended_as == "cancelled"
        assert asyncio.get_running_loop().time() < BACK_S + 2 * BEAT_S
        assert await session.run(simulation, 1.0) == 1.0

    scene()


losses = st.lists(
    st.builds(
        lambda node, at_s, for_s: Losing(node, at_s, at_s + for_s),
        at_random.nodes,
        at_random.seconds,
        at_random.seconds,
    ),
    max_size=4,
)
kills = st.lists(st.builds(KillWorker, at_random.seconds, pool=at_random.pools), max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    lossy=losses,
    deadly=kills,
    asked=at_random.requests,
    model=at_random.models,
    seed=st.integers(0, 2**32),
)
def test_whatever_is_lost_each_task_ends_once_and_workers_are_conserved(
    lossy: list[Any], deadly: list[Any], asked: Any, model: Any, seed: int
) -> None:
    async def scene() -> None:
        cluster = cluster_of(
            4, 2, model=model, seed=seed, nodes=at_random.NODES, faults=[*lossy, *deadly]
        )
        async with cluster, cluster.session("test") as session:
            ended = await at_random.play(session, asked)
            core, events = cluster.broker.core, cluster.record.events
            finished = [event.task_id for event in of_kind(events, TaskEnded)]
            assert len(finished) == len({*finished}) == len(asked) == ended.total()
            assert not core.tasks
            assert not core.runs
            core.check(asyncio.get_running_loop().time())
            assert {worker.name for worker in cluster.workers()} == set(core.workers)
            assert len(core.workers) == 6

    run_virtual(scene(), wall_limit_s=WALL_LIMIT_S)
