"""The prompts of a campaign: their frames, their socket and its bounds, and their statements."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steerio.campaign.campaign import Campaign
from steerio.campaign.prompts import PromptDoor
from steerio.campaign.statement import HELD_UP_S, Statement
from steerio.cli.statement_lines import StatementLines, statements_of
from steerio.edge.system.peer_user import own_name, peer_user
from steerio.edge.wire.prompt_frames import (
    FRAME_BYTES,
    LENGTH_BYTES,
    framed,
    frames_from_prompt,
    frames_to_prompt,
)
from steerio.edge.wire.prompt_place import PLACE_FILE, read_place
from steerio.edge.wire.prompt_socket import MOST_PROMPTS, PromptConnection, PromptSocket
from steerio.errors import UsageError
from steerio.model.attached import (
    INTERRUPTED,
    OUTPUT_CHARACTERS,
    RAN,
    STATEMENT_BYTES,
    VALUE_CHARACTERS,
    FromPrompt,
    InterruptStatement,
    PromptAttached,
    RunStatement,
    StatementEnded,
    StatementPrinted,
    TurnedAway,
)

# -- frames ----------------------------------------------------------------------------------------


def test_messages_come_out_of_pieces_of_any_size() -> None:
    sent = [RunStatement("campaign.best"), InterruptStatement(), RunStatement("ä" * 1000)]
    data = b"".join(map(framed, sent))
    for size in (1, 3, 1000, len(data)):
        reader = frames_from_prompt()
        got = [m for at in range(0, len(data), size) for m in reader.feed(data[at : at + size])]
        assert got == sent


def test_a_message_that_is_too_long_or_of_the_other_side_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="too long"):
        frames_from_prompt().feed((FRAME_BYTES + 1).to_bytes(LENGTH_BYTES))
    with pytest.raises(msgspec.DecodeError):
        frames_from_prompt().feed(framed(StatementEnded(RAN)))
    with pytest.raises(msgspec.DecodeError):
        frames_to_prompt().feed(framed(InterruptStatement()))
    deep = b"\x82\xa4type\xb2InterruptStatement\xa1x" + 100_000 * b"\x91" + b"\xc0"
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        frames_from_prompt().feed(len(deep).to_bytes(LENGTH_BYTES) + deep)


def test_the_longest_output_of_a_statement_fits_into_a_frame() -> None:
    for message in (
        StatementPrinted("\N{GRINNING FACE}" * (OUTPUT_CHARACTERS + 100)),
        StatementEnded("E", "\N{GRINNING FACE}" * (VALUE_CHARACTERS + 100)),
    ):
        assert len(framed(message)) < FRAME_BYTES


def test_text_that_utf_8_has_no_form_for_travels_escaped() -> None:
    assert frames_to_prompt().feed(framed(StatementPrinted("\udc80"))) == [
        StatementPrinted("\\udc80")
    ]


# -- the socket ------------------------------------------------------------------------------------


class Prompt:
    """The other end of a connection, as a program would have it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.socket.connect(str(path))
        self._reader = frames_to_prompt()

    async def until_closed(self) -> list[Any]:
        """Return all messages up to the end of the connection."""
        got: list[Any] = []
        loop = asyncio.get_running_loop()
        with self.socket:
            while data := await loop.sock_recv(self.socket, 1 << 16):
                got += self._reader.feed(data)
        return got


async def test_the_socket_and_its_folder_are_closed_to_others_and_removed(tmp_path: Path) -> None:
    door = PromptSocket(tmp_path, lambda _: None)
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(door.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / PLACE_FILE).stat().st_mode) == 0o600
    place = read_place(tmp_path)
    assert place is not None
    assert (place.path, place.pid) == (str(door.path), os.getpid())
    with place.connect() as connected:
        assert peer_user(connected) == os.geteuid()
    door.close()
    assert not door.path.parent.exists()
    assert read_place(tmp_path) is None
    with pytest.raises(UsageError, match="has ended, and was cut off"):
        place.connect()


@pytest.mark.parametrize("user", [os.geteuid() + 1, None])
async def test_a_process_of_another_user_is_turned_away(tmp_path: Path, user: int | None) -> None:
    came: list[PromptConnection] = []
    door = PromptSocket(tmp_path, came.append, lambda _: user)
    prompt = Prompt(door.path)
    assert await prompt.until_closed() == []
    assert not came
    door.close()


