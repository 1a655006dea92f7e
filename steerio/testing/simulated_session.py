"""The session of a simulated client, as `steerio.connect` opens one over a network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from steerio.client.client import Client
from steerio.edge.store.store import MemoryStore
from steerio.model.objects import StoreSetting
from steerio.session.detached import left_and_found
from steerio.session.session import Session
from steerio.session.session_store import SessionStore


@contextlib.asynccontextmanager
async def joined(
    client: Client, name: str, setting: StoreSetting, objects: MemoryStore, *, detach: bool
) -> AsyncGenerator[Session, None]:
    """Have a client join, and yield its session; it leaves at the end.

    Args:
        client: the client, whose link is open.
        name: its name.
        setting: which values go to the store.
        objects: its end of the store.
        detach: as for `steerio.connect`.
    """
    session: Session | None = None
    try:
        await client.join(name, detached=detach)
        session = Session(client, store=SessionStore(client, setting, objects, threaded=False))
        session.clock = asyncio.get_running_loop().time
        async with left_and_found(session) if detach else contextlib.nullcontext():
            yield session
    finally:
        if session is not None:
            session.close()
        else:
            client.close()
        await client.wait_closed()
