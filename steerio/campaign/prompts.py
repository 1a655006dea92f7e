"""The prompts that are attached to a campaign (``steerio attach``), and the audit of their use.

A prompt may do all that the campaign's own code may.  So none is let in unless the run was started
for it, and each statement is announced as an order is, when it is over; the log has it before it
begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Protocol

import steerio
from steerio.campaign.campaign import Campaign
from steerio.campaign.statement import HELD_UP_S, Statement
from steerio.edge.system.own_files import writing_to
from steerio.edge.system.peer_user import own_name
from steerio.edge.wire.prompt_place import forget_place
from steerio.edge.wire.prompt_socket import PromptConnection, PromptSocket
from steerio.model.attached import (
    INTERRUPTED,
    STATEMENT_BYTES,
    FromPrompt,
    PromptAttached,
    RunStatement,
    StatementEnded,
    StatementPrinted,
    TurnedAway,
)
from steerio.model.bounds import cut
from steerio.model.showing import printable
from steerio.session.current_agent import current_agent
from steerio.session.session import Session

AUDITED_CHARACTERS = 500
"""Most characters of a statement in the audit; the log has all of it."""
LEAVE_S = 1.0
"""Longest wait for statements that are cancelled, as their campaign ends."""

log = logging.getLogger("steerio.campaign")


class StatementAudit(Protocol):
    """The orders to a campaign, as seen by its prompts."""

    def redo_rest(self) -> None:
        """Repeat all orders of earlier incarnations now: something new happens."""
        ...

    def carried_out(self, order: str, outcome: str, by: str) -> None:
        """Announce an order that was carried out elsewhere."""
        ...


class PromptedRun(Protocol):
    """One run of a campaign, as seen by its prompts."""

    campaign: Campaign
    session: Session

    @property
    def desk(self) -> StatementAudit:
        """The orders to it."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the campaign has ended."""
        ...

    def steered(self) -> None:
        """Take in that something has changed that an agent may decide by."""
        ...

    def look_if_quiet(self) -> None:
        """End the campaign if nothing can happen any more."""
        ...


class Prompts:
    """The prompts that are attached to one run of a campaign.

    Args:
        run: the campaign's run.
    """

    def __init__(self, run: PromptedRun) -> None:
        self._run = run
        self._by = own_name()  # the socket lets no other user in
        self.cause = f"prompt of {self._by}"
        """The cause of the tasks that statements submit."""
        self.closed = False
        """Whether no statement begins any more, as the campaign ends."""
        self._statements = 0
        self._prompts: set[AttachedPrompt] = set()

    def __repr__(self) -> str:
        return f"<Prompts: {len(self._prompts)} attached, {self._statements} statements>"

    def comes(self, connection: PromptConnection) -> None:
        """Take statements of a prompt."""
        names = {
            "__name__": "__main__",  # so that functions that it defines are sent by value
            "campaign": self._run.campaign,
            "session": self._run.session,
            "steerio": steerio,
        }
        prompt = AttachedPrompt(self, connection, names)
        self._prompts.add(prompt)
        connection.left = lambda: self._gone(prompt)
        connection.send(PromptAttached(type(self._run.campaign).__name__, os.getpid()))
        log.info("a prompt was attached by %s", self._by)

    def begins(self, text: str) -> int:
        """Take in that a statement begins; return its number."""
        self._statements += 1
        log.info("statement %d of %s: %s", self._statements, self._by, printable(text))
        self._run.desk.redo_rest()
        return self._statements

    def ended(self, statement: Statement, outcome: str) -> None:
        """Take in that a statement is over: announce it, for it may have changed anything."""
        if statement.held_up_s >= HELD_UP_S:
            log.warning("%s held the event loop up for %.1f s", statement, statement.held_up_s)
        shown = cut(printable(statement.text.strip()), AUDITED_CHARACTERS)
        self._run.desk.carried_out(f'run "{shown}"', outcome, self._by)
        if not self._run.is_over:
            self._run.steered()
            self._run.look_if_quiet()

    async def close(self) -> None:
        """Cancel the statements, and wait for their ends within a bound."""
        self.closed = True
        running = [each.running for each in self._prompts if each.running is not None]
        for each in self._prompts:
            each.abandon()
        if running:
            _, late = await asyncio.wait(running, timeout=LEAVE_S)
            for task in late:
                log.warning("%s goes on after its campaign", task.get_name())
        await asyncio.sleep(0)  # for the callbacks that announce them

    def _gone(self, prompt: AttachedPrompt) -> None:
        self._prompts.discard(prompt)
        prompt.abandon()


