"""A campaign finds its pools as asked for when it begins, and sums itself up when it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import steerio
from tests.real.programs import running, steerio_command
from tests.real.test_mpi import launch
from tests.real.test_standing_broker import broker_in, workers_in
from tests.simulated import beginning
from tests.simulated.test_beginning import ASKED, SHARED_OUT

pytestmark = pytest.mark.borders


@pytest.mark.parametrize("how", ["here", "under a launcher", "joined"])
def test_pools_are_as_asked_for_at_the_beginning_and_counted_at_the_end(
    tmp_path: Path, how: str
) -> None:
    command = steerio_command("run", beginning.__file__)
    if how == "joined":
        workers = ("--workers", "batch=3,service=1")
        with broker_in(tmp_path), workers_in(tmp_path, *workers) as node:
            node.wait_for("has joined the broker")
            with running(*command, "--join", "broker", cwd=tmp_path) as run:
                assert run.status() == 0, run
    else:
        asked = launch("mpich", 3, *command) if how == "under a launcher" else command
        with running(*asked, cwd=tmp_path) as run:
            assert run.status() == 0, run
    (said,) = [line for line in run.output.splitlines() if line.startswith("found ")]
    found, values = json.loads(said.removeprefix("found "))
    assert found == {"setup": ASKED, "agent": ASKED, "finish": SHARED_OUT}
    assert values == [0, 1, 2, 3]
    assert "Beginning completed: 4 tasks (4 done), in " in run.output
    assert "; busy: batch " in run.output
    (summary,) = (tmp_path / "runs").glob("beginning-*/summary.json")
    assert json.loads(summary.read_text())["busy"]["batch"] > 0


async def test_a_session_finds_its_pools_as_soon_as_it_is_open() -> None:
    async with steerio.open_session(workers={"batch": 2, "service": 1}) as session:
        found = {name: (load.workers, load.at_home) for name, load in session.pools.items()}
        assert found == {"batch": (2, 2), "service": (1, 1)}
    async with steerio.open_session(workers=2) as session:
        assert {name: load.workers for name, load in session.pools.items()} == {"default": 2}
