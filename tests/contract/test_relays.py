"""A node passes on what its workers say and are told, over real streams and sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import Session, Succeeded
from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.client.client import Client
from steerio.edge.wire import unix_listener
from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.headers import encode_headers, reader
from steerio.edge.wire.keys import NODE
from steerio.edge.wire.memory import MemoryRouter
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.relaying import WorkerStreams, joined
from steerio.edge.wire.stream_peer import StreamPeer
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.node.node import Node
from steerio.node.relay import Relay
from tests.contract.stand_ins import StandIn, StandInForker
from tests.contract.wires import IN_TIME_S, Wire, wired

LOOK_S = 0.01
SETTINGS = Settings()


@steerio.task
def double(x: int) -> int:
    return 2 * x


@steerio.task
def negative(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return -array


class Site:
    """A broker, a client, and a node with light workers behind it."""

    def __init__(self, wire: Wire, folder: Path, workers: int, settings: Settings) -> None:
        self.wire = wire
        self.broker = Broker([memory := MemoryRouter(), wire.router], settings=settings)
        self.driver = Driver(self.broker)
        self.memory = memory
        self.streams = WorkerStreams(f"{folder}/workers")
        self.forker = StandInForker(self.streams.address)
        if wire.keys is None:
            link = wire.link()
        else:
            address, keys = wire.router.address, wire.keys.peers[NODE]
            link = ZmqLink(wire.context, address, b"node", keys, "node", copies=False)
        self.link = link
        self.node = Node(
            link,
            self.forker,
            ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": workers}),
            settings=settings,
            relay=Relay(self.streams, self.forker),
        )
        self.forker.watch(self.node.worker_exited)

    def worker(self, name: str = "default-1") -> StandIn:
        return self.forker.workers[name]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something of which no event tells."""
        async with asyncio.timeout(IN_TIME_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)

    @property
    def ready(self) -> int:
        pool = self.broker.core.pools.get("default")
        return pool.ready if pool is not None else 0


