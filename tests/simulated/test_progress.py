"""The progress of a campaign in plain lines: ends by kind, notes, work on boards, failures."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    Failed,
    Limits,
    Lost,
    Result,
    Succeeded,
    TaskError,
    on_result,
    task,
)
from steerio import TimedOut as TimedOutResult
from steerio.campaign.conductor import Conductor
from steerio.campaign.painter import Painter
from steerio.campaign.progress import Progress
from steerio.model.results import Sizes, Timings
from steerio.session.tally import FAILURES, Tally
from steerio.testing import Model, SimulatedCluster, run_virtual


@task(pool="simulate", timeout_s=5.0)
def energy(x: int) -> float:
    return -float(x)


MODEL = Model(
    lambda _, x: 100.0 if x == 2 else 1.0, value=lambda x: -float(x), fails=lambda _, x: x == 1
)


class Search(Campaign):
    """Of eight entries the second fails, and the third takes too long."""

    workers: ClassVar = {"simulate": 1}

    def __init__(self) -> None:
        self.todo = Board(energy, range(8))
        self.looks: list[str] = []

    @on_result(energy)
    async def look(self, result: Result) -> None:
        if isinstance(result, Succeeded):
            self.note(best=result.value)
        assert isinstance(self._conductor, Conductor)
        self.looks.append(Progress(self._conductor, "off").line())


def watched(mode: str, out: Any, limits: Limits | None = None) -> Search:
    campaign = Search()

    async def run() -> None:
        async with SimulatedCluster({"simulate": 1}, model=MODEL) as cluster:
            async with cluster.session("test") as session:
                conductor = Conductor(campaign, session, limits)
                progress = asyncio.ensure_future(Progress(conductor, mode, out).show())
                await conductor.run()
                progress.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await progress

    run_virtual(run())
    return campaign


def test_a_line_tells_ends_by_kind_notes_and_the_work_that_waits() -> None:
    looks = watched("plain", io.StringIO()).looks
    assert re.match(r"\[ +\d+ s\] 1 done, 0 failed, [\d.]+/s.*; best=-?0; simulate ", looks[0])
    assert "3 done, 1 failed, 1 timed out, " in looks[4]
    assert re.search(r"; best=-4; simulate [01]/1 busy, 0 queued; 2 on boards$", looks[4])


class Told(io.StringIO):
    """A stream that tells when it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_plain_lines_come_every_few_seconds_with_the_last_failure() -> None:
    out = Told()

    class Waits(Search):
        """Lets the thread write while virtual time stands still."""

        @on_result(energy)
        async def look(self, result: Result) -> None:
            if result.args[0] > 2:
                assert out.written.wait(30)

    campaign = Waits()

    async def run() -> None:
        async with SimulatedCluster({"simulate": 1}, model=MODEL) as cluster:
            async with cluster.session("test") as session:
                conductor = Conductor(campaign, session)
                progress = asyncio.ensure_future(Progress(conductor, "plain", out).show())
                await conductor.run()
                progress.cancel()
                await asyncio.wait([progress])

    run_virtual(run())
    first, second = out.getvalue().splitlines()[:2]
    assert "1 done, 1 failed" in first
    assert second.lstrip().startswith("the last to fail: task 2 energy failed: ")


def result(kind: type[Any], number: int, **fields: Any) -> Any:
    common = (number, "module:Class.energy", (), {}, 1, None, Timings(), Sizes(), {}, "", {})
    return kind(*common, **fields)


def test_a_tally_keeps_the_last_failures_as_short_texts() -> None:
    tally = Tally()
    assert repr(tally) == "<Tally: none ended>"
    for number in range(10):
        error = TaskError("ValueError", f"no {number}\n" + "x" * 10_000, "")
        tally.count(result(Failed, number, error=error))
    tally.count(result(TimedOutResult, 10, timeout_s=2.5))
    tally.count(result(Lost, 11, reason="worker w-1 has ended: \x1b[2Jkilled"))
    assert repr(tally) == "<Tally: 10 failed, 1 timed out, 1 lost>"
    assert tally.total == 12
    failed, timed_out, lost = map(str, tally.failures)
    assert failed.startswith("task 9 Class.energy failed: ValueError: no 9 xxx")
    assert len(failed) < 400
    assert timed_out == "task 10 Class.energy timed out: it ran longer than 2.5 s"
    assert (
        lost
        == "task 11 Class.energy lost: worker w-1 has ended: \N{REPLACEMENT CHARACTER}[2Jkilled"
    )
    assert len(tally.failures) == FAILURES


def test_a_painter_draws_the_newest_frame_and_waits_for_none() -> None:
    drawing, go_on = threading.Event(), threading.Event()
    drawn: list[int] = []

    def draw(frame: int) -> None:
        drawn.append(frame)
        drawing.set()
        assert go_on.wait(30)

    painter = Painter(draw, lambda: drawn.append(-1))
    painter.show(1)
    assert drawing.wait(30)
    drawing.clear()
    for frame in range(2, 100):
        painter.show(frame)  # none is waited for
    go_on.set()
    assert drawing.wait(30)
    painter.close()
    assert drawn == [1, 99, -1]
    assert repr(painter) == "<Painter: ended>"


def test_a_painter_whose_stream_fails_ends_without_a_word() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("not now")

    painter = Painter(fail, lambda: fail(None))
    painter.show(1)
    painter.close()
    painter.show(2)
    assert repr(painter) == "<Painter: ended>"
