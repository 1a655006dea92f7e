"""A session's way to a store that keeps it waiting: nothing hangs, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.broker.store_sweeper import StraightSweeper
from steerio.client.client import Client
from steerio.client.held_objects import ClientObjects
from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.memory import MemoryRouter
from steerio.errors import BrokerLost, NotAllowed, ObjectMissing
from steerio.model import messages as ms
from steerio.model.objects import StoredObject, StoreSetting
from steerio.session import session_store as session_store
from steerio.session.session_store import SessionStore
from steerio.session.versions import Versions

VALUE = bytes(1_000)


class GatedStore(MemoryStore):
    """A store far away, which answers when its gate is open."""

    local = False

    def __init__(self, beside: MemoryStore) -> None:
        super().__init__("", beside)
        self.gate = threading.Event()
        self.asked = threading.Semaphore(0)

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        self._wait()
        return super().put(frames, pool)

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        self._wait()
        return super().get(stored, private=private)

    def _wait(self) -> None:
        self.asked.release()
        assert self.gate.wait(60)


class Place:
    """A broker and a session's store on this loop."""

    def __init__(self, client: Client, whole: MemoryStore, gated: GatedStore) -> None:
        self.client, self.whole, self.gated = client, whole, gated
        self.store = SessionStore(client, StoreSetting(), gated)

    async def asked(self, times: int = 1) -> None:
        """Wait until so many threads wait for the store."""
        for _ in range(times):
            await asyncio.to_thread(self.gated.asked.acquire)


@contextlib.asynccontextmanager
async def opened(*, observes: bool = False) -> AsyncGenerator[Place]:
    router, whole = MemoryRouter(), MemoryStore()
    broker = Broker([router], sweeper=StraightSweeper(whole))
    driver = Driver(broker)
    driver.start(stand_in=False)
    client = Client(router.link(), watched=False)
    await client.join("client", observes=observes)
    place = Place(client, whole, GatedStore(whole))
    try:
        yield place
    finally:
        place.gated.gate.set()
        client.close()
        await place.store.close()
        driver.close("the end")
    assert whole.objects == {}


async def test_a_put_is_waited_for_without_holding_up_the_loop() -> None:
    async with opened() as place:
        putting = asyncio.create_task(place.store.put(VALUE))
        await place.asked()
        assert not putting.done()
        place.gated.gate.set()
        reference = await putting
        assert await reference == VALUE
        load = await place.store.statistics()
        assert (load.objects, load.by_clients) == (1, {"client": reference.stored.nbytes})
        del reference, putting
        await place.client.requests.status()
        assert (await place.store.statistics()).objects == 0
        assert place.whole.objects == {}


async def test_an_observer_is_told_that_it_may_not_use_the_store() -> None:
    async with opened(observes=True) as place:
        for putting in (place.store.put(VALUE), Versions(place.store, "model").publish(VALUE)):
            with pytest.raises(NotAllowed, match="an observer may not use the store"):
                await putting
        assert (await place.store.statistics()).objects == 0


async def test_a_reference_that_nobody_keeps_lives_until_it_was_awaited() -> None:
    async with opened() as place:
        place.gated.gate.set()
        references = [await place.store.put(VALUE)]
        await place.asked()
        place.gated.gate.clear()

        async def read() -> Any:
            return await references.pop()

        reading = asyncio.create_task(read())
        await place.asked()
        await place.client.requests.status()  # whatever was to be let go of is gone now
        place.gated.gate.set()
        assert await reading == VALUE
        await place.client.requests.status()
        assert (await place.store.statistics()).objects == 0


async def test_what_was_put_too_late_is_removed() -> None:
    async with opened() as place:
        putting = asyncio.create_task(place.store.put(VALUE))
        await place.asked()
        place.client.close()
        place.gated.gate.set()
        await place.store.close()
        with pytest.raises(BrokerLost):
            await putting
        assert place.whole.objects == {}


async def test_a_put_that_was_cancelled_leaves_nothing() -> None:
    async with opened() as place:
        putting = asyncio.create_task(place.store.put(VALUE))
        await place.asked()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        place.gated.gate.set()
        place.client.close()
        await place.store.close()
        assert place.whole.objects == {}


async def test_a_session_ends_though_its_store_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_store, "CLOSE_S", 0.0)
    async with opened() as place:
        stored = [place.whole.put([VALUE]) for _ in range(3)]
        seen: list[str] = []
        all_seen = asyncio.Event()

        def see(what: str) -> None:
            seen.append(what)
            if len(seen) == len(stored):
                all_seen.set()

        def read(frames: Callable[[], Sequence[Any]]) -> str:
            try:
                return str(len(list(frames())))
            except ObjectMissing as error:
                return str(error)

        for each in stored:
            place.client.objects.hold(each)
            place.store.fetch(each, read, see)
        told: list[Any] = []
        place.store.put_frames([VALUE], len(VALUE), "", lambda *what: told.append(what))
        waiting = asyncio.create_task(place.store.put(VALUE))
        reading = asyncio.create_task(place.store.value_of(stored[0]))
        await place.asked(session_store.THREADS)
        place.client.close()
        await place.store.close()
        for late in (waiting, reading):
            with pytest.raises(BrokerLost, match="session was closed"):
                await late
        await all_seen.wait()
        assert all("the session was closed" in said for said in seen)
        assert told == []  # who waits for that task was told by the client
        place.gated.gate.set()


class Meeting(list[bytes]):
    """A list to which two threads append at the same moment."""

    both = threading.Barrier(2, timeout=60)

    def append(self, name: bytes) -> None:
        super().append(name)
        self.both.wait()


async def test_what_two_threads_let_go_of_at_the_same_moment_is_told() -> None:
    said: list[ms.ToBroker] = []
    objects = ClientObjects(said.append, asyncio.get_running_loop())
    objects._dropped = Meeting()
    ways = [asyncio.to_thread(objects.let_go, name) for name in (b"one", b"two")]
    await asyncio.gather(*ways)
    objects.let_go(b"three")
    await asyncio.sleep(0)
    told = [name for message in said if isinstance(message, ms.LetGo) for name in message.names]
    assert sorted(told) == [b"one", b"three", b"two"]
