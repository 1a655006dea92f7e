"""A broker in the test's own process, and all of its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from steerio import Session
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.session.session_store import SessionStore


@asynccontextmanager
async def followed(setup: BrokerSetup) -> AsyncIterator[tuple[Hosting, Session, list[Any]]]:
    """Open a broker and a session with it; the list has the events so far."""
    hosting = Hosting(setup)
    await hosting.start()
    try:
        client = await hosting.join("test")
        session = Session(client, None, SessionStore(client, *hosting.store))
        events: list[Any] = []

        async def listen() -> None:
            async with session.events(since=0) as heard:
                async for event in heard:
                    events.append(event)

        listening = asyncio.ensure_future(listen())
        try:
            yield hosting, session, events
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            session.close()
            await session.store.close()
    finally:
        await hosting.close("the test has ended")
