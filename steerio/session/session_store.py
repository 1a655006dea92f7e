"""A session's use of the store: threads put and fetch large values."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from steerio.client.client import Client
from steerio.edge.encoding.digests import digest_parts
from steerio.edge.encoding.references import UsedReferences, gather
from steerio.edge.encoding.snapshots import hold_still, snapshot, unchanging
from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.store.store import Store
from steerio.edge.system.threads import DaemonThreads
from steerio.errors import BrokerLost, NotAllowed, ObjectMissing, UsageError
from steerio.model.objects import StoredObject, StoreLoad, StoreSetting
from steerio.model.tasks import TaskSpec
from steerio.session.known_versions import KnownVersions
from steerio.session.reference import Reference

R = TypeVar("R")

AT_ONCE_BYTES = 1 << 20
"""Longest value that is copied on the loop: handing it to a thread would take as long."""
THREADS = 2
"""Threads that put and fetch for one session."""
DIGESTS = 10_000
"""Digests that are kept, of the values that were put last."""
END_S = 1.0
"""Longest wait for the end of threads that have nothing to do."""
CLOSE_S = 10.0
"""Longest wait, at the end of a session, for puts and fetches that are under way."""

log = logging.getLogger("steerio.session")


class SessionStore:
    """The store of a session's large values; ``session.store``.

    Args:
        client: tells the broker which objects are needed.
        setting: says which values go by reference.
        store: the store, or ``None`` if this process cannot reach it.
        absent: why it cannot.
        threaded: whether large values are copied by threads (not on a virtual clock).
    """

    def __init__(
        self,
        client: Client,
        setting: StoreSetting,
        store: Store | None,
        absent: str = "",
        *,
        threaded: bool = True,
    ) -> None:
        self.client = client
        self.setting = setting
        self._store = store
        if store is not None:
            store.maker = client.maker
        self._absent = absent
        self._threaded = threaded
        self._threads = DaemonThreads(THREADS, "steerio-store")
        self._under_way: set[asyncio.Future[Any]] = set()
        self._closed = False
        self.versions = KnownVersions(client, self)
        self.digests = False
        """Whether to make digests of the values that are put, so that calls can be told apart."""
        self._digests: dict[bytes, bytes] = {}
        """Those of the latest values, by the names of the objects."""
        self._noting = threading.Lock()
        """Held while one of these is added: several threads put values."""

    def __repr__(self) -> str:
        return f"<SessionStore: {self._absent or self._store}>"

    def reach(self, setting: StoreSetting, store: Store | None, absent: str) -> None:
        """Use another store from now on: that of a broker which has the place of the last."""
        self.setting, self._store, self._absent = setting, store, absent
        if store is not None:
            store.maker = self.client.maker

    async def statistics(self) -> StoreLoad:
        """Return the numbers of objects and bytes in the store, and their holders.

        Raises:
            BrokerLost: the broker has ended or does not answer.
        """
        return (await self.client.requests.status()).store

    def check(self, used: UsedReferences, what: str) -> None:
        """Check the references that a call holds.

        Raises:
            UsageError: one is of another session, which may let its value go before the broker
                of this one hears of the call.
        """
        for reference in used.references.values():
            if getattr(reference, "store", None) is not self:
                raise UsageError(
                    f"{what} is given {reference!r}, which another session has made and may let "
                    "go at any time. Submit to that session, or await it and give its value"
                )

    # -- putting ----------------------------------------------------------------------------

    def takes(self, nbytes: int, spec: TaskSpec) -> bool:
        """Say whether arguments of so many bytes go by reference."""
        if self._store is None:
            return False
        threshold = self.setting.threshold(spec.pool, spec.threshold_bytes)
        return threshold is not None and nbytes > threshold

    async def put(self, value: object) -> Reference:
        """Put a value into the store; see ``Session.put``."""
        stored = await self.store(value)
        self.client.objects.hold(stored)
        return Reference(self, stored, None)

    async def store(self, value: object) -> StoredObject:
        """Put a value into the store; the caller must tell the broker of it.

        Raises:
            UsageError: this process has no store, or the value holds references.
            NotAllowed: the broker lets this client only look on.
            EncodingError: the value cannot be pickled.
            StoreFull: there is no room for it.
            BrokerLost: the broker has ended.
        """
        self._reached()
        with gather() as used:
            body, frames = ANY_VALUE.pack(value, "a value for the store")
        if used.objects or used.latest:
            raise UsageError(
                "a value for the store cannot hold references: steerio could not know for how "
                "long it needs their values. Give a task both, or await the references"
            )
        parts = (body, *frames)
        if self._at_once(total_bytes(parts)):
            stored = self._put_at_once(parts)
        else:
            stored = await self._put_meanwhile(value, parts)
        if self.client.lost:
            self.discard(stored)
            raise BrokerLost(self.client.lost)
        return stored

    def _put_at_once(self, parts: Sequence[Any]) -> StoredObject:
        if self._closed:
            raise BrokerLost(self.client.lost or "this session was closed")
        return self._put(parts)

    def _put(self, parts: Sequence[Any], pool: str = "") -> StoredObject:
        """Put the parts of a value, and note their digest (any thread)."""
        stored = self._reached().put(parts, pool)
        if self.digests:
            digest = digest_parts(parts)
            with self._noting:
                self._digests[stored.name] = digest
                if len(self._digests) > DIGESTS:
                    del self._digests[next(iter(self._digests))]
        return stored

    def digest_of(self, stored: StoredObject) -> bytes:
        """Return the digest of a value that was put lately; empty: it is not known."""
        return self._digests.get(stored.name, b"")

    async def _put_meanwhile(self, value: object, parts: Sequence[Any]) -> StoredObject:
        """Have a thread put a value, into which NumPy refuses to write until that is done."""
        release = hold_still((value, *parts))
        try:
            putting = self._in_thread(self._put, parts)
        except BrokerLost:
            release()
            raise
        putting.add_done_callback(lambda _: release())
        try:
            return await self._outcome(putting)
        except asyncio.CancelledError:
            putting.add_done_callback(self._discard)
            raise

    def put_frames(
        self,
        frames: Sequence[Any],
        nbytes: int,
        pool: str,
        then: Callable[[StoredObject | None, Exception | None], None],
    ) -> None:
        """Put the frames of a call as they are now; ``then`` gets the outcome, on the loop.

        A thread puts frames that are large and cannot be changed. Others are put before this
        returns, as they may be changed then; if it would take long to reach the store, they are
        copied.
        """
        store = self._reached()
        frames = frames if store.local else snapshot(frames)
        if self._at_once(nbytes) or not all(map(unchanging, frames)):
            try:
                stored = store.put(frames, pool)
            except Exception as error:  # noqa: BLE001 - as it would come from a thread
                then(None, error)
            else:
                then(stored, None)
            return

        def put(putting: asyncio.Future[StoredObject]) -> None:
            if putting.cancelled():  # the session was closed, and tells waiters
                return
            error = putting.exception()
            assert error is None or isinstance(error, Exception)
            then(None if error else putting.result(), error)

        self._in_thread(store.put, frames, pool).add_done_callback(put)

    def discard(self, stored: StoredObject) -> None:
        """Remove an object of which the broker was not told (a closed session leaves it there)."""
        if not self._closed:
            self._in_thread(self._reached().evict, [stored.name])

    def _discard(self, putting: asyncio.Future[StoredObject]) -> None:
        if not putting.cancelled() and putting.exception() is None:
            self.discard(putting.result())

    # -- fetching -----------------------------------------------------------------------------

    def content_of(self, stored: StoredObject) -> list[Any]:
        """Return the parts of an object (any thread).

        Raises:
            ObjectMissing: it is not in the store any more.
            UsageError: this process has no store.
        """
        return self._reached().get(stored)

    async def put_content(self, parts: Sequence[Any]) -> StoredObject:
        """Put the parts of an object that `content_of` returned; the caller must tell of it."""
        self._reached()
        return await self._outcome(self._in_thread(self._put, parts))

    async def value_of(self, stored: StoredObject) -> Any:
        """Return the value of an object.

        Raises:
            ObjectMissing: it is not in the store any more.
            BrokerLost: the session was closed before the store answered.
        """
        return await self._outcome(self._in_thread(self._load, stored))

    def _load(self, stored: StoredObject) -> Any:
        body, *frames = self._reached().get(stored)
        return ANY_VALUE.unpack(bytes(body), frames, views=True)

    def fetch(
        self,
        stored: StoredObject,
        read: Callable[[Callable[[], Sequence[Any]]], R],
        then: Callable[[R], None],
    ) -> None:
        """Fetch frames that were put for this client alone, and let go of them.

        ``read`` makes a value of them: in a thread if they are large, and without raising. It is
        given a function that returns the frames, or raises `ObjectMissing`. ``then`` gets the
        value, on the loop.
        """

        def frames() -> Sequence[Any]:
            return self._reached().get(stored, private=True)

        def too_late() -> Sequence[Any]:
            raise ObjectMissing(stored.name, "a store of which the session was closed meanwhile")

        def fetched(what: R) -> None:
            self.let_go(stored)
            then(what)

        def done(fetching: asyncio.Future[R]) -> None:
            fetched(read(too_late) if fetching.cancelled() else fetching.result())

        if self._at_once(stored.nbytes):
            fetched(read(frames))
        else:
            self._in_thread(read, frames).add_done_callback(done)

    async def item(self, body: bytes, stored: StoredObject) -> Any:
        """Return an item of a generator task; let go of it unless the caller is cancelled.

        Raises:
            ObjectMissing: it is not in the store any more.
            BrokerLost: the session was closed before the store answered.
        """

        def read() -> Any:
            return ANY_VALUE.unpack(body, self._reached().get(stored, private=True))

        try:
            value = await self._outcome(self._in_thread(read))
        except Exception:
            self.let_go(stored)
            raise
        self.let_go(stored)
        return value

    def let_go(self, stored: StoredObject) -> None:
        """Need an object no more.  Any thread may call."""
        self.client.objects.let_go(stored.name)

    # -- threads ------------------------------------------------------------------------------

    def _at_once(self, nbytes: int) -> bool:
        """Say whether to copy so much on the loop."""
        store = self._store
        return store is None or not self._threaded or (store.local and nbytes <= AT_ONCE_BYTES)

    def _reached(self) -> Store:
        if self.client.observes:
            raise NotAllowed("use the store")
        if self._store is None:
            raise UsageError(f"there is no store here: {self._absent}")
        return self._store

    def _in_thread(self, function: Callable[..., R], *args: Any) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        if not self._threaded:
            done: asyncio.Future[R] = loop.create_future()
            try:
                done.set_result(function(*args))
            except Exception as error:  # noqa: BLE001 - as it would come from a thread
                done.set_exception(error)
            return done
        if self._closed:
            raise BrokerLost(self.client.lost or "this session was closed")
        future = asyncio.wrap_future(self._threads.submit(function, *args))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    async def _outcome(self, future: asyncio.Future[R]) -> R:
        """Wait for a thread, which goes on if this is cancelled."""
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():  # by the end of the session, not of the waiting task
                raise BrokerLost(self.client.lost) from None
            raise

    async def under_way_ended(self) -> None:
        """Wait for puts and fetches under way, and their consequences, though not for ever."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CLOSE_S
        while self._under_way and loop.time() < until:
            await asyncio.wait(self._under_way, timeout=until - loop.time())
            await asyncio.sleep(0)  # a put that came too late is removed now

    async def close(self) -> None:
        """Wait for puts and fetches under way, and end those that take too long."""
        await self.under_way_ended()
        self._closed = True
        if self._under_way:
            log.warning("the store did not answer within %g s", CLOSE_S)
        for left in list(self._under_way):
            left.cancel()  # code that waits for it learns that the session has ended
        self._threads.close(0.0 if self._under_way else END_S)
