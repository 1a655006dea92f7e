"""``steerio attach``: Python prompts in the process of a campaign that was started for them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steerio.edge.wire.prompt_place import PLACE_FILE, read_place
from tests.real.programs import PATH, Program, running, steerio_command
from tests.real.terminals import on_terminal

SOON_S = 60.0

CAMPAIGN = """
import asyncio
import steerio
from steerio import Campaign, agent, task


@task
def square(x: int) -> int:
    return x * x


class Search(Campaign):
    workers = {"default": 1}
    rate = steerio.parameter(0.1, ge=0, le=1)
    goes_on = True

    def __init__(self) -> None:
        self.enough = asyncio.Event()

    def broken(self) -> None:
        raise ValueError("this is broken")

    @agent
    async def work(self) -> None:
        await self.run(square, 2)
        print("begun", flush=True)
        await self.enough.wait()
        print(f"ended at {self.rate}", flush=True)
"""


@contextmanager
def search(folder: Path, *options: str) -> Iterator[Program]:
    (folder / "search.py").write_text(CAMPAIGN)
    if "--resume" not in options:
        options = (*options, "--run-dir", "run")
    command = steerio_command("run", "search.py", "--progress", "off", *options)
    with running(*command, cwd=folder) as program:
        program.wait_for("begun")
        yield program


def attach(folder: Path, text: str, *, expect: int = 0) -> tuple[str, str]:
    """Pipe statements to the campaign; return the output and the errors."""
    ended = subprocess.run(
        steerio_command("attach", "run", "--repl"),
        input=text,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert ended.returncode == expect, ended
    return ended.stdout, ended.stderr


def audit(folder: Path) -> str:
    with running(*steerio_command("audit", "run"), cwd=folder) as program:
        assert program.status(SOON_S) == 0, program
        return program.output


def test_statements_look_change_await_and_fail_in_the_campaign_and_are_audited(
    tmp_path: Path,
) -> None:
    with search(tmp_path, "--repl") as program:
        place = read_place(tmp_path / "run")
        assert place is not None
        mode = stat.S_IMODE(Path(place.path).stat().st_mode)
        assert mode == stat.S_IMODE((tmp_path / "run" / PLACE_FILE).stat().st_mode) == 0o600
        assert attach(tmp_path, "campaign.rate") == ("0.1\n", "")
        said = attach(
            tmp_path,
            "campaign.rate = 0.5\nfrom search import square\nawait session.submit(square, 7)\n",
        )
        assert said == ("49\n", "")
        out, errors = attach(tmp_path, "print('a')\ncampaign.broken()\nprint('b')\n", expect=1)
        assert out == "a\n"
        assert errors.splitlines()[-1] == "ValueError: this is broken"
        assert "statement.py" not in errors
        _, errors = attach(tmp_path, "campaign.rate = 7", expect=1)
        assert "Search.rate cannot be 7" in errors
        assert attach(tmp_path, "print('\\x1b[31m')")[0] == "\\x1b[31m\n"
        attach(tmp_path, "campaign.enough.set()")
        assert program.status(SOON_S) == 0, program
        assert "ended at 0.5" in program.output
        assert not Path(place.path).parent.exists()
    assert not (tmp_path / "run" / PLACE_FILE).exists()
    _, errors = attach(tmp_path, "1", expect=2)
    assert "no campaign runs in run: the last one is completed" in errors
    told = audit(tmp_path)
    assert 'run "campaign.rate" -> ran' in told
    assert 'run "await session.submit(square, 7)" -> ran' in told
    assert 'run "campaign.broken()" -> ValueError' in told
    assert "print('b')" not in told
    assert "set rate from 0.1 to 0.5" in told
    tasks = (tmp_path / "run" / "tasks.jsonl").read_text()
    assert '"cause":"prompt of ' in tasks


def test_ctrl_c_interrupts_an_await_and_the_campaign_goes_on(tmp_path: Path) -> None:
    text = "print('waits', flush=True); await __import__('asyncio').Event().wait()"
    with search(tmp_path, "--repl") as program:
        with subprocess.Popen(
            steerio_command("attach", "run", "--repl"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": PATH},
            start_new_session=True,
        ) as prompt:
            assert prompt.stdin is not None
            assert prompt.stdout is not None
            prompt.stdin.write(f"{text}\n".encode())
            prompt.stdin.flush()
            assert prompt.stdout.readline() == b"waits\n"
            prompt.send_signal(signal.SIGINT)
            out, _ = prompt.communicate(timeout=SOON_S)
            assert (prompt.returncode, out) == (1, b"interrupted\n")
        attach(tmp_path, "campaign.enough.set()")
        assert program.status(SOON_S) == 0, program
    assert '.wait()" -> interrupted' in audit(tmp_path)


def test_a_statement_ends_with_its_prompt_and_with_its_campaign(tmp_path: Path) -> None:
    text = "print('waits', flush=True); await __import__('asyncio').Event().wait()\n"
    with search(tmp_path, "--repl") as program:
        prompts = [
            subprocess.Popen(
                steerio_command("attach", "run", "--repl"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": PATH},
            )
            for _ in range(2)
        ]
        killed, left = prompts
        try:
            for each in prompts:
                assert each.stdin is not None
                assert each.stdout is not None
                each.stdin.write(text.encode())
                each.stdin.flush()
                assert each.stdout.readline() == b"waits\n"
            killed.kill()
            killed.wait(SOON_S)
            while '.wait()" -> interrupted' not in audit(tmp_path):
                pass
            attach(tmp_path, "campaign.enough.set()")
            assert program.status(SOON_S) == 0, program
            _, errors = left.communicate(timeout=SOON_S)
            assert left.returncode == 1
            assert b"interrupted" in errors or b"the campaign has ended" in errors
        finally:
            for each in prompts:
                each.kill()
                each.communicate()
    assert audit(tmp_path).count('.wait()" -> interrupted') == 2


def test_a_person_at_a_terminal_types_blocks_and_leaves_by_ctrl_d(tmp_path: Path) -> None:
    with (
        search(tmp_path, "--repl") as program,
        on_terminal(*steerio_command("attach", "run", "--repl"), cwd=tmp_path) as prompt,
    ):
        prompt.wait_for_output("attached to Search")
        prompt.type("for i in range(2):\n  print('no', i)\n\n1/0\n")
        prompt.wait_for_output("no 1\n")
        prompt.wait_for("ZeroDivisionError: division by zero")
        prompt.type("campaign.rate\n\x04")
        assert prompt.end() == 0, prompt
        assert "0.1\n" in prompt.output.read_text()
        attach(tmp_path, "campaign.enough.set()")
        assert program.status(SOON_S) == 0, program


def test_without_repl_nothing_listens_and_attach_says_how_to_ask(tmp_path: Path) -> None:
    with search(tmp_path) as program:
        assert not (tmp_path / "run" / PLACE_FILE).exists()
        _, errors = attach(tmp_path, "1", expect=2)
        assert "not asked for when it was started" in errors
        assert "steerio run FILE --repl" in errors
        with running(*steerio_command("attach", "run"), cwd=tmp_path) as program_:
            assert program_.status(SOON_S) == 2
            assert "say steerio attach run --repl" in program_.output
        program.signal(signal.SIGTERM)
        assert program.status(SOON_S) == 143, program
    _, errors = attach(tmp_path.parent, "1", expect=2)
    assert "there is no run directory run" in errors


@pytest.mark.parametrize("again", [("--repl",), ()], ids=["with", "without"])
def test_a_resumed_run_replaces_the_socket_of_a_killed_one(
    tmp_path: Path, again: tuple[str, ...]
) -> None:
    with search(tmp_path, "--repl") as program:
        before = read_place(tmp_path / "run")
        assert before is not None
        program.signal(signal.SIGKILL)
        program.status(SOON_S)
        _, errors = attach(tmp_path, "1", expect=2)
        assert "has ended, and was cut off" in errors
    with search(tmp_path, "--resume", "run", *again) as program:
        after = read_place(tmp_path / "run")
        if again:
            assert after is not None
            assert after.pid == program.pid
            attach(tmp_path, "campaign.enough.set()")
            assert program.status(SOON_S) == 0, program
        else:
            assert after is None
            program.signal(signal.SIGTERM)
            assert program.status(SOON_S) == 143, program
    assert not (tmp_path / "run" / PLACE_FILE).exists()
