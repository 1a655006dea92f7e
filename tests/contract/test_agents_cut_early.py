"""An agent that is cancelled before it begins leaves nothing behind."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from steerio.campaign.agent_errors import as_agent


async def test_setup_that_is_cancelled_before_it_begins_is_closed() -> None:
    setup = asyncio.sleep(1)
    running = asyncio.ensure_future(as_agent("setup", setup, lambda error: False))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert inspect.getcoroutinestate(setup) == inspect.CORO_CLOSED
