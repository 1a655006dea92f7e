"""Live progress of a run: lines that redraw themselves on a terminal, plain lines elsewhere.

The loop only looks at numbers that the campaign has at hand, four times a second; a thread makes
lines of them and writes them (`Painter`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any, TextIO

from steerio.campaign.campaign_card import campaign_picture
from steerio.campaign.conductor import Conductor
from steerio.campaign.painter import Painter
from steerio.campaign.run_lines import Line, RunLook, run_lines
from steerio.model.durations import spoken
from steerio.model.showing import in_one_line, printable
from steerio.session.notes import in_line
from steerio.session.pace import Rate
from steerio.session.screens import is_terminal, notebook_screen
from steerio.session.tally import FailedTask, in_kinds
from steerio.session.watching import Watch

REDRAW_S = 0.25
PLAIN_EVERY_S = 5.0


def tell(line: str, out: Any) -> None:
    """Print a line, if possible: a stream may be ``None``, closed, full, or of a user's own type.

    A run must not fail because it cannot be watched.
    """
    if out is not None:
        with contextlib.suppress(Exception):
            out.write(f"{line}\n")
            out.flush()


def _same_terminal(stream: Any, out: Any) -> bool:
    """Return whether two streams are one terminal."""
    with contextlib.suppress(Exception):
        places = [os.fstat(each.fileno()) for each in (stream, out) if each.isatty()]
        return len(places) == 2 and places[0].st_rdev == places[1].st_rdev
    return False


class Progress:
    """Watches a campaign from the side; asks the broker for nothing.

    Args:
        mode: ``auto`` (a live view in a notebook or on a terminal, lines elsewhere), ``live``,
            ``plain``, ``off``.
    """

    def __init__(self, conductor: Conductor, mode: str = "auto", out: TextIO | None = None) -> None:
        self._conductor = conductor
        self._out: Any = sys.stderr if out is None else out
        self._in_notebook = mode in ("auto", "live") and notebook_screen() is not None
        self._mode = mode if mode != "auto" else ("live" if is_terminal(self._out) else "plain")
        self._began = time.monotonic()
        self._rate = Rate()
        self._told: FailedTask | None = None

    async def show(self) -> None:
        """Show progress until cancelled, or until it cannot be shown any more."""
        if self._out is None:
            return
        if self._in_notebook:
            await self._show_in_cell()
        elif self._mode == "live":
            await self._show_live()
        elif self._mode == "plain":
            await self._show_plain()

    def look(self) -> RunLook:
        """Return the state of the run now."""
        conductor = self._conductor
        spent, session = conductor.spent, conductor.session
        seconds = time.monotonic() - self._began
        rate = spent.tasks / max(seconds, 1e-3)
        now = self._rate.now(seconds, spent.tasks)
        return RunLook(
            name=type(conductor.campaign).__name__,
            seconds=seconds,
            on_boards=conductor.feeder.waiting,
            done=spent.successes,
            recalled=spent.recalled,
            bad=self._bad(),
            rate=rate,
            now=now,
            left=self._left(seconds, now),
            pools=session.client.watch.pools,
            notes=dict(session.notes),
            failures=tuple(conductor.tally.failures),
            troubles=tuple(self._troubles()),
            stopping=self._stopping() if conductor.stopping else "",
        )

    def line(self) -> str:
        """Return the state of the run as one line."""
        look = self.look()
        recalled = f" ({look.recalled} recalled)" if look.recalled else ""
        left = f", {look.left}" if look.left else ""
        ends = f"{look.done} done{recalled}, {look.bad or '0 failed'}"
        parts = [f"[{look.seconds:6.0f} s] {ends}, {look.rate:.1f}/s{left}"]
        if look.notes:
            parts.append(in_line(look.notes))
        parts += [
            f"{in_one_line(name)} {load.busy}/{load.workers} busy, {load.queued} queued"
            for name, load in look.pools.items()
        ]
        if look.on_boards:
            parts.append(f"{look.on_boards} on boards")
        parts += look.troubles
        if look.stopping:
            parts.append(f"stopping: {look.stopping}")
        return printable("; ".join(parts))

    def _bad(self) -> str:
        """Return, in words, how many tasks did not succeed; those before a resume have no kind."""
        ended = self._conductor.tally.ended
        del ended["succeeded"], ended["cancelled"]
        earlier = self._conductor.spent.failures - ended.total()
        words = in_kinds(ended)
        if earlier > 0:
            words += f"{', and ' if words else ''}{earlier} before did not succeed"
        return words

    def _stopping(self) -> str:
        """Return, in words, why the campaign ends, and the step of its end."""
        step = self._conductor.ending.said
        return self._conductor.stopping + (f": {step}" if step else "")

    def _troubles(self) -> list[str]:
        """Return, in words, that the broker is gone, or which pools are paused or wait in vain."""
        client = self._conductor.session.client
        if client.waits_s:
            return [f"the broker is gone, and waited for up to {client.waits_s:.0f} s more"]
        pools = client.watch.pools
        paused = [(name, load.paused) for name, load in pools.items() if load.paused]
        held = [f"pool {name} is paused {why}" for name, why in paused]
        reasons = [load.stalled for load in pools.values() if load.stalled]
        return held + ([f"nothing can go on: {'; '.join(reasons)}"] if reasons else [])

    def _left(self, seconds: float, rate: float) -> str:
        """Estimate the time left, in words: from the limits, else from the work that is known."""
        conductor = self._conductor
        spent, limits = conductor.spent, conductor.spent.limits
        shares = [
            used / bound
            for used, bound in (
                (spent.tasks, limits.tasks),
                (spent.successes, limits.successes),
                (spent.worker_s, limits.worker_s),
                (seconds, limits.wall_s),
            )
            if bound
        ]
        share = max(shares, default=0.0)
        if shares:
            left_s = seconds / share - seconds if 0.01 < share < 1 else 0.0
            return f"about {spoken(left_s)} left" if left_s else ""
        known = conductor.feeder.waiting + len(conductor.outstanding)
        if conductor.stopping or rate <= 0 or not known:
            return ""
        return f"about {spoken(known / rate)} of known work"

    async def _show_plain(self) -> None:
        painter: Painter[list[str]] = Painter(self._write_lines, lambda: None)
        try:
            while True:
                await asyncio.sleep(PLAIN_EVERY_S)
                painter.show([self.line(), *self._new_failure()])
        finally:
            painter.close()

    def _new_failure(self) -> list[str]:
        """Return a line on the last failure, if there is one that was not told of."""
        failures = self._conductor.tally.failures
        newest = failures[-1] if failures else None
        if newest is None or newest is self._told:
            return []
        self._told = newest
        return [printable(f"           the last to fail: {newest}")]

    def _write_lines(self, lines: list[str]) -> None:
        for line in lines:
            tell(line, self._out)

    async def _show_in_cell(self) -> None:
        conductor = self._conductor
        campaign = conductor.campaign
        async with Watch(lambda: campaign_picture(campaign, conductor, campaign.run_dir)):
            await asyncio.get_running_loop().create_future()  # until cancelled

    async def _show_live(self) -> None:
        screen = _LiveScreen(self._out)
        painter = Painter(screen.draw, screen.clear)
        try:
            while True:
                painter.show(self.look())
                await asyncio.sleep(REDRAW_S)
        finally:
            painter.close()


class _LiveScreen:
    """Lines on a terminal that are drawn over; used in one thread, and closed there."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._live: Any = None

    def draw(self, look: RunLook) -> None:
        """Draw the lines of a look in place of the last ones."""
        live = self._live or self._open()
        size = live.console.size
        blocks = (live.console.encoding or "").lower().startswith("utf")
        live.update(_as_text(run_lines(look, size.width, size.height, blocks=blocks)), refresh=True)

    def clear(self) -> None:
        """Take the lines away."""
        if self._live is not None:
            self._live.stop()

    def _open(self) -> Any:
        # only for lines on a terminal: rich takes longer to load than all of steerio
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._out, highlight=False)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            # lines that a campaign prints go above; those for a file or a pipe go there
            redirect_stdout=_same_terminal(sys.stdout, self._out),
            redirect_stderr=_same_terminal(sys.stderr, self._out),
        )
        self._live.start()
        return self._live


def _as_text(lines: list[Line]) -> Any:
    from rich.text import Text  # loaded already, see `_LiveScreen`

    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for piece, style in line:
            text.append(piece, style or None)
    return text


@contextlib.asynccontextmanager
async def showing(conductor: Conductor, mode: str) -> AsyncGenerator[None, None]:
    """Show the progress of a campaign while the context lasts."""
    progress = asyncio.ensure_future(Progress(conductor, mode).show())
    try:
        yield
    finally:
        progress.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await progress
