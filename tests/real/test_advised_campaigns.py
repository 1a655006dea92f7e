"""Advised campaigns in real processes: the example by HTTP, resumed without a network, and audited.

The server is the test's own: it answers well, too late, and with terminal codes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.contract.chat_servers import ChatServer, chat_server
from tests.real.programs import REPOSITORY, Program, python, running, steerio_command

SEARCH = str(REPOSITORY / "examples" / "advised" / "search.py")
KEY = "sk-very-secret"
HOSTILE = 'Done.\x1b]0;gone\x07 {"around": "\x9b31m", "width": 1}'


async def search(folder: Path, chat: ChatServer, *options: str) -> str:
    """Run the example against a server; return its output."""
    command = steerio_command("run", SEARCH, "--quick", "--by", "openai", "--progress", "off")
    env = {"ADVISOR_URL": chat.url, "ADVISOR_MODEL": "tiny", "ADVISOR_KEY": KEY, "NO_PROXY": "*"}
    with running(*command, *options, cwd=folder, env=env) as program:
        return await asyncio.to_thread(ended, program)


def ended(program: Program) -> str:
    assert program.status(60.0) == 0, program
    return program.output


def all_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_server_advises_a_campaign_and_the_audit_lists_it(tmp_path: Path) -> None:
    replies = ('{"around": 9, "width": 1}', HOSTILE, (503, b"busy"), '{"around": 4, "width": 2}')
    async with chat_server(*replies) as chat:
        output = await search(tmp_path, chat, "--run-dir", "one")
    assert len(chat.requests) == 4
    assert "around 8.00, width 1.00, by the advisor (around was 9, and is 8.0)" in output
    assert output.count("by the fallback") == 2
    assert "highest: " in output
    with running(*steerio_command("audit", "one"), cwd=tmp_path) as program:
        audit = await asyncio.to_thread(ended, program)
    lines = [line for line in audit.splitlines() if "Search.think consulted openai: " in line]
    assert len(lines) == 4
    assert '-> {"around":8.0,"width":1.0} (around was 9, and is 8.0)' in lines[0]
    assert "by the fallback: its answer is none: Expected `float`, got `str`" in lines[1]
    assert "by the fallback: RuntimeError: the server answered with status 503" in lines[2]
    for text in (output, audit):
        assert "\x1b" not in text
        assert "\x9b" not in text
    kept = all_files(tmp_path)
    assert b'"Advised"' in kept
    assert KEY.encode() not in kept
    assert KEY not in output


async def test_a_late_server_does_not_hold_results_up(tmp_path: Path) -> None:
    async with chat_server(None, None, None, None) as chat:
        output = await search(tmp_path, chat, "--run-dir", "late", "--timeout-s", "0.5")
        await chat.left.wait()
    assert output.count("by the fallback (no answer within 0.5 s)") == 4
    assert "highest: " in output


async def test_a_resumed_campaign_asks_no_server_what_it_was_told(tmp_path: Path) -> None:
    replies = [f'{{"around": {n}, "width": 1}}' for n in (1, 2, 3, 4)]
    command = ("--resume", "one", "--limit-tasks", "30")
    async with chat_server(*replies) as chat:
        first = await search(tmp_path, chat, *command)
        asked = len(chat.requests)
        again = await search(tmp_path, chat, "--resume", "one")
    assert 2 <= asked < len(chat.requests) + 1 <= 5
    advised = [line for line in first.splitlines() if "by the advisor" in line]
    told = [line for line in again.splitlines() if "by the advisor" in line]
    assert told[: len(advised)] == advised


DEAF = """
import asyncio

import steerio
from msgspec import Struct
from steerio import Campaign, Limits, agent, task


class Width(Struct):
    x: float = 1.0


async def never(view, choices):
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass


@task
def same(x: int) -> int:
    return x


class Deaf(Campaign):
    workers = {"default": 1}

    @agent
    async def ask(self) -> None:
        await self.run(same, 1)
        advisor = steerio.Advisor(never, fallback=Width(), timeout_s=0.2)
        print((await self.consult(advisor, Width(), Width)).by, flush=True)


steerio.run(Deaf(), limits=Limits(leave_s=0.2), progress="off")
"""


def test_an_advisor_that_lets_itself_not_be_cancelled_does_not_keep_a_run(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    with running(*python("deaf.py"), cwd=tmp_path) as program:
        assert program.status() == 1
    assert "fallback" in program.output
    assert "the call of advisor never goes on, for too long" in program.output
