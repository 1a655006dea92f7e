"""Live progress of a run: a table that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any, TextIO

from steerio.campaign.conductor import Conductor

log = logging.getLogger("steerio.campaign")

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


def _is_terminal(out: Any) -> bool:
    with contextlib.suppress(Exception):
        return bool(out.isatty())
    return False


class Progress:
    """Watches a campaign from the side; asks the broker for nothing.

    Args:
        mode: ``auto`` (a live table on a terminal, lines elsewhere), ``live``, ``plain``, ``off``.
    """

    def __init__(self, conductor: Conductor, mode: str = "auto", out: TextIO | None = None) -> None:
        self._conductor = conductor
        self._out: Any = sys.stderr if out is None else out
        self._mode = mode if mode != "auto" else ("live" if _is_terminal(self._out) else "plain")
        self._began = time.monotonic()

    async def show(self) -> None:
        """Show progress until cancelled, or until it cannot be shown any more."""
        if self._out is None:
            return
        try:
            if self._mode == "live":
                await self._show_live()
            elif self._mode == "plain":
                await self._show_plain()
        except Exception:  # a stream may raise anything
            log.debug("progress cannot be shown any more", exc_info=True)

    def line(self) -> str:
        """Return the state of the run as one line."""
        spent = self._conductor.spent
        seconds = time.monotonic() - self._began
        pools = "; ".join(
            f"{name} {load.busy}/{load.workers} busy, {load.queued} queued"
            for name, load in self._conductor.session.client.watch.pools.items()
        )
        left = self._left(seconds)
        return (
            f"[{seconds:6.0f} s] {spent.successes} done{self._recalled()}, "
            f"{spent.failures} failed, "
            f"{spent.tasks / max(seconds, 1e-3):.1f}/s{left}; {pools}{self._stalled()}"
            + (f"; {self._stopping()}" if self._conductor.stopping else "")
        )

    def _recalled(self) -> str:
        recalled = self._conductor.spent.recalled
        return f" ({recalled} recalled)" if recalled else ""

    def _stopping(self) -> str:
        """Return, in words, why the campaign ends, and the step of its end."""
        step = self._conductor.ending.said
        return f"stopping: {self._conductor.stopping}" + (f": {step}" if step else "")

    def _stalled(self) -> str:
        """Return, in words, that the broker is gone, or which tasks wait in vain, if any do."""
        waits_s = self._conductor.session.client.waits_s
        if waits_s:
            return f"; the broker is gone, and waited for up to {waits_s:.0f} s more"
        loads = self._conductor.session.client.watch.pools.values()
        reasons = [load.stalled for load in loads if load.stalled]
        return f"; nothing can go on: {'; '.join(reasons)}" if reasons else ""

    def _left(self, seconds: float) -> str:
        """Estimate the time left from the limits, if there are any."""
        spent, limits = self._conductor.spent, self._conductor.spent.limits
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
        if not 0.01 < share < 1:
            return ""
        return f", about {seconds / share - seconds:.0f} s left"

    async def _show_plain(self) -> None:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            tell(self.line(), self._out)

    async def _show_live(self) -> None:
        # only for a table on a terminal: rich takes longer to load than all of steerio
        from rich.console import Console
        from rich.live import Live

        live = Live(
            self._table(), console=Console(file=self._out), auto_refresh=False, transient=True
        )
        with live, contextlib.suppress(asyncio.CancelledError):
            while True:
                live.update(self._table(), refresh=True)
                await asyncio.sleep(REDRAW_S)

    def _table(self) -> Any:
        from rich.table import Table  # loaded already, see `_show_live`

        spent = self._conductor.spent
        seconds = time.monotonic() - self._began
        title = (
            f"{type(self._conductor.campaign).__name__}  {seconds:.0f} s  "
            f"{spent.successes} done{self._recalled()}  {spent.failures} failed  "
            f"{spent.tasks / max(seconds, 1e-3):.1f}/s{self._left(seconds)}"
        )
        if self._conductor.stopping:
            title += f"  ({self._stopping()})"
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            caption=self._stalled().lstrip("; "),
            caption_justify="left",
        )
        table.add_column("pool")
        for column in ("workers", "busy", "idle", "queued"):
            table.add_column(column, justify="right")
        for name, load in self._conductor.session.client.watch.pools.items():
            table.add_row(
                name,
                str(load.workers),
                str(load.busy),
                str(load.idle),
                str(load.queued),
            )
        return table


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
