"""The functions that open sessions: with a broker of their own on this loop, or a running one.

All that was opened is closed in reverse, even if opening fails half-way.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

from steerio.client.client import Client
from steerio.edge.wire.connection import Connection
from steerio.errors import NotAllowed, UsageError
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.brokers_again import BrokerFinder
from steerio.launch.finding import folder_of
from steerio.launch.hosting import Hosting
from steerio.launch.on_executor import on_executors
from steerio.launch.stores import check_thresholds, reach_store
from steerio.launch.workers import DEFAULT, AskedWorkers, check_workers, named_workers, needs_of
from steerio.model.allowed import checked_patterns
from steerio.model.bounds import named
from steerio.model.from_clients import IN_WORKER
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.session.argument_checks import (
    Folders,
    check_given,
    check_pin,
    named_folders,
    named_modules,
)
from steerio.session.detached import left_and_found
from steerio.session.memo import open_earlier
from steerio.session.run_dir import refuse_used
from steerio.session.session import Session
from steerio.session.session_store import SessionStore

P = ParamSpec("P")

CLIENT_NAME = "the name of a client"


class Opening(contextlib.AbstractAsyncContextManager[Session]):
    """A session that is not open: ``async with`` opens it, and closes it when its block ends.

    Args:
        session: opens and closes it.
        how: its use, in words.
    """

    def __init__(self, session: contextlib.AbstractAsyncContextManager[Session], how: str) -> None:
        self._session = session
        self._how = how

    async def __aenter__(self) -> Session:
        return await self._session.__aenter__()

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await self._session.__aexit__(*raised)

    def __enter__(self) -> NoReturn:
        raise UsageError(f"a session is opened with async: {self._how}")

    def __exit__(self, *_: object) -> None:
        """Be there, so that ``with`` gets as far as to enter."""

    def __await__(self) -> NoReturn:
        raise UsageError(
            f"a session is opened for as long as a block lasts, and not awaited: {self._how}"
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"it has no {name!r}, for it is not open: {self._how}")


def opened_by_async_with(
    function: Callable[P, AsyncGenerator[Session, None]],
) -> Callable[P, Opening]:
    """Make a generator that yields an open session a function that returns an `Opening`."""
    opens = contextlib.asynccontextmanager(function)
    how = f"async with steerio.{function.__name__}(...) as session:"

    @functools.wraps(function)
    def opening(*args: P.args, **kwargs: P.kwargs) -> Opening:
        return Opening(opens(*args, **kwargs), how)

    return opening


@opened_by_async_with
async def open_session(
    *,
    workers: AskedWorkers | int | None = None,
    run_dir: Path | str | None = None,
    preload: Iterable[str] = (),
    pin: bool = True,
    settings: Settings | None = None,
    store: StoreSetting | None = None,
    random_seed: int | None = None,
    name: str = "session",
    memo: Folders = (),
    allow: Iterable[str] | None = None,
) -> AsyncGenerator[Session, None]:
    """Open a session with a broker and workers of its own, on the running loop.

    The broker lives on this loop, the workers are processes on this machine; all of it ends with
    the session.  No loop policy and no signal handler is installed.

    Args:
        workers: the number for each pool, like ``{"simulate": 2, "learn": Workers(1, gpus=1)}``, or
            `OnExecutor` for a pool whose tasks another program's executor runs; a number alone is
            for the pool ``default``; by default it has one for each core.
        run_dir: the folder for the record; without one none is kept.
        preload: modules that all workers import before they start.
        pin: whether each worker gets cores of its own, if there are enough.
        settings: bounds and leases.
        store: the store of large values; by default shared memory.
        random_seed: the number from which the random numbers of workers and tasks follow, 0 to
            2**64 - 1; by default one is drawn. The session has it as ``random_seed``.
        name: of this client, in status and events.
        memo: the run directory of an earlier run of a campaign, or several, whose results of task
            types with ``memo=True`` are known here. A session has no journal of its own: of its own
            results the latest are known, up to 128 MiB.
        allow: the import paths of the only functions that workers run, like ``["search:energy",
            "search:*"]``. Workers then read no pickle, and neither does this process as long as
            the session is open: arguments and values travel as msgspec has them, or are refused.
            By default workers run any function.

    Raises:
        UsageError: an argument is wrong, or ``run_dir`` holds another run.
        JournalDamaged: an earlier run cannot be read.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = named_workers((cores or 1) if workers is None else workers, [DEFAULT])
    counts = check_workers(asked)
    check_given(run_dir=run_dir, settings=settings, store=store)
    check_pin(pin)
    name = named(name, CLIENT_NAME)
    allowed = checked_patterns(allow, "allow")
    modules = named_modules(preload)
    folder = None if run_dir is None else Path(run_dir)
    if folder is not None:
        refuse_used(run_dir or "")
    check_thresholds(store, counts)
    earlier = await open_earlier(named_folders(memo))
    engines = on_executors(asked)
    setup = BrokerSetup(
        workers={pool: count for pool, count in counts.items() if pool not in engines},
        pools={pool: counts[pool] for pool in engines},
        on_executors=engines,
        needs=needs_of(asked),
        run_dir=folder,
        preload=dict.fromkeys(counts, modules),
        pin=pin,
        settings=settings or Settings(),
        store=store,
        random_seed=random_seed,
        allow=allowed,
    )
    hosting = Hosting(setup)
    await hosting.start()
    try:
        client = await hosting.join(name)
        session = Session(client, folder, SessionStore(client, *hosting.store))
        session.random_seed, session.reached_by = hosting.random_seed, hosting.connection
        if earlier:
            session.recall_from(earlier)
        try:
            yield session
        finally:
            session.close()
            await session.store.close()
    finally:
        await hosting.close("the session has ended")