class AttachedPrompt:
    """One attached prompt, with a namespace of its own; it runs one statement at a time.

    Args:
        prompts: hears of its statements.
        connection: to the terminal or program that has it.
        names: its namespace.
    """

    def __init__(
        self, prompts: Prompts, connection: PromptConnection, names: dict[str, Any]
    ) -> None:
        self.running: asyncio.Task[StatementEnded] | None = None
        self._statement: Statement | None = None
        self._prompts = prompts
        self._connection = connection
        self._names = names
        connection.hears = self._hear

    def __repr__(self) -> str:
        return f"<AttachedPrompt: {self._statement or 'no statement'}>"

    def abandon(self) -> None:
        """Cancel its statement for good: there is no prompt any more, or no campaign."""
        if self._statement is not None:
            self._statement.abandoned = True
        self._interrupt()

    def _hear(self, message: FromPrompt) -> None:
        if not isinstance(message, RunStatement):
            self._interrupt()
        elif self._prompts.closed or self.running is not None:
            early = "a statement came before the last one was over"
            reason = "the campaign has ended" if self._prompts.closed else early
            self._connection.send(TurnedAway(reason))
            self._connection.close()
        elif len(message.text.encode(errors="replace")) > STATEMENT_BYTES:
            reason = f"a statement may have {STATEMENT_BYTES} bytes: put it into a file, import it"
            self._connection.send(StatementEnded("TooLong", f"{reason}\n"))
        else:
            self._begin(message.text)

    def _begin(self, text: str) -> None:
        number = self._prompts.begins(text)
        self._statement = statement = Statement(text, number, self._names, self._say)

        async def run() -> StatementEnded:
            current_agent.set(self._prompts.cause)
            return await statement.run()

        self.running = asyncio.ensure_future(run())
        self.running.set_name(f"statement {number} of an attached prompt")
        self.running.add_done_callback(lambda task: self._end(statement, task))

    def _interrupt(self) -> None:
        if self._statement is not None and self.running is not None:
            self._statement.interrupted = True
            self.running.cancel()

    def _end(self, statement: Statement, task: asyncio.Task[StatementEnded]) -> None:
        self._statement = self.running = None
        # it is cancelled itself only if it has not begun
        ended = StatementEnded(INTERRUPTED) if task.cancelled() else task.result()
        self._prompts.ended(statement, ended.outcome)
        if statement.held_up_s >= HELD_UP_S:
            self._say(f"[it held the campaign's event loop up for {statement.held_up_s:.1f} s]\n")
        self._connection.send(ended)

    def _say(self, text: str) -> None:
        self._connection.send(StatementPrinted(text))


class PromptDoor:
    """The way in to a campaign for prompts, if the run was started with one.

    Args:
        run_dir: the run directory.
        asked: whether the run was started with one; that of a run that was cut off is removed.
    """

    def __init__(self, run_dir: Path, *, asked: bool) -> None:
        self._run_dir = run_dir
        self._asked = asked
        self._socket: PromptSocket | None = None

    def __repr__(self) -> str:
        return f"<PromptDoor: {self._socket or 'closed'}>"

    @contextlib.asynccontextmanager
    async def open(self, run: PromptedRun) -> AsyncGenerator[None]:
        """Let prompts in while the context lasts.

        Raises:
            UsageError: no folder for the socket can be made, or the run directory not written to.
        """
        forget_place(self._run_dir)
        if not self._asked:
            yield
            return
        prompts = Prompts(run)
        with writing_to(self._run_dir):
            self._socket = PromptSocket(self._run_dir, prompts.comes)
        log.info("prompts can attach: steerio attach %s --repl", self._run_dir)
        try:
            yield
        finally:
            try:
                await prompts.close()
            finally:
                self._socket.close()

    def abandon(self) -> None:
        """Remove its files, from any thread: the loop is lost."""
        if self._socket is not None:
            self._socket.remove_files()
