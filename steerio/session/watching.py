"""Live views: how far some tasks are, or a whole session, shown while they go on.

Theory.  A view looks at numbers that the session has at hand, twice a second, by a timer of the
loop. It takes no part in them: a task that is watched is not awaited, and
its failure is still an error if no code reads it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from steerio.client.client import Client
from steerio.model.cards import ends_line, failures_list, notes_line, pools_table
from steerio.model.durations import spoken
from steerio.model.markup import Markup, card, quiet
from steerio.model.showing import counted, in_one_line
from steerio.session.notes import in_line
from steerio.session.pace import Rate
from steerio.session.screens import Screen, find_screen, notebook_screen
from steerio.session.tally import Tally, in_kinds
from steerio.session.task import Task

log = logging.getLogger("steerio.session")

LOOK_S = 0.5
"""Seconds between two looks,"""
SHARE = 0.02
"""or more, so that looking takes no more than this share of the time."""


class Picture(NamedTuple):
    """A state at one moment: for notebooks, for terminals, and whether it is the last."""

    page: Markup
    line: str
    last: bool


class Watch:
    """A live view; ``session.watch()`` makes one.

    In a notebook it shows itself as the last expression of a cell, and stays live while later cells
    run. Or it is shown for the length of an ``async with``. On a terminal that is a line which is
    drawn over; elsewhere a line comes every five seconds.

    Args:
        look: returns the present state.
        begin, end: called as the view begins and ends.
    """

    def __init__(
        self,
        look: Callable[[], Picture],
        begin: Callable[[Watch], None] = lambda _: None,
        end: Callable[[Watch], None] = lambda _: None,
    ) -> None:
        self._look = look
        self._begin, self._end = begin, end
        self._screen: Screen | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._page = ""

    def __repr__(self) -> str:
        return f"<Watch: {in_one_line(self._look().line, 300)}>"

    def _repr_html_(self) -> str:
        return str(self._look().page)

    def _mime_(self) -> tuple[str, str]:
        """Return the present state for marimo."""
        return "text/html", self._repr_html_()

    def _ipython_display_(self) -> None:
        """Show it as IPython shows the value of a cell: live, if that is a notebook's."""
        if notebook_screen() is None:
            sys.stdout.write(f"{self!r}\n")
        else:
            self.show()

    async def __aenter__(self) -> Watch:
        self.show()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def show(self) -> None:
        """Show it here, and no more at its last place, until all has ended or `close`."""
        self.close()
        self._screen = find_screen()
        self._begin(self)
        self._tick()

    def close(self) -> None:
        """Show the state as it is now, and leave it at that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._screen is not None:
            self._draw(self._look())
            screen, self._screen = self._screen, None
            screen.close()
            self._end(self)

    def _tick(self) -> None:
        """Look, draw, and come back later, unless that was the last."""
        self._timer = None
        began = time.perf_counter()
        picture = self._look()
        if picture.last:
            self.close()
            return
        self._draw(picture)
        took_s = time.perf_counter() - began
        if self._screen is not None:
            later_s = max(LOOK_S, took_s / SHARE)
            self._timer = asyncio.get_running_loop().call_later(later_s, self._tick)

    def _draw(self, picture: Picture) -> None:
        if self._screen is None or picture.page == self._page:
            return
        self._page = picture.page
        try:
            self._screen.show(picture.page, picture.line)
        except Exception:  # a front end may raise anything; tasks go on without being seen
            log.debug("a live view cannot be shown any more", exc_info=True)
            self._screen = None
            self._end(self)


class Watches:
    """The live views of one session that are shown now."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shown: set[Watch] = set()

    def __repr__(self) -> str:
        return f"<Watches: {len(self._shown)} shown>"

    def of(self, look: Callable[[], Picture]) -> Watch:
        """Return a view that is among them while it is shown."""
        return Watch(look, self._begins, self._ends)

    def close(self) -> None:
        """Close all."""
        for watch in list(self._shown):
            watch.close()

    def _begins(self, watch: Watch) -> None:
        """Have the news of the pools told, now and then, as long as there is a view."""
        if not self._shown and not self._client.lost:
            self._client.watch.on_pools(_ignore, idle=False)
        self._shown.add(watch)

    def _ends(self, watch: Watch) -> None:
        self._shown.discard(watch)
        if not self._shown:
            self._client.watch.off_pools(_ignore)


