"""A campaign finds its pools as they were asked for when it begins, wherever its workers are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real.programs import running, steerio_command
from tests.real.test_mpi import launch
from tests.real.test_standing_broker import broker_in, workers_in
from tests.simulated import beginning
from tests.simulated.test_beginning import ASKED, SHARED_OUT

pytestmark = pytest.mark.borders


@pytest.mark.parametrize("how", ["here", "under a launcher", "joined"])
def test_pools_are_as_asked_for_when_a_campaign_begins(tmp_path: Path, how: str) -> None:
    command = steerio_command("run", beginning.__file__, "--progress", "off")
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
