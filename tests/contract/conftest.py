"""A contract holds on every event loop: each async test here runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping

import pytest
import uvloop
from zmq.utils.garbage import gc as frame_collector


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _without_frame_collector() -> Generator[None]:
    """End the thread that pyzmq starts, once a process, with the first frame it does not copy."""
    yield
    frame_collector.stop()
