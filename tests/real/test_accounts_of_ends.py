"""The end line of a run, ``steerio top`` and ``steerio record list`` count and name ends alike."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from steerio.session.tally import ends_in_words, in_kinds
from tests.real.programs import running, steerio_command

SOON_S = 60.0

CAMPAIGN = """
import time

from steerio import Campaign, on_failure, task


@task
def divide(x: int) -> float:
    return 1 / x


@task
def wait(seconds: float) -> None:
    time.sleep(seconds)


class Few(Campaign):
    workers = {"default": 1}

    async def setup(self) -> None:
        for x in range(4):
            self.submit(divide, x)
        self.submit(wait, 0.2)
        for _ in range(3):
            self.submit(wait, 1.0)

    @on_failure(divide)
    async def expect(self, result) -> None:
        pass
"""


def test_ends_are_said_by_kind() -> None:
    ended = Counter(cancelled=3, succeeded=2, timed_out=1)
    assert ends_in_words(ended) == "6 tasks (2 done, 1 timed out, 3 cancelled)"
    assert ends_in_words({"failed": 1}) == "1 task (1 failed)"
    assert ends_in_words({}) == "0 tasks"


def say(folder: Path, *command: str) -> str:
    with running(*steerio_command(*command), cwd=folder, env={"COLUMNS": "200"}) as program:
        assert program.status(SOON_S) == 0, program
        return program.output


@pytest.mark.parametrize("limit", [4, 100])
def test_all_commands_give_one_account_of_a_run(tmp_path: Path, limit: int) -> None:
    (tmp_path / "few.py").write_text(CAMPAIGN)
    end = say(tmp_path, "run", "few.py", "--run-dir", "run", "--limit-tasks", str(limit))
    for again in (False, True):
        if again:
            end = say(tmp_path, "resume", "run", "--limit-tasks", str(limit + 1))
        lines = (tmp_path / "run" / "tasks.jsonl").read_bytes().splitlines()
        ended = Counter(msgspec.json.decode(line)["ended_as"] for line in lines)
        assert ("cancelled" in ended) == (limit < 8)
        state = "limited" if limit < 8 else "completed"
        assert f"Few {state}: {ends_in_words(ended)}, " in end
        assert re.search(rf"Few {state}, .*: {re.escape(ends_in_words(ended))}, ",
                         say(tmp_path, "top", "run"))  # fmt: skip
        listed = say(tmp_path, "record", "list", ".")
        assert re.search(rf"│ {state}.* │ {re.escape(in_kinds(ended))} +│", listed)
