"""A campaign on a loop that runs already: as in a run, and its process stays its owner's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import AgentsGoOn, Campaign, Limits, UsageError, agent, on_success, task
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

QUICK = Limits(calls_s=0.2, finish_s=1.0, leave_s=0.2)


@task
def double(x: int) -> int:
    return 2 * x


class Doubles(Campaign):
    """Doubles some numbers, and hangs where it is told to."""

    workers = {"default": 1}  # noqa: RUF012 - as users write it

    def __init__(self, kind: str = "", release: asyncio.Event | None = None) -> None:
        self.kind = kind
        self.release = release
        self.values: list[int] = []
        self.begun = asyncio.Event()
        self.finished = asyncio.Event()

    async def setup(self) -> None:
        self.map(double, range(3))

    @on_success(double)
    async def record(self, result: Any) -> None:
        self.values.append(result.value)
        self.begun.set()
        if self.kind == "raise":
            raise ZeroDivisionError("a mistake")
        if self.kind == "hang":
            await asyncio.Event().wait()

    @agent
    async def insist(self) -> None:
        while self.release is not None and not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.release.wait()

    async def finish(self) -> None:
        self.finished.set()
        if self.kind == "finish":
            await asyncio.Event().wait()


def ended(folder: Path) -> str:
    said: str = json.loads((folder / "summary.json").read_text())["ended"]
    return said


async def test_a_campaign_is_awaited_with_its_record_and_leaves_the_process_as_it_was(
    tmp_path: Path,
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    level, policy = logging.getLogger("steerio").level, asyncio.get_event_loop_policy()
    conducting = asyncio.ensure_future(steerio.conduct(Doubles(), run_dir=tmp_path / "one"))
    other = asyncio.ensure_future(steerio.conduct(Doubles(), run_dir=tmp_path / "two"))
    while not conducting.done():
        now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        assert now == handlers
        await asyncio.wait([conducting], timeout=0.01)
    for campaign in (await conducting, await other):
        assert (sorted(campaign.values), campaign.finished.is_set()) == ([0, 2, 4], True)
    assert logging.getLogger("steerio").level == level
    assert asyncio.get_event_loop_policy() is policy
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert ended(folder) == "completed"
        assert len((folder / "tasks.jsonl").read_text().splitlines()) == 3


async def test_cancelling_it_ends_it_in_order_and_twice_at_once(tmp_path: Path) -> None:
    campaign = Doubles("hang")
    with pytest.raises(TimeoutError):
        await _time_out(campaign, tmp_path / "one")
    assert campaign.finished.is_set()
    assert ended(tmp_path / "one") == "interrupted"

    campaign = Doubles("finish")
    conducting = asyncio.ensure_future(
        steerio.conduct(campaign, run_dir=tmp_path / "two", limits=Limits(finish_s=1e6))
    )
    await campaign.begun.wait()
    conducting.cancel()
    await campaign.finished.wait()
    conducting.cancel()
    await asyncio.wait([conducting])
    assert conducting.cancelled()
    assert ended(tmp_path / "two") == "interrupted"

    early = asyncio.ensure_future(steerio.conduct(Doubles(), run_dir=tmp_path / "three"))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    assert early.cancelled(), "before there was anything to end in order"


async def _time_out(campaign: Doubles, folder: Path) -> None:
    async with asyncio.timeout(None) as bound, asyncio.TaskGroup() as group:
        group.create_task(steerio.conduct(campaign, run_dir=folder, limits=QUICK))
        await campaign.begun.wait()
        bound.reschedule(0)


async def test_errors_of_agents_come_out_and_those_that_go_on_are_left_behind(
    tmp_path: Path,
) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await steerio.conduct(Doubles("raise"), run_dir=tmp_path / "one")
    assert raised.group_contains(ZeroDivisionError)
    assert ended(tmp_path / "one") == "failed"
    deaf = Doubles("hang", asyncio.Event())
    limits = Limits(wall_s=0.5, drain_s=0, calls_s=0.2, leave_s=0.2)
    with pytest.raises(AgentsGoOn, match="calls under way are cancelled, for too long"):
        await steerio.conduct(deaf, run_dir=tmp_path / "two", limits=limits)
    assert ended(tmp_path / "two") == "failed"
    assert deaf.release is not None
    before = asyncio.all_tasks() - {asyncio.current_task()}
    deaf.release.set()
    await asyncio.wait(before)


@pytest.mark.parametrize("how", ["opened", "connected"])
async def test_a_campaign_runs_on_a_session_one_after_another(tmp_path: Path, how: str) -> None:
    if how == "opened":
        async with steerio.open_session(workers={"default": 1}) as session:
            await _use(session)
    else:
        with broker_in(tmp_path), workers_in(tmp_path, "--workers", "1"):
            async with steerio.connect(tmp_path / "broker") as session:
                await _use(session)


async def _use(session: steerio.Session) -> None:
    for _ in range(2):
        assert sorted((await steerio.conduct(Doubles(), session=session)).values) == [0, 2, 4]
    first = asyncio.ensure_future(steerio.conduct(Doubles("hang"), session=session, limits=QUICK))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="another campaign runs on"):
        await steerio.conduct(Doubles(), session=session)
    first.cancel()
    await asyncio.wait([first])
    assert await session.run(double, 4) == 8, "the session is as before"
    await _leave_behind(session)
    with pytest.raises(UsageError, match="workers does not go with a session"):
        await steerio.conduct(Doubles(), session=session, workers={"default": 1})


async def _leave_behind(session: steerio.Session) -> None:
    """See that an agent that goes on takes nothing from the next campaign when it ends."""
    deaf, known = Doubles(release=asyncio.Event()), asyncio.all_tasks()
    limits = Limits(wall_s=0.3, drain_s=0, calls_s=0.1, leave_s=0.1)
    with pytest.raises(AgentsGoOn):
        await steerio.conduct(deaf, session=session, limits=limits)
    left = asyncio.all_tasks() - known
    campaign = Doubles("hang")
    conducting = asyncio.ensure_future(steerio.conduct(campaign, session=session, limits=QUICK))
    await campaign.begun.wait()
    assert deaf.release is not None
    deaf.release.set()
    await asyncio.wait(left)
    assert not deaf.finished.is_set()
    assert session.listener is not None, "the next one still hears of its tasks"
    conducting.cancel()
    await asyncio.wait([conducting])


async def test_run_refuses_a_running_loop_and_names_what_fits() -> None:
    with pytest.raises(UsageError, match=r"await steerio\.conduct\(campaign"):
        steerio.run(Doubles())
