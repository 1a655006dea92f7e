"""However much is said in one go, it travels in batches that their receiver takes in."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest

from steerio.broker.inbox import MESSAGES_PER_STEP
from steerio.edge.wire import cutting, headers
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.cutting import BATCH_MESSAGES, batches, check_frames
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.headers import deal_frames, decode_from_broker, decode_to_broker
from steerio.edge.wire.unix import StreamRouter
from steerio.errors import EncodingError, ProtocolError, UsageError
from steerio.model import messages as ms
from steerio.model.events import TaskQueued
from steerio.model.objects import StoredObject
from steerio.model.tasks import TaskSpec
from tests.contract.payloads import content
from tests.contract.wires import TRANSPORTS, RouterEar, from_broker, to_broker, wired

pytestmark = pytest.mark.borders

BOUND = 1_000
"""The bounds of batches in these tests, in bytes; of one message twice that."""
CODE = bytes(range(256)) * 40
queued = [TaskQueued(number, 0.5, number, "energy", "default") for number in range(200)]
MANY: list[tuple[Any, tuple[str, ...]]] = [
    (ms.Events(7, [*queued]), ("events",)),
    (ms.FetchAhead([StoredObject(b"%d" % n, n) for n in range(300)]), ("objects",)),
    (ms.ForgetObjects([b"object-%d" % n for n in range(300)]), ("names",)),
    (ms.ForgetTypes(list(range(900))), ("types",)),
    (ms.LetGo([b"object-%d" % n for n in range(300)]), ("names",)),
    (ms.CancelTasks(list(range(900)), "why", True), ("tasks",)),
    (ms.ReassignTasks(list(range(900)), "there"), ("tasks",)),
    (ms.Reprioritise([(n, n / 7) for n in range(300)]), ("changes",)),
    (ms.TaskStates(list(range(900)), [3]), ("queued", "running")),
    (ms.TaskStates([], list(range(900))), ("queued", "running")),
]


@pytest.fixture(autouse=True)
def _low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BATCH_HEADER_BYTES", BOUND)
    monkeypatch.setattr(cutting, "BATCH_FRAMES", 10)
    monkeypatch.setattr(cutting, "BATCH_BYTES", 100 * BOUND)
    monkeypatch.setattr(cutting, "LONGEST_HEADER_BYTES", 2 * BOUND)
    monkeypatch.setattr(cutting, "LONG_CODE_BYTES", 100)
    monkeypatch.setattr(headers, "LIMIT_HEADER_BYTES", 3 * BOUND)


def read(found: Iterable[list[Any]], decode: Any) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return what was said in batches, each of which a receiver takes in."""
    heard: list[tuple[Any, tuple[Any, ...]]] = []
    for header, *frames in found:
        assert len(frames) <= 30
        heard += deal_frames(decode(header), frames)
    return heard


def test_no_batch_has_more_messages_than_a_broker_takes_in_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "BATCH_HEADER_BYTES", 1 << 20)
    monkeypatch.setattr(headers, "LIMIT_HEADER_BYTES", 1 << 20)
    said = [to_broker(number) for number in range(2 * BATCH_MESSAGES + 3)]
    sizes = [len(decode_to_broker(header)) for header, *_ in batches(said, ())]
    assert sizes == [BATCH_MESSAGES, BATCH_MESSAGES, 3]
    assert BATCH_MESSAGES <= MESSAGES_PER_STEP


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_in_one_go_is_heard_in_its_order_with_its_frames(seed: int) -> None:
    dice = random.Random(seed)
    said: list[tuple[Any, tuple[Any, ...]]] = []
    for number in range(400):
        frames = tuple(dice.randbytes(dice.choice([0, 9, 900])) for _ in range(dice.randrange(5)))
        message = to_broker(number, frames if dice.random() < 0.2 else ())
        if dice.random() < 0.1:
            message = ms.CancelTasks([number], "x" * dice.choice([10, BOUND]))
        said.append((message, frames[: getattr(message, "frames", 0)]))
    together = list(
        batches([message for message, _ in said], [f for _, frames in said for f in frames])
    )
    assert len(together) > 10
    assert read(together, decode_to_broker) == said


@pytest.mark.parametrize(("message", "names"), MANY)
def test_what_is_said_of_many_things_is_said_of_some_at_a_time(
    message: Any, names: tuple[str, ...]
) -> None:
    decode = decode_to_broker if isinstance(message, ms.ToBroker) else decode_from_broker
    heard = [part for part, _ in read(batches([message], ()), decode)]
    assert len(heard) > 2
    for name in names:
        assert [each for part in heard for each in getattr(part, name)] == getattr(message, name)
    for field in set(message.__struct_fields__) - set(names):
        assert {getattr(part, field) for part in heard} == {getattr(message, field)}


def test_code_that_is_long_travels_as_a_frame_and_comes_back_to_its_place() -> None:
    short, long = (ms.DefineTask(n, TaskSpec("f", "p", code=CODE[:n])) for n in (90, len(CODE)))
    together = list(batches([short, long, to_broker(1)], ()))
    assert [len(batch) for batch in together] == [1, 2, 1]
    for decode in (decode_to_broker, decode_from_broker):
        assert read(batches([short, long], ()), decode) == [(short, ()), (long, ())]


def test_one_message_that_is_too_long_is_an_error_that_names_it_after_what_came_before() -> None:
    heard: list[list[Any]] = []
    with pytest.raises(EncodingError, match=r"CancelTasks of 20.. bytes is too long .* takes 2000"):
        heard.extend(batches([to_broker(1), ms.CancelTasks([1], "x" * 2_001), to_broker(2)], ()))
    wrong: Any = ValueError("x")
    with pytest.raises(EncodingError, match=r"CancelTasks.* cannot be encoded: Encoding objects"):
        list(batches([to_broker(1), ms.CancelTasks([1], wrong)], ()))


