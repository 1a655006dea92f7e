"""``steerio session``: the names of detached sessions are listed, and dropped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import steerio
from steerio.edge.record.ledger_files import FolderOnDisk
from tests.real import deeds
from tests.real.programs import running, steerio_command
from tests.real.test_detached_sessions import stop_broker
from tests.real.test_standing_broker import broker_in, workers_in


def said(folder: Path, *arguments: str, expect: int = 0) -> str:
    with running(*steerio_command("session", *arguments), cwd=folder) as program:
        assert program.status() == expect, program
        return program.output


def listed(folder: Path) -> dict[str, tuple[Any, ...]]:
    found = json.loads(said(folder, "list", "broker", "--json"))
    return {each["name"]: (each["state"], each["ended"], each["open_tasks"]) for each in found}


@steerio.task(pool="none")
def wait_for_ever() -> None:
    """Run in a pool that has no workers."""


async def leave(folder: Path, name: str) -> None:
    """Leave a task that has ended."""
    async with steerio.connect(folder / "broker", name=name, detach=True) as session:
        await session.submit(deeds.double, 1).result()


async def leave_waiting(folder: Path, name: str) -> None:
    """Leave a task that waits."""
    async with steerio.connect(folder / "broker", name=name, detach=True) as session:
        session.submit(wait_for_ever)


async def stays(folder: Path, name: str) -> None:
    """Look and drop while a session of the name is open."""
    async with steerio.connect(folder / "broker", name=name, detach=True) as session:
        await session.status()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, listed, folder)
        assert found[name] == ("here", 1, 0)
        told = await loop.run_in_executor(
            None, lambda: said(folder, "drop", "broker", name, expect=2)
        )
        assert "is open: end it first" in told


def test_names_of_detached_sessions_are_listed_and_dropped(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        assert said(tmp_path, "list", "broker") == "no detached session has tasks in broker\n"
        with workers_in(tmp_path):
            asyncio.run(leave(tmp_path, "a night"))
            asyncio.run(leave_waiting(tmp_path, "waits"))
            assert listed(tmp_path) == {"a night": ("away", 1, 0), "waits": ("away", 0, 1)}
            assert "waits (away): 0 ended, 1 not\n" in said(tmp_path, "list", "broker")
            asyncio.run(stays(tmp_path, "a night"))
            told = said(tmp_path, "drop", "broker", "no", expect=2)
            assert (
                "no detached session 'no' has tasks in broker (there: 'a night', 'waits')" in told
            )
            told = said(tmp_path, "drop", "broker", "waits", expect=2)
            assert "1 task of 'waits' has not ended: --cancel cancels" in told
            assert listed(tmp_path)["waits"] == ("away", 0, 1)
            told = said(tmp_path, "drop", "broker", "waits", "--cancel")
            assert told == "dropped waits: 1 task forgotten\n"
            assert listed(tmp_path) == {"a night": ("away", 1, 0)}
        stop_broker(tmp_path)
        assert broker.status() == 0, broker
    assert listed(tmp_path) == {"a night": ("unknown", 1, 0)}
    told = said(tmp_path, "drop", "broker", "a night", expect=2)
    assert "no broker is running in broker" in told
    with broker_in(tmp_path) as broker:
        assert said(tmp_path, "drop", "broker", "a night").startswith("dropped a night: 1 task")
        assert said(tmp_path, "list", "broker") == "no detached session has tasks in broker\n"
        stop_broker(tmp_path)
        assert broker.status() == 0, broker
    place = Path(FolderOnDisk(tmp_path / "broker").read("bad").where)
    place.write_bytes(b"no ledger" * 100)
    assert "bad (unknown): " in said(tmp_path, "list", "broker")
