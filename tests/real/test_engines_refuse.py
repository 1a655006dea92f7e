"""Pools on executors refuse that which engines cannot hold to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

import steerio
from steerio import Campaign, Command, Commands, OnExecutor, agent, task
from steerio.errors import TaskFailed, UsageError
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


# -- programs --------------------------------------------------------------------------------------


@steerio.executable(pool="engine")
def with_program(mark: Path) -> Commands[int]:
    mark.touch()
    done = yield Command(["true"])
    return done.exit_code


@steerio.mpi_task(gang=1, pool="engine")
def with_ranks(mark: Path) -> Commands[int]:
    mark.touch()
    done = yield Command(["true"])
    return done.exit_code


@task(pool="engine")
def with_program_within(mark: Path) -> int:
    return with_program(mark)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (with_program, "with_program"),
        (with_ranks, "with_ranks"),
        (with_program_within, "with_program"),
    ],
    ids=["executable", "mpi_task", "called_by_a_task"],
)
async def test_programs_on_an_engine_are_refused(
    kind: Callable[..., Any], named: str, tmp_path: Path
) -> None:
    workers = {"engine": OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)}
    async with steerio.open_session(workers=workers) as session:
        with pytest.raises(TaskFailed) as failed:
            await session.submit(kind, tmp_path / "begun")
    said = f"programs run on workers of steerio, not on an engine: have {named} run in a pool"
    assert said in str(failed.value)
    assert not (tmp_path / "begun").exists()