def test_frames_that_no_message_takes_are_refused_where_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "BATCH_FRAMES", 3)
    monkeypatch.setattr(cutting, "BATCH_BYTES", BOUND)
    monkeypatch.setattr(cutting, "MOST_FRAMES", 3)
    monkeypatch.setattr(cutting, "LONGEST_MESSAGE_BYTES", BOUND)
    check_frames((b"x", memoryview(b"y"), b"z"), "a value")
    for frames in ((b"",) * 4, (bytes(BOUND + 1),)):
        with pytest.raises(EncodingError, match=r"a value: . arrays .* through the store"):
            check_frames(frames, "a value")
        with pytest.raises(EncodingError, match="SubmitTask: "):
            list(batches([to_broker(1, frames)], frames))


def test_what_a_broker_would_not_read_is_refused_where_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(headers, "SAID_BYTES", 100)
    headers.refuse_unreadable(ms.Subscribe(1, None, "energy", None, 3))
    wrong: list[Any] = [
        ms.Subscribe(1, None, 3, None, None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ms.Subscribe(1, None, None, None, 2**70),
        ms.StopBroker(ValueError("x")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ms.AskMove(1, "a", "b", 1.5, False, False, "drain", None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ms.StopBroker("x" * 101),
    ]
    for message in wrong:
        with pytest.raises(UsageError, match=type(message).__name__):
            headers.refuse_unreadable(message)


# -- over the wires -----------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_much_arrives_in_both_directions(transport: str) -> None:
    loop = asyncio.get_running_loop()
    frames = tuple(b"%d" % number for number in range(25))
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, loop)
        peer = wire.ear()
        for number in range(500):
            its = frames if number % 100 == 7 else ()
            peer.link.send(to_broker(number, its), its)
        peer.link.send(ms.DefineTask(1, TaskSpec("f", "p", code=CODE)))
        peer.flush()
        await ear.until(lambda: len(ear.heard) == 501)
        assert [m.task_id for _, m, _ in ear.heard[:-1]] == list(range(500))
        assert ear.heard[-1][1].spec.code == CODE
        assert [content(f) for f in ear.heard[207][2]] == list(frames)

        name = ear.heard[0][0]
        for number in range(500):
            its = frames if number % 100 == 7 else ()
            wire.router.send(name, from_broker(number, its), its)
        wire.router.send(name, ms.Events(1, [*queued]))
        ear.flush()
        events: list[Any] = []

        def all_there() -> bool:
            events[:] = [e for m, _ in peer.heard if isinstance(m, ms.Events) for e in m.events]
            return len(events) == len(queued)

        await peer.until(all_there)
        assert events == queued
        assert [m.task_id for m, _ in peer.heard[:500]] == list(range(500))


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_what_is_too_long_for_one_peer_ends_that_peer_and_no_other(transport: str) -> None:
    loop = asyncio.get_running_loop()
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, loop)
        one, other = wire.ear(), wire.ear()
        one.say(1)
        await ear.until(lambda: ear.heard)
        other.say(2)
        await ear.until(lambda: len(ear.heard) == 2)
        (first, _, _), (second, _, _) = ear.heard
        wire.router.send(first, from_broker(1))
        wire.router.send(first, ms.MoveNews(1, "ended", [], [], "x" * 2_001))
        wire.router.send(first, from_broker(2))
        wire.router.send(second, from_broker(3))
        assert ear.flush() == [first]
        await other.until(lambda: other.numbers() == [3])
        await one.until(lambda: len(one.heard) == 2)
        assert one.heard[0][0] == from_broker(1)
        refused = one.heard[1][0]
        assert isinstance(refused, ms.Refused)
        assert "MoveNews of 20" in refused.reason


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_a_link_says_that_something_is_too_long_and_what_it_hears_is_no_batch(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, loop)
        link = wire.link()
        link.send(to_broker(1))
        link.send(ms.StopBroker("x" * 2_001))
        with pytest.raises(EncodingError, match="StopBroker of 20"):
            link.flush()
        await ear.until(lambda: ear.numbers() == [1])
        monkeypatch.setattr(headers, "LIMIT_HEADER_BYTES", 10)
        wire.router.send(ear.heard[0][0], ms.Closing("x" * 50))
        ear.flush()
        came = asyncio.Event()
        link.attach(loop, came.set)

        async def hear() -> None:
            while not link.receive(1):
                came.clear()
                if not link.ready():
                    await came.wait()

        with pytest.raises(ProtocolError, match="limit 10"):
            await asyncio.wait_for(hear(), 10)


def test_a_stream_carries_much_and_ends_whom_it_cannot_tell() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="steerio-") as folder,
        closing(StreamRouter(f"{folder}/workers")) as router,
        closing(StreamLink(router.address)) as link,
    ):
        for number in range(300):
            link.send(to_broker(number))
        link.flush()
        heard: list[int] = []
        while len(heard) < 300:
            heard += [m.task_id for a in _next(router) for m, _ in a.messages]
        assert heard == list(range(300))
        (peer,) = router._connections
        for number in range(300):
            router.send(peer, from_broker(number))
        router.send(peer, ms.Closing("x" * 2_001))
        router.flush()
        told: list[Any] = []
        while not told or not isinstance(told[-1], ms.Refused):
            told += [message for message, _ in link.receive_within(1.0)]
            router.expect()
            router.receive(1)
        assert [message.task_id for message in told[:-1]] == list(range(300))


def _next(router: StreamRouter) -> list[Arrival]:
    router.expect()
    return router.receive(1_000)
