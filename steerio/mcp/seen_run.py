"""A run as an assistant sees it: its record, which is read on, and a session while it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from steerio.edge.record.export_files import record_of
from steerio.edge.system.threads import DaemonThreads
from steerio.edge.wire.connection import FILE_NAME, NAMES
from steerio.edge.wire.keys import OBSERVER
from steerio.errors import BrokerLost, SteerioError
from steerio.mcp.marked_answers import Secrets
from steerio.model.roles import ASSISTANT, NO_BUDGET, Budget, Role
from steerio.session.opening import connect
from steerio.session.session import Session
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import RunSnapshot

log = logging.getLogger("steerio.mcp")

ASK_S = 10.0
"""Longest wait for the broker."""
READ_S = 5.0
"""Longest reading of the record for one answer; the next answer reads on."""
READERS = 2
"""Threads that look into the record."""

R = TypeVar("R")


class AssistantGate(Struct, frozen=True):
    """The door by which one assistant comes in.

    Attributes:
        role: ``look``, ``propose`` or ``steer``.
        by: its name, for the audit.
        budget: how much it may have computed.
    """

    role: Role = "propose"
    by: str = ASSISTANT
    budget: Budget = NO_BUDGET


class SeenRun:
    """One run, for one server; see `seeing`.

    Args:
        folder: the run directory.
        gate: of the assistant.

    Raises:
        UsageError: it has no record, or one of a later version.
    """

    def __init__(self, folder: Path, gate: AssistantGate) -> None:
        self.gate = gate
        self.folder = folder
        self.record, joined = record_of(folder)
        """The folder of the record: the broker's, if the campaign has joined one."""
        self.secrets = Secrets(folder, self.record)
        self._reader = RunReader(folder)
        self._joined = bool(joined)
        self._reading = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._threads = DaemonThreads(READERS, "steerio-mcp")
        self._session: Session | None = None
        self._leaving = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<SeenRun {self.folder} by {self.gate.by}>"

    # -- the record --------------------------------------------------------------------------------

    async def in_thread(self, function: Callable[..., R], *args: Any) -> R:
        """Call a function that looks into the record."""
        return await asyncio.wrap_future(self._threads.submit(function, *args))

    async def snapshot(self) -> tuple[RunSnapshot, bool]:
        """Return the run as it is now, and whether its record was read to the end.

        Raises:
            UsageError: it cannot be read.
        """
        async with self._reading:  # the reader is for one thread at a time
            reading = asyncio.ensure_future(self.in_thread(self._read))
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                await asyncio.wait([reading])
                raise

    def _read(self) -> tuple[RunSnapshot, bool]:
        self._reader.facts(fresh=True)  # first: all that is written before an end is read then
        until = time.monotonic() + READ_S
        more = self._reader.read()
        while more and time.monotonic() < until:
            more = self._reader.read()
        return self._reader.snapshot(), not more

    # -- the broker --------------------------------------------------------------------------------

    @property
    def campaign(self) -> str:
        """The name of the campaign at a broker that it has joined; empty: the only one there."""
        return self._reader.facts().campaign if self._joined else ""

    async def session(self) -> Session:
        """Return the open session with the broker of the run.

        Raises:
            BrokerLost: it has ended, or does not answer.
        """
        async with self._connecting:
            if self._session is not None and not self._session.client.lost:
                return self._session
            await self._leave()
            if not (self.record / FILE_NAME).exists():
                raise BrokerLost("no broker runs there")
            opened: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
            self._keeper = asyncio.create_task(self._keep(opened))
            self._keeper.add_done_callback(lambda _: opened.done() or opened.cancel())
            await asyncio.wait([opened], timeout=ASK_S)
            if not opened.done() or opened.cancelled():
                await self._leave()
                raise BrokerLost("the broker does not answer")
            self._session = opened.result()
            return self._session

    async def _keep(self, opened: asyncio.Future[Session]) -> None:
        """Hold a session open until `_leave`, in one task from its beginning to its end."""
        looks_only = self.gate.role == "look"
        place = self.record / NAMES[OBSERVER] if looks_only else self.record
        try:
            async with connect(place, name=self.gate.by) as session:
                opened.set_result(session)
                await self._leaving.wait()
        except SteerioError as error:
            log.warning("the broker of %s is not there: %s", self.folder, error)
        except OSError as error:
            log.warning("the broker of %s cannot be reached: %s", self.folder, error)

    async def _leave(self) -> None:
        keeper, self._keeper, self._session = self._keeper, None, None
        if keeper is None:
            return
        self._leaving.set()
        done, _ = await asyncio.wait([keeper], timeout=ASK_S)
        if not done:
            keeper.cancel()
            await asyncio.wait([keeper])
        self._leaving = asyncio.Event()

    async def close(self) -> None:
        """Leave the broker, and end the threads."""
        await self._leave()
        self._threads.close(0.0)


@contextlib.asynccontextmanager
async def seeing(folder: Path, gate: AssistantGate) -> AsyncGenerator[SeenRun]:
    """See a run for the length of a context.

    Raises:
        UsageError: it has no record, or one of a later version.
    """
    run = SeenRun(folder, gate)
    try:
        yield run
    finally:
        await asyncio.shield(asyncio.ensure_future(run.close()))
