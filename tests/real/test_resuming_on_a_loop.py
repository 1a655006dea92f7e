"""Campaigns on a loop that runs already go on where they were, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

import steerio
from steerio import AgentsGoOn, Board, Campaign, Limits, UsageError, agent, on_success
from steerio.errors import JournalFenced, JournalTaken, leaves
from tests.real import deeds
from tests.real.tables import read_table


class Doubles(Campaign):
    """Doubles numbers; is cut short when it has heard of so many, and may not let itself be."""

    workers: ClassVar = {"default": 1}

    def __init__(self, cut: int = 100) -> None:
        self.todo = Board(deeds.double, range(8))
        self.cut = cut
        self.values: dict[int, int] = {}

    @on_success(deeds.double)
    async def take_in(self, result: Any) -> None:
        self.values[result.args[0]] = result.value
        if len(self.values) == self.cut:
            raise ZeroDivisionError("a mistake")


class Others(Doubles):
    """Another campaign."""


class Refused(Doubles):
    """Has a class of its own as state, which cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def journal_threads() -> list[str]:
    """Return the threads of journals in this process."""
    return [thread.name for thread in threading.enumerate() if "journal" in thread.name]


async def test_campaigns_on_a_running_loop_go_on_and_leave_nothing(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with pytest.raises(ExceptionGroup) as raised:
        await steerio.conduct(Doubles(5), resume=record)
    assert raised.group_contains(ZeroDivisionError)
    assert journal_threads() == []
    with pytest.raises(UsageError, match="cannot go on as Others"):
        await steerio.conduct(Others(), resume=record)
    with pytest.raises(UsageError, match=r"self.lock .*transient"):
        await steerio.conduct(Refused(), resume=tmp_path / "refused", durability="machine")
    with pytest.raises(UsageError, match="has none"):
        await steerio.conduct(Doubles(), resume=record, durability="none")
    assert journal_threads() == []
    early = asyncio.ensure_future(steerio.conduct(Doubles(), resume=record))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    campaign = await steerio.conduct(Doubles(), resume=record)
    assert campaign.values == {x: 2 * x for x in range(8)}
    assert journal_threads() == []
    for owner in record.glob("journal/*.owner"):
        assert json.loads(owner.read_text())["released"] is True
    tasks = read_table(record / "tasks.jsonl")
    assert sum(tasks.ended_as == "succeeded") == 8


async def test_two_campaigns_of_a_program_cannot_go_on_with_one_run(tmp_path: Path) -> None:
    record = tmp_path / "record"
    both = [steerio.conduct(Doubles(), resume=record) for _ in range(2)]
    one, other = await asyncio.gather(*both, return_exceptions=True)
    won, refused = (other, one) if isinstance(one, BaseException) else (one, other)
    assert isinstance(won, Doubles)
    assert isinstance(refused, UsageError)
    assert f"process {os.getpid()} on " in str(refused)
    assert won.values == {x: 2 * x for x in range(8)}


class Held(Doubles):
    """Goes on until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.release = asyncio.Event(), asyncio.Event()

    @agent
    async def hold(self) -> None:
        self.begun.set()
        await self.release.wait()


async def test_a_program_that_takes_a_run_over_has_the_other_end_with_an_error(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    held = Held()
    first = asyncio.ensure_future(steerio.conduct(held, resume=record))
    await held.begun.wait()
    with pytest.raises(JournalTaken, match="take_over=True, or --take-over"):
        await steerio.conduct(Held(), resume=record)
    second = Held()
    second.release.set()
    await steerio.conduct(second, resume=record, take_over=True)
    assert second.values == {x: 2 * x for x in range(8)}
    held.release.set()
    (error,) = await asyncio.gather(first, return_exceptions=True)
    assert isinstance(error, BaseException)
    assert [type(leaf) for leaf in leaves(error)] == [JournalFenced]
    assert json.loads((record / "summary.json").read_text())["ended"] == "completed"
    with pytest.raises(UsageError, match="take_over goes with resume"):
        await steerio.conduct(Doubles(), take_over=True)


class Deaf(Doubles):
    """Swallows every cancellation, until it is released."""

    def __init__(self, release: asyncio.Event) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.release = release

    @agent
    async def insist(self) -> None:
        self.begun.set()
        while not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.release.wait()


async def test_a_run_that_deaf_agents_left_behind_can_be_resumed(tmp_path: Path) -> None:
    record = tmp_path / "record"
    deaf = Deaf(asyncio.Event())
    limits = Limits(calls_s=0.1, leave_s=0.1)
    conducting = asyncio.ensure_future(steerio.conduct(deaf, resume=record, limits=limits))
    await deaf.begun.wait()
    conducting.cancel()
    with pytest.raises(AgentsGoOn):
        await conducting
    before = asyncio.all_tasks() - {asyncio.current_task()}
    released = asyncio.Event()
    released.set()
    campaign = await steerio.conduct(Deaf(released), resume=record)
    assert campaign.values == {x: 2 * x for x in range(8)}
    deaf.release.set()
    await asyncio.wait(before)
    assert journal_threads() == []
    assert json.loads((record / "summary.json").read_text())["ended"] == "completed"
