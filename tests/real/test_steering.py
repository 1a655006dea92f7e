"""``steerio steer``: a person pauses and resumes the pools of a broker, and moves its workers."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

import steerio
from steerio import PoolPaused, PoolResumed, TaskProgress
from tests.real.programs import running, steerio_command
from tests.real.test_leaving_nodes import wait_for
from tests.real.test_standing_broker import broker_in, status_of, workers_in

SOON_S = 60.0


async def steer(folder: Path, *order: str) -> tuple[int, str]:
    with running(*steerio_command("steer", *order), cwd=folder) as program:
        return await asyncio.to_thread(program.status, SOON_S), program.output


async def test_a_person_pauses_a_pool_and_has_it_go_on(tmp_path: Path) -> None:
    with broker_in(tmp_path), workers_in(tmp_path):
        async with (
            steerio.connect(tmp_path / "broker", name="scientist") as session,
            session.events(TaskProgress, PoolPaused, PoolResumed) as events,
        ):
            while "default" not in session.pools or session.pools["default"].starting:
                await session.pools.changed()
            workers = session.pools["default"].workers
            tasks = session.map(wait_for, [tmp_path / "go"] * (workers + 2))
            for _ in range(workers):
                assert isinstance(await anext(events), TaskProgress)
            code, said = await steer(
                tmp_path, "--by", "ada", "broker", "pause", "--reason", "to look", "default"
            )
            assert (code, said) == (0, f"default is paused: {workers} running, 2 queued\n")
            paused = await anext(events)
            assert isinstance(paused, PoolPaused)
            assert paused.reason == "by ada: to look"
            pools: Any = status_of(tmp_path)["pools"]
            assert pools["default"]["paused"] == "by ada: to look"
            (tmp_path / "go").touch()
            await asyncio.gather(*tasks[:workers])
            await session.pools.look()
            assert session.pools["default"].idle == workers
            assert not any(task.done for task in tasks[workers:])
            code, said = await steer(tmp_path, "broker", "resume")
            assert code == 0
            assert said.startswith("default goes on: ")
            await asyncio.gather(*tasks)
            resumed = await anext(events)
            assert isinstance(resumed, PoolResumed)
            assert resumed.reason.startswith(f"by {getpass.getuser()}@")


async def test_orders_that_cannot_be_are_refused_in_words(tmp_path: Path) -> None:
    code, said = await steer(tmp_path, "nowhere", "pause")
    assert code == 2
    assert "nowhere" in said
    with broker_in(tmp_path), workers_in(tmp_path):
        code, said = await steer(tmp_path, "broker", "pause", "elsewhere")
        assert code != 0
        assert "elsewhere" in said
        code, said = await steer(tmp_path, "broker", "move", "default", "elsewhere", "1")
        assert code == 0, "of an open broker any pool may be"
        assert said.startswith("1 moved from default to elsewhere: ")
        code, said = await steer(tmp_path, "broker", "move", "default", "elsewhere", "0")
        assert code == 2
