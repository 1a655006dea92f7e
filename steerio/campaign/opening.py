"""Opening sessions: with a broker of their own on this loop, or with one that runs already.

What was opened is closed in reverse, also where opening fails half-way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from steerio.campaign.run_dir import refuse_used
from steerio.campaign.session import Session
from steerio.campaign.store import SessionStore
from steerio.edge.addresses import resolve_address
from steerio.edge.contexts import Context
from steerio.edge.threads import in_thread
from steerio.edge.zeromq import ZmqLink
from steerio.launch.finding import find_broker
from steerio.launch.hosting import Hosting
from steerio.launch.stores import check_thresholds, reach_store
from steerio.launch.workers import DEFAULT, AskedWorkers, check_workers, named_workers, needs_of
from steerio.model.from_clients import IN_WORKER
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.runtime.client import Client


@contextlib.asynccontextmanager
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
) -> AsyncGenerator[Session, None]:
    """Open a session with a broker and workers of its own, on the running loop.

    The broker lives in this loop, the workers are processes on this machine; all of it
    ends with the session.  No loop policy and no signal handler is installed.

    Args:
        workers: how many for each pool, like ``{"simulate": 2, "learn": Workers(1, gpus=1)}``;
            by default one for each core in the pool ``default``, for which a number alone is.
        run_dir: where to keep the record; none is kept without.
        preload: modules that all workers import before they start.
        pin: whether each worker gets cores of its own, where there are enough.
        settings: bounds and leases.
        store: where large values go; by default shared memory.
        random_seed: what the random numbers of workers and tasks follow from, 0 to 2**64 - 1;
            by default one is drawn.  The session says which it was, as ``random_seed``.
        name: of this client, in status and events.

    Raises:
        UsageError: ``workers``, ``store`` or ``random_seed`` is not what it should be, or
            ``run_dir`` holds another run.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = named_workers((cores or 1) if workers is None else workers, [DEFAULT])
    counts = check_workers(asked)
    folder = None if run_dir is None else Path(run_dir)
    if folder is not None:
        refuse_used(folder)
    check_thresholds(store, counts)
    modules = list(preload)
    hosting = Hosting(
        workers=counts,
        needs=needs_of(asked),
        run_dir=folder,
        preload=dict.fromkeys(counts, modules),
        pin=pin,
        settings=settings,
        store=store,
        random_seed=random_seed,
    )
    await hosting.start()
    try:
        client = await hosting.join(name)
        session = Session(client, folder, SessionStore(client, *hosting.store))
        session.random_seed = hosting.random_seed
        try:
            yield session
        finally:
            session.close()
            await session.store.close()
    finally:
        await hosting.close("the session has ended")


@contextlib.asynccontextmanager
async def connect(run_dir: Path | str, *, name: str = "") -> AsyncGenerator[Session, None]:
    """Open a session with a broker that runs already, found by its run directory.

    Any number of clients may be connected; leaving cancels what this one has submitted
    and has not ended.

    Raises:
        UsageError: no broker runs there.
        BrokerLost: it does not answer.
        JoinRefused: it speaks another protocol.
    """
    connection = find_broker(run_dir)
    address, keys = connection.address
    address = await in_thread(resolve_address, address)
    identity = f"client-{os.getpid()}-{os.urandom(8).hex()}"
    context = Context()
    session: Session | None = None
    with contextlib.ExitStack() as opened:
        opened.callback(context.end)  # also of what a second Ctrl-C kept from closing
        client = Client(ZmqLink(context, address, identity.encode(), keys), watched=True)
        try:
            await client.join(name or identity, worker=os.environ.get(IN_WORKER, ""))
            store = SessionStore(client, *reach_store(connection, opened))
            session = Session(client, Path(run_dir), store)
            session.random_seed = connection.random_seed
            yield session
        finally:
            if session is not None:
                session.close()
                await session.store.close()
            else:
                client.close()