async def test_a_prompt_beyond_the_bound_is_told_so_and_another_comes_in_later(
    tmp_path: Path,
) -> None:
    came: list[PromptConnection] = []
    changed = asyncio.Event()

    def comes(connection: PromptConnection) -> None:
        came.append(connection)
        connection.left = changed.set
        changed.set()

    door = PromptSocket(tmp_path, comes)
    prompts = [Prompt(door.path) for _ in range(MOST_PROMPTS)]
    while len(came) < MOST_PROMPTS:
        changed.clear()
        await changed.wait()
    (told,) = await Prompt(door.path).until_closed()
    assert isinstance(told, TurnedAway)
    assert "4 prompts are attached" in told.reason
    changed.clear()
    prompts.pop().socket.close()
    await changed.wait()
    changed.clear()
    prompts.append(Prompt(door.path))
    await changed.wait()
    door.close()
    for each in prompts:
        assert await each.until_closed() == []


async def test_a_prompt_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    came: asyncio.Future[PromptConnection] = asyncio.get_running_loop().create_future()
    door = PromptSocket(tmp_path, came.set_result)
    prompt = Prompt(door.path)
    connection = await came
    sent = 0
    while not connection.closed:
        connection.send(StatementPrinted("x" * 100_000))
        sent += 1
        assert sent < 100
    got = await prompt.until_closed()
    assert len(got) < sent
    door.close()


@pytest.mark.parametrize(
    "sent", [b"\xff" * 8, framed(StatementEnded(RAN)), (1 << 31).to_bytes(LENGTH_BYTES)]
)
async def test_a_prompt_that_sends_nonsense_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    heard: list[FromPrompt] = []

    def comes(connection: PromptConnection) -> None:
        connection.hears = heard.append
        connection.send(PromptAttached("Search", 1))

    door = PromptSocket(tmp_path, comes)
    prompt = Prompt(door.path)
    await asyncio.get_running_loop().sock_sendall(prompt.socket, sent)
    assert await prompt.until_closed() == [PromptAttached("Search", 1)]
    assert not heard
    door.close()


# -- lines -----------------------------------------------------------------------------------------

BLOCK = ["for i in x:", "    a", "", "    b"]


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        (["a", "await b"], ["a", "await b"]),
        (["", "a"], ["a"]),
        (["f(1,", "  2)", "b"], ["f(1,\n  2)", "b"]),
        ([*BLOCK, "c"], ["\n".join(BLOCK), "c"]),
        (["if a:", "    b", "else:", "    c", "d"], ["if a:\n    b\nelse:\n    c", "d"]),
        (["s = '''", "", "a'''", "b"], ["s = '''\n\na'''", "b"]),
        (["@d", "def f():", "    pass"], ["@d\ndef f():\n    pass"]),
        (["def f(:", "a"], ["def f(:", "a"]),
        (["f(1,"], ["f(1,"]),
        (["a\x00b"], ["a\x00b"]),
    ],
)
def test_a_pipe_is_read_statement_by_statement(lines: list[str], whole: list[str]) -> None:
    assert list(statements_of(f"{line}\n" for line in lines)) == whole


def test_a_person_ends_a_block_by_a_blank_line() -> None:
    lines = StatementLines(blank_ends=True)
    assert [lines.add(line) for line in ("for i in x:", "    a", "")] == [
        [],
        [],
        ["for i in x:\n    a\n"],
    ]
    assert not lines


# -- statements ------------------------------------------------------------------------------------


async def run_of(text: str, **names: Any) -> tuple[StatementEnded, str]:
    """Run a statement to its end; return that, and all that it printed."""
    said: list[str] = []
    ended = await Statement(text, 1, names, said.append).run()
    return ended, "".join(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 + 1", "2\n"),
        ("x = 3", ""),
        ("None", ""),
        ("", ""),
        ("'a\\n'", "'a\\n'\n"),
        ("print(1)\nprint(2)\n3", "1\n2\n3\n"),
        ("await sleep(0)", ""),
        ("await sleep(0, 7)", "7\n"),
        ("for i in range(2):\n    await sleep(0)\n    print(i)", "0\n1\n"),
        ("import sys; sys.stderr.write('e') and None", "e"),
    ],
)
async def test_a_statement_shows_its_value_and_what_it_prints(text: str, said: str) -> None:
    assert await run_of(text, sleep=asyncio.sleep) == (StatementEnded(RAN), said)