def _ignore() -> None:
    """Do nothing with the news of the pools: a view looks at them when it draws."""


class TasksLook:
    """How far some tasks are.  It holds those that have not ended, and counts the others."""

    def __init__(self, tasks: Iterable[Task[Any]], name: str) -> None:
        self._waiting = list(tasks)
        self._name = name
        self._whole = len(self._waiting)
        self._tally = Tally()
        self._rate = Rate()
        self._began = time.monotonic()
        self._before: int | None = None
        """How many had ended when it looked first."""

    def __call__(self) -> Picture:
        """Return the present state."""
        waiting: list[Task[Any]] = []
        for task in self._waiting:
            result = task.peek()
            if result is None:
                waiting.append(task)
            else:
                self._tally.count(result)
        self._waiting = waiting
        ended, seconds = self._tally.total, time.monotonic() - self._began
        if self._before is None:
            self._before = ended
        rate = self._rate.now(seconds, ended - self._before)
        words = [f"{ended} of {counted(self._whole, 'task')}"]
        if kinds := in_kinds(self._tally.ended):
            words.append(kinds)
        if waiting and rate:
            words += [f"{rate:.1f}/s", f"about {spoken(len(waiting) / rate)} left"]
        words.append(spoken(seconds))
        told = "; ".join(words)
        parts = [ends_line(self._tally.ended, self._whole, told)]
        page = card(self._name, [*parts, *failures_list(self._tally.failures)])
        return Picture(page, f"{self._name}: {told}{_last_failure(self._tally)}", not waiting)


class SeenClient(Protocol):
    """A client, as seen by the view of its session."""

    @property
    def lost(self) -> str:
        """Why its broker is gone; empty: it is not."""
        ...

    @property
    def sinks(self) -> dict[int, Any]:
        """Its tasks that have not ended."""
        ...


class SeenSession(Protocol):
    """A session, as seen by its view."""

    tally: Tally

    @property
    def client(self) -> Any:
        """Its client; see `SeenClient`."""
        ...

    @property
    def pools(self) -> Any:
        """The pools, by name."""
        ...

    @property
    def notes(self) -> Any:
        """The latest notes."""
        ...

    @property
    def run_dir(self) -> Any:
        """Its run directory, if it has one."""
        ...


def session_picture(session: SeenSession, title: str = "Session") -> Picture:
    """Return the present state of a session: its tasks, its pools, its notes, the last failures."""
    client: SeenClient = session.client
    tally, out = session.tally, len(client.sinks)
    kinds = in_kinds(tally.ended) or "none has ended"
    told = f"{counted(out, 'task')} to come; {kinds}"
    parts: list[object] = [ends_line(tally.ended, tally.total + out, told)]
    if client.lost:
        parts.append(quiet(f"its broker is gone: {client.lost}"))
    else:
        parts.append(pools_table(session.pools))
    parts += notes_line(session.notes)
    parts += failures_list(tally.failures)
    words = [told, *(f"{n} {p.busy}/{p.workers} busy" for n, p in session.pools.items())]
    if session.notes:
        words.append(in_line(session.notes))
    beside = quiet(session.run_dir) if session.run_dir is not None else ""
    line = f"{'; '.join(words)}{_last_failure(tally)}"
    return Picture(card(title, parts, beside), line, bool(client.lost))


def watch_tasks(tasks: Iterable[Task[Any]], name: str) -> Watch:
    """Return a live view of some tasks."""
    return Watch(TasksLook(tasks, name))


def _last_failure(tally: Tally) -> str:
    return f"; the last to fail: {tally.failures[-1]}" if tally.failures else ""