@opened_by_async_with
async def connect(
    run_dir: Path | str, *, name: str = "", memo: Folders = (), detach: bool = False
) -> AsyncGenerator[Session, None]:
    """Open a session with a broker that runs already, found by its run directory.

    Any number of clients may be connected; leaving cancels this one's tasks that have not ended,
    unless it is detached.

    Args:
        run_dir: of the broker; or a connection file: with that of observers the session may only
            look on (at status, events and pools) and raises `NotAllowed` for all else.
        name: of this client, in status and events.
        memo: as for `open_session`.
        detach: the tasks go on when the session ends, also if its process dies, and the next
            detached session of this name has them as ``earlier``. Their results are kept until
            `Session.forget`. A session that is open under this name ends with `BrokerLost`.

    Raises:
        UsageError: an argument is wrong, no broker runs there, or this machine does not know its
            address.
        BrokerLost: it does not answer.
        JoinRefused: it speaks another protocol.
    """
    check_given(run_dir=run_dir)
    if detach and not name:
        raise UsageError(
            "a detached session needs a name, by which the next one finds its tasks: "
            'connect(..., name="...", detach=True)'
        )
    name = named(name or f"client-{os.getpid()}-{os.urandom(4).hex()}", CLIENT_NAME)
    earlier = await open_earlier(named_folders(memo))
    identity = f"client-{os.getpid()}-{os.urandom(8).hex()}"
    session: Session | None = None
    with contextlib.ExitStack() as opened:
        finder = BrokerFinder(run_dir, identity, opened)
        connection = finder.connection
        client = Client(await finder.open(), watched=True, finder=finder)
        try:
            await client.join(
                name,
                worker=os.environ.get(IN_WORKER, ""),
                observes=connection.observes,
                detached=detach,
            )
            if detach and client.observes:
                raise NotAllowed("submit tasks that go on without it")
            store = SessionStore(client, StoreSetting(), None)
            if not client.observes:
                store = SessionStore(client, *reach_store(connection, opened))
            session = Session(client, folder_of(run_dir), store)
            session.random_seed, session.reached_by = connection.random_seed, connection
            if earlier:
                session.recall_from(earlier)
            finder.on_another = partial(_reach_its_store, session.store, opened)
            async with left_and_found(session) if detach else contextlib.nullcontext():
                yield session
        finally:
            if session is not None:
                session.close()
                await session.store.close()
            else:
                client.close()
            await client.wait_closed()


def _reach_its_store(
    store: SessionStore, opened: contextlib.ExitStack, connection: Connection
) -> None:
    """Use the store of another broker, if that has not taken over its predecessor's."""
    if not store.client.observes:
        store.reach(*reach_store(connection, opened))
