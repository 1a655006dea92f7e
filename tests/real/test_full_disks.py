"""A run whose record cannot be written any more ends, and its agents know no more than that has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.programs import running, steerio_command

pytestmark = pytest.mark.borders

CAMPAIGN = """
import os, resource

from steerio import Campaign, on_success, task


@task(pool="simulate")
def square(x: int) -> int:
    return x * x


class Squares(Campaign):
    workers = {"simulate": 2}

    async def setup(self):
        self.seen = 0
        self.map(square, range(2000))

    @on_success(square)
    async def take_in(self, result):
        self.seen += 1
        with open("seen", "a") as seen:
            print(result.args[0], file=seen)
        if self.seen == 20:  # the disk is nearly full
            most = os.path.getsize("mine/tasks.jsonl") + 5_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
"""


def test_what_the_agents_of_a_run_knew_is_in_its_record_though_the_disk_was_full(
    tmp_path: Path,
) -> None:
    (tmp_path / "squares.py").write_text(CAMPAIGN)
    command = steerio_command("run", "squares.py", "--run-dir", "mine")
    with running(*command, cwd=tmp_path) as program:
        assert program.status() == 1, program
    assert "the record in mine cannot be written" in program.output
    recorded = len((tmp_path / "mine/tasks.jsonl").read_text().splitlines())
    seen = len((tmp_path / "seen").read_text().splitlines())
    assert 20 <= seen <= recorded < 2_000
