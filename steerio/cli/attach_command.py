"""``steerio attach``: a Python prompt whose statements run in the process of a campaign."""

from __future__ import annotations

import contextlib
import importlib
import select
import signal
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import click
import msgspec

from steerio.cli.statement_lines import StatementLines, statements_of
from steerio.edge.wire.prompt_frames import framed, frames_to_prompt
from steerio.edge.wire.prompt_place import CONNECT_S, read_place
from steerio.errors import UsageError
from steerio.model.attached import (
    FromPrompt,
    InterruptStatement,
    PromptAttached,
    RunStatement,
    StatementEnded,
    StatementPrinted,
    ToPrompt,
    TurnedAway,
)
from steerio.model.showing import printable
from steerio.session.recorded_runs import state_of

PS1, PS2 = ">>> ", "... "
LEAVING = ("exit", "exit()", "quit", "quit()")
LOOK_S = 0.25
"""Time between two looks whether Ctrl-C was pressed."""
HEARD_S = 2.0
"""Time after Ctrl-C in which a statement that awaits is over."""
CTRL_C = 3
"""This many times Ctrl-C leaves a statement that goes on."""
GOES_ON = (
    "the statement is at no await, or does not let itself be cancelled, and goes on; the campaign "
    "may stand still meanwhile. Ctrl-C three times in all leaves it"
)
FAILED = 1


def attach(run_dir: str, *, repl: bool) -> int:
    """Take statements from the terminal or a pipe; return the exit status.

    Raises:
        UsageError: the campaign takes none, or there is none.
    """
    if not repl:
        raise UsageError(
            f"say steerio attach {run_dir} --repl: it runs Python in the campaign's own process. "
            "To only look or give orders: steerio steer"
        )
    folder = Path(run_dir)
    place = read_place(folder)
    if place is None:
        raise UsageError(_why_none(folder))
    with place.connect() as connected:
        link = PromptLink(connected)
        try:
            greeting = link.receive(CONNECT_S)
        except CampaignEnded as end:
            raise UsageError(f"{end}, or the prompt is not of its user") from None
        if isinstance(greeting, TurnedAway):
            raise UsageError(greeting.reason)
        if not isinstance(greeting, PromptAttached):
            raise UsageError(
                f"the campaign (process {place.pid}) does not answer: an agent keeps its event loop"
            )
        if sys.stdin is not None and sys.stdin.isatty():
            return _at_terminal(link, greeting)
        return _from_pipe(link)


def _why_none(folder: Path) -> str:
    """Say why no prompt can attach."""
    if not folder.is_dir():
        return f"there is no run directory {folder}"
    try:
        state, holder = state_of(folder)
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    if state not in ("running", "unknown"):
        return f"no campaign runs in {folder}: the last one is {state}"
    if not holder:
        return f"no campaign runs in {folder}"
    return (
        f"prompts cannot attach to the run in {folder} ({holder}): that was not asked for when it "
        "was started, by steerio run FILE --repl, or steerio.run(campaign, repl=True). It can "
        f"be steered: steerio steer {folder} look. The prompts of a campaign that joined a broker "
        "attach by the campaign's own run directory"
    )


class CampaignEnded(Exception):
    """The campaign takes no statement any more; the one under way, if there is, was cancelled."""


class PromptLink:
    """The connection of this prompt to its campaign.

    Args:
        connected: its socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = frames_to_prompt()
        self._received: list[ToPrompt] = []

    def __repr__(self) -> str:
        return f"<PromptLink: {len(self._received)} messages received>"

    def send(self, message: FromPrompt) -> None:
        """Send a message; that the campaign has ended shows as it is read from."""
        with contextlib.suppress(OSError):
            self._socket.sendall(framed(message))

    def receive(self, within_s: float) -> ToPrompt | None:
        """Return the next message; ``None`` if there is none in time.

        Raises:
            CampaignEnded: there will be none.
        """
        until = time.monotonic() + within_s
        while not self._received:
            left_s = max(0.0, until - time.monotonic())
            if not select.select([self._socket], [], [], left_s)[0]:
                return None
            try:
                data = self._socket.recv(1 << 16)
                self._received = self._reader.feed(data)
            except OSError:
                data = b""
            except msgspec.DecodeError as error:
                raise CampaignEnded(
                    f"the campaign sent no message of this version: {error}"
                ) from None
            if not data:
                raise CampaignEnded("the campaign has ended")
        return self._received.pop(0)


def run_there(link: PromptLink, text: str) -> StatementEnded:
    """Have a statement run in the campaign's process, and show what it prints.

    Raises:
        CampaignEnded: see there.
        KeyboardInterrupt: it is to be left alone.
    """
    link.send(RunStatement(text))
    with _interrupting(link) as asked:
        while True:
            match link.receive(LOOK_S):
                case StatementPrinted(printed):
                    click.echo(printable(printed, lines=True), nl=False)
                case StatementEnded() as ended:
                    return ended
                case TurnedAway(reason):
                    raise CampaignEnded(reason)
                case PromptAttached() | None:
                    pass
            if asked and time.monotonic() > asked[0] + HEARD_S:
                asked.clear()
                click.echo(GOES_ON, err=True)


@contextlib.contextmanager
def _interrupting(link: PromptLink) -> Generator[list[float]]:
    """Have Ctrl-C interrupt the statement, and the third one this program.

    The list that the context is given has the times of Ctrl-C.
    """
    asked: list[float] = []
    left = CTRL_C

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        asked.append(time.monotonic())
        link.send(InterruptStatement())

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _at_terminal(link: PromptLink, greeting: PromptAttached) -> int:
    """Run the statements that a person types, until Ctrl-D or the campaign's end."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # input() then has a history
    click.echo(
        f"attached to {greeting.campaign}, process {greeting.pid}: campaign, session, steerio and "
        "await are there; Ctrl-C interrupts an await, Ctrl-D leaves. Statements are audited."
    )
    begun = StatementLines(blank_ends=True)
    while True:
        try:
            line = input(PS2 if begun else PS1)
        except EOFError:
            click.echo()
            return 0
        except KeyboardInterrupt:
            click.echo("\nKeyboardInterrupt")
            begun.drop()
            continue
        if not begun and line.strip() in LEAVING:
            return 0
        try:
            for text in begun.add(line):
                _show_end(run_there(link, text))
        except CampaignEnded as end:
            click.echo(end)
            return 0


def _from_pipe(link: PromptLink) -> int:
    """Run the statements of a pipe, up to the first that fails."""
    for text in statements_of(sys.stdin or ()):
        try:
            ended = run_there(link, text)
        except CampaignEnded as end:
            click.echo(f"steerio: {end}", err=True)
            return FAILED
        if not ended.ran:
            _show_end(ended)
            return FAILED
    return 0


def _show_end(ended: StatementEnded) -> None:
    """Show why a statement did not come to its end, if it did not."""
    if not ended.ran:
        said = ended.traceback or f"{ended.outcome}\n"
        click.echo(printable(said, lines=True), nl=False, err=True)
