"""Pools on executors refuse that which engines cannot hold to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

import steerio
from steerio import Campaign, OnExecutor, agent
from steerio.errors import UsageError
from steerio.launch.engine_node import EngineNode
from steerio.launch.finding import find_broker
from steerio.model.settings import Settings
from tests.real.programs import running, steerio_command
from tests.real.test_standing_broker import broker_in

ALLOW = ["tests.real.deeds:*"]
REFUSED = r"pool engine cannot be served by OnExecutor with a list of allowed functions \(allow\)"
MADE: list[ThreadPoolExecutor] = []


def made() -> ThreadPoolExecutor:
    MADE.append(ThreadPoolExecutor(1))
    return MADE[-1]


class Served(Campaign):
    """A campaign with a pool on an executor."""

    workers: ClassVar = {"engine": OnExecutor(made, slots=1)}

    @agent
    async def begin(self) -> None:
        raise AssertionError("it was to be refused")


PROGRAM = """
from concurrent.futures import ThreadPoolExecutor
from steerio import Campaign, OnExecutor, agent

class Served(Campaign):
    workers = {"engine": OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)}

    @agent
    async def begin(self):
        print("it was to be refused")
"""


# -- a list of allowed functions -------------------------------------------------------------------


async def test_a_session_with_a_list_is_refused_before_it_starts(tmp_path: Path) -> None:
    opening = steerio.open_session(
        workers={"engine": OnExecutor(made, slots=1)}, allow=ALLOW, run_dir=tmp_path / "run"
    )
    with pytest.raises(UsageError, match=REFUSED):
        async with opening:
            pass
    assert not MADE
    assert not (tmp_path / "run").exists()


async def test_an_empty_list_is_a_list() -> None:
    with pytest.raises(UsageError, match=REFUSED):
        async with steerio.open_session(workers={"engine": OnExecutor(made, slots=1)}, allow=[]):
            pass


async def test_a_campaign_with_a_list_is_refused_before_it_has_a_record(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=REFUSED):
        await steerio.conduct(Served(), run_dir=tmp_path / "run", allow=ALLOW, progress="off")
    assert not MADE
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=REFUSED):
        steerio.run(Served(), run_dir=tmp_path / "run", allow=ALLOW, progress="off")
    assert not MADE
    assert not (tmp_path / "run").exists()


def test_the_command_with_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(PROGRAM)
    refused(tmp_path, "--allow", "served:*")


def refused(folder: Path, *options: str) -> None:
    command = steerio_command("run", "served.py", *options, "--run-dir", "run")
    with running(*command, cwd=folder) as program:
        assert program.status() != 0, program
    assert "cannot be served by OnExecutor" in program.output, program
    assert "it was to be refused" not in program.output
    assert not (folder / "run").exists()


async def test_no_engine_joins_a_broker_that_has_a_list(tmp_path: Path) -> None:
    on = OnExecutor(made, slots=1)
    with broker_in(tmp_path, "--allow", ALLOW[0]):
        connection = find_broker(tmp_path / "broker")
        with pytest.raises(UsageError, match=REFUSED):
            EngineNode("engine", on, 1, connection, Settings())
        async with steerio.connect(tmp_path / "broker") as session:
            with pytest.raises(UsageError, match=REFUSED):
                session.serve("engine", on)
    assert not MADE


def test_no_campaign_joins_a_broker_that_has_a_list_to_serve_a_pool(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(PROGRAM)
    with broker_in(tmp_path, "--allow", ALLOW[0]):
        refused(tmp_path, "--join", "broker")


async def test_a_session_with_a_list_serves_no_pool_by_an_engine() -> None:
    async with steerio.open_session(workers=1, allow=ALLOW) as session:
        with pytest.raises(UsageError, match="pool default cannot be served"):
            session.serve("default", OnExecutor(made, slots=1))
    assert not MADE