@asynccontextmanager
async def site(
    workers: int, transport: str = "tcp", settings: Settings = SETTINGS
) -> AsyncIterator[tuple[Site, Session]]:
    """Open a broker with a node that has so many light workers, all of which have joined."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steerio-")))
        wire = await stack.enter_async_context(wired(transport))
        made = Site(wire, folder, workers, settings)
        stack.callback(made.driver.close, "the test has ended")
        stack.callback(made.streams.close)
        stack.callback(made.link.close)
        stack.push_async_callback(made.forker.close)
        made.driver.start(stand_in=False)
        stack.callback(made.node.leave, "the test has ended")
        made.node.start()
        await made.until(lambda: made.ready == workers)
        client = Client(made.memory.link(), watched=False)
        await client.join("client")
        session = Session(client)
        stack.callback(session.close)
        yield made, session


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_sixteen_workers_behind_a_node_work_through_one_link(transport: str) -> None:
    async with site(16, transport) as (made, session):
        results = await session.gather(*session.map(double, range(400)))
        assert results == [2 * x for x in range(400)]
        workers = {(await task.result()).worker for task in session.map(double, range(200))}
        assert len(workers) > 1
        peers = made.broker._peers
        assert len([peer for peer in peers if peer.router is made.wire.router]) == 1
        assert len(peers) == 18, "a client, a node, its workers"
        # a worker and its node may both say that it gives back a task, on a slow machine
        assert made.broker.dropped.keys() <= {"late return"}


async def test_long_frames_are_passed_on_both_ways() -> None:
    async with site(1) as (made, session):
        worker = made.worker()
        worker.holding = True
        for length in (1, 1_000, 100_000, 1_000_000, 3_000_000) * 2:
            array = np.arange(length, dtype="f8")
            task = session.submit(negative, array)
            await made.until(lambda: worker.held)
            await asyncio.to_thread(worker.work)  # it writes more than a stream takes at once
            np.testing.assert_array_equal(await task, -array)
        assert made.broker.dropped == {}


@pytest.mark.parametrize("seed", range(6))
def test_batches_that_are_joined_say_the_same_in_the_same_order(seed: int) -> None:
    dice = random.Random(seed)
    said: list[tuple[Any, tuple[bytes, ...]]] = []
    batches: list[tuple[bytes, tuple[bytes, ...]]] = []
    for number in range(dice.choice([1, 5, 14, 17, 300])):
        its = [
            (ms.YieldItem(number, index, dice.randbytes(dice.choice([0, 9, 5_000])), 1), (b"f",))
            if dice.random() < 0.3
            else (ms.ReturnTask(number), ())
            for index in range(dice.choice([1, 1, 2, 15, 16, 20]))
        ]
        said += its
        header = encode_headers([message for message, _ in its])
        batches.append((header, tuple(frame for _, frames in its for frame in frames)))
    found = joined(batches)
    assert len(found) <= len(batches)
    heard = [entry for header, frames in found for entry in reader("behind")(header, frames)]
    assert heard == said
    assert joined([(b"", ()), (b"\xff", (b"f",))]) == [(b"", ()), (b"\xff", (b"f",))]


def test_batches_of_many_frames_are_not_joined_into_one_of_too_many() -> None:
    header = encode_headers([ms.YieldItem(1, 0, b"", 40_000)])
    batch = (header, (b"",) * 40_000)
    assert joined([batch] * 3) == [batch] * 3
    few = (encode_headers([ms.ReturnTask(1)]), ())
    (first, its), last = joined([few, batch, few, batch])
    assert len(its) == len(last[1]) == 40_000
    assert len(reader("behind")(first, its)) == 3


def framed(*frames: bytes) -> bytes:
    """Return a batch as it goes over a stream."""
    return struct.pack(f"=I{len(frames)}Q", len(frames), *map(len, frames)) + b"".join(frames)


NOISE = {
    "a header that is noise": framed(b"\xff noise"),
    "a message of a client": framed(encode_headers([ms.AskStatus(1)])),
    "frames that no message has": framed(encode_headers([ms.ReturnTask(1)]), b"frame"),
    "no batch": struct.pack("=I", 0),
}


@pytest.mark.borders
@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
async def test_a_worker_that_cannot_be_read_ends_and_the_others_go_on(noise: bytes) -> None:
    async with site(2) as (made, session):
        worker = made.worker()
        worker.holding = True
        task = session.submit(double, 4)
        other = made.worker("default-2")
        other.holding = True
        second = session.submit(double, 5)
        await made.until(lambda: worker.held and other.held)
        worker.link._socket.sendall(noise)
        await made.until(lambda: "default-1" not in made.forker.workers)
        assert made.forker.signals[0] == ("default-1", "kill")
        other.holding = False
        other.work()
        assert await session.gather(task, second) == [8, 10]
        assert len(made.broker.core.nodes) == 1
        assert made.broker.dropped == {"malformed": 1}
        assert "default-3" in made.forker.workers, "another takes its place"


async def test_the_last_words_of_a_worker_come_before_its_end() -> None:
    async with site(1) as (made, session):
        for number in itertools.count(1):
            worker = made.worker(f"default-{number}")
            worker.holding = True
            task = session.options(retries={"lost": 0}).submit(negative, np.ones(50_000 * number))
            await made.until(lambda worker=worker: worker.held)
            worker.work()
            made.forker.end(worker.name)  # heard of before the loop looks at the stream again
            result = await task.result()
            assert isinstance(result, Succeeded), result
            await made.until(lambda: made.ready == 1)
            if number == 5:
                break


@pytest.mark.borders
@pytest.mark.parametrize(
    "words",
    [
        encode_headers([ms.JoinWorker(ms.PROTOCOL, "default-9", 1)]),
        encode_headers([ms.JoinWorker(ms.PROTOCOL, "default-1", 1)]),
        encode_headers([ms.JoinClient(ms.PROTOCOL, "client")]),
        encode_headers([ms.Report(1, "succeeded", 0.0, 1.0, b"", 0, None)]),
        encode_headers([]),
        b"noise",
    ],
    ids=["unknown", "taken", "a client", "no word on joining", "nothing", "noise"],
)
async def test_a_process_that_is_no_worker_of_the_node_is_hung_up_on(words: bytes) -> None:
    async with site(1) as (made, session):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as stranger:
            stranger.connect(str(socket_path(made.streams.address)))
            stranger.sendall(framed(words))
            stranger.settimeout(IN_TIME_S)
            assert await asyncio.to_thread(stranger.recv, 1) == b""
        assert await session.run(double, 1) == 2
        assert made.broker.dropped == {}


async def test_what_is_for_a_worker_that_has_ended_is_for_nobody() -> None:
    async with site(1) as (made, session):
        made.worker().holding = True
        task = session.submit(double, 3)
        await made.until(lambda: made.worker().held)
        relay = made.node._words._relay
        assert relay is not None
        made.forker.end("default-1")
        relay.tell(ms.TellWorker("default-1", encode_headers([ms.Closing("?")]), 0), ())
        assert await task == 6
        assert (await task.result()).attempt == 2


async def test_a_node_accounts_for_what_its_workers_were_sent_and_have_ended() -> None:
    async with site(2) as (made, session):
        worker = made.worker()
        assert await session.gather(*session.map(double, [1, 2, 3])) == [2, 4, 6]
        worker.holding = made.worker("default-2").holding = True
        tasks = session.map(double, [4, 5])
        await made.until(lambda: worker.held and made.worker("default-2").held)
        relay = made.node._words._relay
        assert relay is not None
        for each in made.forker.workers.values():
            words, (account,) = relay.accounts([each.name])
            assert words == []
            assert account.runs == [task.run for task, _ in each.held]
            assert account.ended == each.reported
            each.holding = False
            each.work()
        assert await session.gather(*tasks) == [8, 10]
        assert relay.accounts(["default-77"]) == ([], [ms.WorkerAccount("default-77", [], 0, 0)])


@pytest.mark.parametrize("length", [1, 50_000])
async def test_an_account_comes_after_reports_that_the_loop_has_not_looked_at(length: int) -> None:
    async with site(1) as (made, session):
        worker = made.worker()
        for _ in range(5):
            worker.holding = True
            task = session.submit(negative, np.ones(length))
            await made.until(lambda: worker.held)
            worker.work()
            made.node._give_account(time.monotonic(), orders_lost=True)
            worker.holding = False
            result = await task.result()
            assert isinstance(result, Succeeded)
            assert result.attempt == 1
        assert made.broker.dropped == {}, "no report came after it was given up"


async def test_an_attempt_whose_report_is_not_written_yet_counts_as_one_that_runs() -> None:
    async with site(1) as (made, session):
        worker = made.worker()
        worker.holding = True
        task = session.submit(double, 4)
        await made.until(lambda: worker.held)
        worker.begun = worker.held[0][0].run
        made.node._give_account(time.monotonic(), orders_lost=True)
        await made.until(lambda: made.broker.core.runs)
        worker.work()
        assert await task == 8
        assert made.broker.dropped == {}


async def test_a_node_that_leaves_passes_on_all_that_its_workers_have_said() -> None:
    async with site(1) as (made, session):
        worker = made.worker()
        worker.holding = True
        task = session.submit(double, 4)
        await made.until(lambda: worker.held)
        worker.work()
        made.node.leave("its time is over")
        result = await task.result()
        assert isinstance(result, Succeeded)
        assert result.attempt == 1


@pytest.mark.borders
async def test_a_node_without_descriptors_takes_its_workers_in_once_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scarce = [True, True]
    monkeypatch.setattr(unix_listener, "PAUSE_S", 0.01)
    monkeypatch.setattr(unix_listener, "_are_scarce", lambda _: bool(scarce) and scarce.pop())
    async with site(1, settings=Settings(beat_s=0.1)) as (_, session):
        assert not scarce
        assert await session.run(double, 1) == 2


@pytest.mark.borders
async def test_a_worker_for_whose_last_words_a_node_has_no_memory_is_lost_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(2) as (made, session):
        workers = list(made.forker.workers.values())
        for each in workers:
            each.holding = True
        task = session.submit(negative, np.ones(50_000))
        await made.until(lambda: any(each.held for each in workers))
        worker, other = sorted(workers, key=lambda each: not each.held)
        other.holding = False
        with monkeypatch.context() as patched:
            patched.setattr(Spares, "take", no_memory)
            worker.work()
            made.forker.end(worker.name)
        assert (await task)[0] == -1
        assert (await task.result()).attempt == 2
        await made.until(lambda: made.ready == 2)


@pytest.mark.borders
async def test_a_worker_for_whose_orders_a_node_has_no_memory_is_lost_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(1) as (made, session):
        failing = [MemoryError("no room")]

        def add(peer: StreamPeer, batch: list[Any]) -> None:
            if failing:
                raise failing.pop()
            add_to(peer, batch)

        add_to = StreamPeer.add
        monkeypatch.setattr(StreamPeer, "add", add)
        task = session.submit(double, 4)
        await made.until(lambda: made.worker().link._socket.fileno() < 0)
        made.forker.end("default-1")
        assert await task == 8
        assert (await task.result()).attempt == 2


def no_memory(spares: Spares, length: int) -> memoryview:
    del spares
    raise MemoryError(f"none for {length} bytes")


async def test_a_node_that_missed_a_message_for_a_worker_says_so_with_its_next_beat() -> None:
    async with site(1) as (made, session):
        router = made.wire.router
        send = router.send

        def losing(peer: bytes, message: Any, frames: Any = ()) -> None:
            if not isinstance(message, ms.TellWorker):
                send(peer, message, frames)

        router.send = losing
        task = session.submit(double, 21)
        await made.until(lambda: made.broker.core.runs)
        router.send = send
        assert await task == 42
        result = await task.result()
        assert (result.attempt, made.forker.signals) == (1, [])


async def test_a_node_whose_session_is_not_known_any_more_joins_anew_once() -> None:
    async with site(1) as (made, session):
        (node,) = (peer for peer in made.broker._peers if peer.relay is not None)
        made.broker.core.node_lost(node.number, "it was silent", time.monotonic())
        made.broker.step()
        made.wire.router._drop(node.identity)  # as it does once a peer that was let go has all
        for _ in range(5):
            made.node._say(ms.Beat(0.0, 0.0))
        await made.until(lambda: made.ready == 1)
        assert await session.run(double, 1) == 2
        assert [n.name for n in made.broker.core.nodes.values()] == ["node"]
        assert made.broker.dropped == {}


def test_a_link_of_a_worker_is_the_same_to_a_node_and_to_a_broker() -> None:
    with tempfile.TemporaryDirectory(prefix="steerio-") as folder:
        streams = WorkerStreams(f"{folder}/workers")
        with contextlib.closing(streams), contextlib.closing(StreamLink(streams.address)) as link:
            assert not streams.pass_on(b"nobody", [b"header"])
            streams.hang_up(b"nobody")
            assert streams.take_rest(b"nobody") == []
            link.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 1))
            link.flush()
            streams.expect()
            streams.receive(1)
            streams.expect()
            (arrival,) = streams.receive(1)
            ((header, frames),) = arrival.messages
            assert (header, frames) == (
                encode_headers([ms.JoinWorker(ms.PROTOCOL, "default-1", 1)]),
                (),
            )
            assert streams.pass_on(arrival.peer, [encode_headers([ms.Closing("end")])])
            assert streams.flush() == []
            ((message, _),) = link.receive_within(IN_TIME_S)
            assert message == ms.Closing("end")