async def test_the_names_of_a_prompt_last() -> None:
    names: dict[str, Any] = {"sleep": asyncio.sleep}
    for text in ("x = await sleep(0, 5)", "def f(): return x + 1", "f()", "y = _"):
        assert (await run_of(text, **names))[0].ran
        await Statement(text, 1, names, lambda _: None).run()
    assert names["y"] == 6


@pytest.mark.parametrize(
    ("text", "kind", "last"),
    [
        ("1/0", "ZeroDivisionError", "division by zero"),
        ("def f(:", "SyntaxError", "invalid syntax"),
        ("a\x00", "SyntaxError", "null bytes"),
        ("raise SystemExit(3)", "SystemExit", "3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("next(iter(()))", "StopIteration", ""),
        ("await sleep(0); 1/0", "ZeroDivisionError", "division by zero"),
        ("import asyncio; raise asyncio.CancelledError('by itself')", "CancelledError", "itself"),
        ("class A:\n def __repr__(self): return 1 / 0\nA()", "ZeroDivisionError", "by zero"),
        ("class A(Exception):\n def __str__(self): return 1 / 0\nraise A", "A", "A"),
        ("(" * 5000, "SyntaxError", "too many nested parentheses"),
    ],
)
async def test_a_statement_that_fails_has_a_traceback_of_its_own_lines(
    text: str, kind: str, last: str
) -> None:
    ended, _ = await run_of(text, sleep=asyncio.sleep)
    assert ended.outcome == kind
    assert last in ended.traceback
    assert "statement.py" not in ended.traceback
    if kind == "ZeroDivisionError":
        assert next(line for line in text.splitlines() if "/" in line) in ended.traceback


async def test_what_agents_and_threads_print_meanwhile_is_not_the_statement_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gate = asyncio.Event()

    async def agent() -> None:
        await asyncio.sleep(0)
        print("by the agent")  # noqa: T201 - it is caught
        gate.set()

    def in_thread() -> None:
        thread = threading.Thread(target=print, args=["by the thread"])
        thread.start()
        thread.join()

    other = asyncio.ensure_future(agent())
    ended, said = await run_of(
        "print('mine'); in_thread(); await gate.wait(); print('and mine')",
        gate=gate,
        in_thread=in_thread,
    )
    await other
    assert (ended.outcome, said) == (RAN, "mine\nand mine\n")
    assert capsys.readouterr().out == "by the thread\nby the agent\n"


async def test_output_values_and_tracebacks_are_cut_to_size() -> None:
    _, said = await run_of("for _ in range(300): print('x' * 999)")
    assert len(said) < OUTPUT_CHARACTERS + 100
    assert said.endswith("[the rest is cut, after 100000 characters]\n")
    _, said = await run_of("'x' * 10**6")
    assert len(said) < VALUE_CHARACTERS + 100
    assert "characters cut" in said
    ended, _ = await run_of("raise ValueError('x' * 10**6)")
    assert len(ended.traceback) < VALUE_CHARACTERS + 100


async def interrupt(text: str, said: Callable[[str], None], *, gone: bool) -> StatementEnded:
    """Cancel a statement once it has printed and waits, as its prompt does."""
    begun = asyncio.Event()

    def say(text: str) -> None:
        said(text)
        begun.set()

    statement = Statement(text, 1, {"gate": asyncio.Event()}, say)
    statement.abandoned = gone
    running = asyncio.ensure_future(statement.run())
    await begun.wait()
    statement.interrupted = True
    running.cancel()
    return await running


async def test_an_await_is_interrupted_and_the_statement_may_tidy_up() -> None:
    said: list[str] = []
    text = "try:\n    print('in')\n    await gate.wait()\nfinally:\n    print('out')"
    assert await interrupt(text, said.append, gone=False) == StatementEnded(INTERRUPTED)
    assert said == ["in\n", "out\n"]


async def test_a_statement_that_swallows_its_interruption_ends_with_its_campaign() -> None:
    text = (
        "while True:\n    try:\n        print('in')\n        await gate.wait()\n"
        "    except BaseException as e:\n        if type(e) is GeneratorExit: raise"
    )
    assert await interrupt(text, lambda _: None, gone=True) == StatementEnded(INTERRUPTED)


async def test_the_longest_time_for_which_a_statement_holds_the_loop_up_is_known() -> None:
    names = {"clock": time.perf_counter, "limit": HELD_UP_S / 100}
    held = Statement("end = clock() + limit\nwhile clock() < end: pass", 1, names, lambda _: None)
    assert (await held.run()).ran
    assert held.held_up_s >= HELD_UP_S / 100


# -- the prompts of a run --------------------------------------------------------------------------


class Quiet(Campaign):
    """Does nothing."""


class Ran:
    """A run as its prompts see it, which notes the statements of its audit."""

    def __init__(self) -> None:
        self.campaign: Campaign = Quiet()
        self.session: Any = None
        self.desk = self
        self.is_over = False
        self.audited: list[tuple[str, str]] = []

    def redo_rest(self) -> None:
        """See `StatementAudit`."""

    def carried_out(self, order: str, outcome: str, by: str) -> None:
        """See `StatementAudit`."""
        assert by == own_name()
        self.audited.append((order, outcome))

    def steered(self) -> None:
        """See `PromptedRun`."""

    def look_if_quiet(self) -> None:
        """See `PromptedRun`."""


async def test_a_second_statement_before_the_end_of_the_first_ends_both(tmp_path: Path) -> None:
    run = Ran()
    async with PromptDoor(tmp_path, asked=True).open(run):
        place = read_place(tmp_path)
        assert place is not None
        prompt = Prompt(Path(place.path))
        first = RunStatement("await __import__('asyncio').Event().wait()")
        both = framed(first) + framed(RunStatement("2"))
        await asyncio.get_running_loop().sock_sendall(prompt.socket, both)
        attached, turned = await prompt.until_closed()
        assert attached == PromptAttached("Quiet", os.getpid())
        assert isinstance(turned, TurnedAway)
    assert run.audited == [(f'run "{first.text}"', INTERRUPTED)]


async def test_a_statement_that_waits_is_told_of_the_campaign_s_end_and_audited(
    tmp_path: Path,
) -> None:
    run = Ran()
    async with PromptDoor(tmp_path, asked=True).open(run):
        place = read_place(tmp_path)
        assert place is not None
        prompt = Prompt(Path(place.path))
        loop = asyncio.get_running_loop()
        text = "print('in'); await __import__('asyncio').Event().wait()"
        await loop.sock_sendall(prompt.socket, framed(RunStatement(text)))
        reader, got = frames_to_prompt(), list[Any]()
        while StatementPrinted("in\n") not in got:
            got += reader.feed(await loop.sock_recv(prompt.socket, 1 << 16))
    assert await prompt.until_closed() == [StatementEnded(INTERRUPTED)]
    assert run.audited == [(f'run "{text}"', INTERRUPTED)]


async def test_a_long_statement_is_refused_and_a_long_one_is_cut_in_the_audit(
    tmp_path: Path,
) -> None:
    run = Ran()
    async with PromptDoor(tmp_path, asked=True).open(run):
        place = read_place(tmp_path)
        assert place is not None
        prompt = Prompt(Path(place.path))
        loop = asyncio.get_running_loop()
        reader, ends = frames_to_prompt(), list[str]()
        for text in ("x" * (STATEMENT_BYTES + 1), f"'{'x' * 5000}\x1b' and 1"):
            await loop.sock_sendall(prompt.socket, framed(RunStatement(text)))
            count = len(ends)
            while len(ends) == count:
                got = reader.feed(await loop.sock_recv(prompt.socket, 1 << 16))
                ends += [each.outcome for each in got if isinstance(each, StatementEnded)]
    await prompt.until_closed()
    assert ends == ["TooLong", RAN]
    ((order, _),) = run.audited
    assert len(order) < 600
    assert "\x1b" not in order
