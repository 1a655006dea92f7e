"""One reader of a run for all pages that show it, at a cost that does not grow with them.

The record is read, and its snapshots are made and encoded, in one thread of its own, so that the
loop answers at once while a long record is read. A page gets the newest snapshot once it has taken
the last one, so that a slow page misses some, and none piles up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from steerio.edge.system.own_files import to_json
from steerio.edge.system.threads import DaemonThreads
from steerio.view.answers import SpanWindow, TaskStory
from steerio.view.snapshot import GanttView, RunSnapshot

log = logging.getLogger("steerio.dashboard")

TICK_S = 0.25
"""Between two snapshots at least: people see no more than four a second."""
GANTT_S = 2.0
"""Between two Gantts at least, which are the larger part of the bytes."""
ALONE_S = 2.0
"""Between two looks at the record while no page is open."""
SHARE = 0.05
"""The share of its thread's time that a reader takes that has caught up with the record."""
SLOWEST_S = 4.0
"""Between two snapshots at most, however long one takes."""
LAST_S = 3.0
"""For reading the rest of the record, after which the pages are told that the server ends."""
BEAT_S = 5.0
"""Between two signs of life while nothing changes."""
MOST_PAGES = 32
"""Pages that may be open at a time: more are refused."""
BEGIN = b"retry: 2000\n: a run of steerio\n\n"
"""The first bytes of every stream, before anything is read. They say when to try again."""

R = TypeVar("R")


class Watched(Protocol):
    """A run that is read by one thread, and asked questions of by others."""

    @property
    def folder(self) -> Path:
        """The run directory."""
        ...

    def advance(self, *, last: bool = False) -> bool:
        """Read on, for a bounded time; return whether there is more to read at once.

        ``last``: no more will be read, so nothing may be taken from an earlier look.
        """
        ...

    def snapshot(self) -> RunSnapshot:
        """Return the newest snapshot, without the Gantt."""
        ...

    def gantt(self) -> GanttView:
        """Return the newest Gantt."""
        ...

    def spans(self, begin: float, end: float, most: int) -> SpanWindow:
        """Return the attempts in a window of time."""
        ...

    def story(self, task_id: int) -> TaskStory:
        """Return the story of a task."""
        ...


class Broadcast:
    """Follows a run and gives its snapshots to any number of pages.

    Args:
        watched: the run.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._thread = DaemonThreads(1, "steerio-view")
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._number = 0
        self._shown = self._drawn = -1
        self._drawn_at = -GANTT_S
        self._news = asyncio.Event()
        self._wanted, self._ending = asyncio.Event(), asyncio.Event()
        self._pages = 0
        self._closed = self._over = False

    # -- reading -----------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Follow the record until `close`; pages are told of a trouble in reading it."""
        try:
            while not self._closed:
                began = time.monotonic()
                more = await self._step()
                took = time.monotonic() - began
                await self._pause(0.0 if more else min(SLOWEST_S, max(TICK_S, took / SHARE)))
            with contextlib.suppress(TimeoutError):  # the end of the run may just have been written
                async with asyncio.timeout(LAST_S):
                    while await self._step(last=True):
                        pass
        finally:
            self._over = True
            self._news.set()
            self._thread.close(0.0)

    async def _step(self, *, last: bool = False) -> bool:
        try:
            more, told = await self._in_thread(self._read, last)
        except Exception as error:  # disks and records fail in many ways
            log.warning("the record cannot be read: %s", error, exc_info=True)
            told = {"trouble": encoded_event("trouble", f"The record cannot be read: {error}")}
            more = False
        self._tell(told)
        return more

    def _read(self, last: bool) -> tuple[bool, dict[str, bytes]]:
        """Read on; return whether there is more, and the values to tell (in the thread)."""
        more = self._watched.advance(last=last)
        told: dict[str, Any] = {}
        snapshot = self._watched.snapshot()
        now = time.monotonic()
        at_end = last and not more
        if snapshot.number != self._drawn and (at_end or now - self._drawn_at >= GANTT_S):
            self._drawn, self._drawn_at = snapshot.number, now
            told["gantt"] = self._watched.gantt()
        if snapshot.number != self._shown:
            self._shown = snapshot.number
            told["snapshot"] = snapshot
        return more, {event: encoded_event(event, value) for event, value in told.items()}

    async def snapshot(self) -> RunSnapshot | None:
        """Return the newest snapshot, made in the thread that reads; ``None``: that has ended."""
        return None if self._over else await self._in_thread(self._watched.snapshot)

    async def _in_thread(self, function: Callable[..., R], *args: Any) -> R:
        return await asyncio.wrap_future(self._thread.submit(function, *args))

    async def _pause(self, for_s: float) -> None:
        """Wait, and longer while no page is open; the first that is opened ends that."""
        if self._closed or not for_s:
            await asyncio.sleep(0)
            return
        until = self._ending
        if not self._pages:
            for_s, until = max(for_s, ALONE_S), self._wanted
            until.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await until.wait()

    # -- telling -----------------------------------------------------------------------------------

    def _tell(self, told: dict[str, bytes]) -> None:
        if not told:
            return
        self._number += 1
        for event, value in told.items():
            self._latest[event] = (self._number, value)
        if "trouble" not in told:
            self._latest.pop("trouble", None)
        self._news.set()
        self._news = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether as many pages are open as may be."""
        return self._pages >= MOST_PAGES

    async def updates(self) -> AsyncGenerator[bytes]:
        """Yield the events of one page, as they go over the wire, until `close`."""
        self._pages += 1
        self._wanted.set()
        try:
            yield BEGIN
            had = 0
            while True:
                news = self._news
                new = [pair for pair in self._latest.values() if pair[0] > had]
                if new:
                    had = max(number for number, _ in new)
                    yield b"".join(value for _, value in new)
                    continue
                if self._over:
                    break
                try:
                    async with asyncio.timeout(BEAT_S):
                        await news.wait()
                except TimeoutError:
                    yield encoded_event("beat", None)
            yield encoded_event("over", None)
        finally:
            self._pages -= 1

    def close(self) -> None:
        """Have `follow` read once more, and end, and all streams with it."""
        self._closed = True
        self._wanted.set()
        self._ending.set()


def encoded_event(event: str, value: Any) -> bytes:
    """Return a server-sent event; JSON has no line breaks, which would end it."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), to_json(value))
