"""A session is of the thread of its loop: from others it is refused, where a wait would not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from steerio import Session, UsageError
from steerio.testing import SimulatedCluster
from tests.simulated.virtual import on_cluster, simulation

pytestmark = pytest.mark.borders


@on_cluster()
async def test_what_is_asked_of_a_session_in_another_thread_is_refused_there(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 1.0)
    asked: list[Callable[[], Any]] = [
        lambda: session.submit(simulation, 1.0),
        lambda: session.map(simulation, [1.0]),
        lambda: asyncio.run(session.run(simulation, 1.0)),
        lambda: asyncio.run(session.gather(task)),
        lambda: asyncio.run(session.status()),
        lambda: session.publish("news"),
        lambda: session.cancel([task]),
        lambda: session.reprioritise({task: 2.0}),
        lambda: session.pools.move("simulate", "learn", 1),
        task.cancel,
    ]
    for ask in asked:
        with pytest.raises(UsageError, match="belongs to the thread of its event loop"):
            await asyncio.to_thread(ask)
    assert await task == 1.0
    assert not session.pending
