"""Task types with a memo: an equal call is computed once, and is given its value from then on."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    Cancelled,
    Failed,
    Limits,
    Session,
    Succeeded,
    UsageError,
    on_success,
    task,
)
from steerio.campaign.past import read_past
from steerio.edge.record.entries import EntryKind
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.journal_segments import JournalReader, find_segments
from steerio.edge.record.known_results import KnownResults
from steerio.model.objects import StoreSetting
from steerio.session import memo
from steerio.session.run_dir import JOURNAL
from steerio.testing import Model, SimulatedCluster, simulate
from tests.simulated.kept_runs import CrashingDisk, cut, play
from tests.simulated.virtual import on_cluster

RAN: Counter[Any] = Counter()
"""The calls that workers made."""


@pytest.fixture(autouse=True)
def none_ran() -> None:
    RAN.clear()


@task(memo=True, pool="simulate")
def square(x: int) -> int:
    RAN[x] += 1
    if x < 0:
        raise ValueError("it is negative")
    return x * x


@task(memo=True, pool="simulate", version="2")
def long_text(x: int) -> bytes:
    RAN[x] += 1
    return bytes([x]) * 5_000


@task(pool="simulate")
def draw(x: int) -> int:
    RAN[x] += 1
    return RAN[x]


TAKING_A_SECOND: Any = {"model": Model(1.0)}


@on_cluster(**TAKING_A_SECOND)
async def test_equal_calls_are_computed_once(cluster: SimulatedCluster, session: Session) -> None:
    tasks = [session.submit(square, 3) for _ in range(3)]
    assert await session.gather(*tasks) == [9, 9, 9]
    assert RAN == {3: 1}
    first, *others = [task.peek() for task in tasks]
    assert isinstance(first, Succeeded)
    assert first.recalled == ""
    for other in others:
        assert isinstance(other, Succeeded)
        assert other.recalled == "this run"
        assert other.worker == first.worker
        assert other.task_id != first.task_id


@on_cluster(**TAKING_A_SECOND)
async def test_a_later_call_is_given_the_value_at_once(cluster: Any, session: Session) -> None:
    await session.run(square, 3)
    before = asyncio.get_running_loop().time()
    assert await session.run(square, 3) == 9
    assert await session.run(square, x=3) == 9
    assert asyncio.get_running_loop().time() == before + 1.0  # by keyword it is another call
    assert RAN == {3: 2}


@on_cluster(**TAKING_A_SECOND)
async def test_each_caller_has_a_value_of_its_own(cluster: Any, session: Session) -> None:
    made = task(memo=True, pool="simulate")(_listed)
    first = await session.run(made, 2)
    first.append("changed")
    assert await session.run(made, 2) == [2, 2]


def _listed(x: int) -> list[Any]:
    return [x] * x


@on_cluster(**TAKING_A_SECOND)
async def test_of_calls_that_wait_the_next_is_computed_if_the_first_is_cancelled(
    cluster: Any, session: Session
) -> None:
    first, second, third = [session.submit(square, 3) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert (first.state, second.state) == ("pending", "waiting")
    first.cancel()
    assert isinstance(await first.result(), Cancelled)
    assert await session.gather(second, third) == [9, 9]
    assert RAN == {3: 2}
    results: list[Any] = [second.peek(), third.peek()]
    assert [result.recalled for result in results] == ["", "this run"]


@on_cluster(**TAKING_A_SECOND)
async def test_a_call_that_waits_can_be_cancelled(cluster: Any, session: Session) -> None:
    first, second, third = [session.submit(square, 3) for _ in range(3)]
    await asyncio.sleep(0.5)
    second.cancel("it was not needed")
    result = await second.result()
    assert isinstance(result, Cancelled)
    assert result.reason == "it was not needed"
    assert await session.gather(first, third) == [9, 9]


@on_cluster(**TAKING_A_SECOND)
async def test_failures_are_computed_again(cluster: Any, session: Session) -> None:
    tasks = [session.submit(square, -1) for _ in range(3)]
    for each in tasks:
        assert isinstance(await each.result(), Failed)
    assert isinstance(await session.submit(square, -1).result(), Failed)
    assert RAN == {-1: 4}


@on_cluster(store=StoreSetting(threshold_bytes=1000), **TAKING_A_SECOND)
async def test_values_in_the_store_are_recalled(cluster: Any, session: Session) -> None:
    tasks = [session.submit(long_text, 7) for _ in range(2)]
    assert await session.gather(*tasks) == [bytes([7]) * 5_000] * 2
    assert await session.run(long_text, 7) == bytes([7]) * 5_000
    assert RAN == {7: 1}


@on_cluster(**TAKING_A_SECOND)
async def test_handles_count_by_their_values(cluster: Any, session: Session) -> None:
    first: Any = session.submit(square, 2)
    second = session.submit(draw, 5)
    assert await session.run(square, first) == 16
    assert await session.run(square, 4) == 16
    await second
    assert RAN == {2: 1, 4: 1, 5: 1}


@on_cluster(**TAKING_A_SECOND)
async def test_references_count_by_their_values(cluster: Any, session: Session) -> None:
    long = task(memo=True, pool="simulate")(_listed)
    await session.run(square, 1)  # a session knows of memos from the first such task on
    assert await session.run(long, await session.put(2)) == [2, 2]
    before = asyncio.get_running_loop().time()
    assert await session.run(long, await session.put(2)) == [2, 2]
    assert asyncio.get_running_loop().time() == before


@on_cluster(**TAKING_A_SECOND)
async def test_a_call_with_the_latest_version_is_computed_each_time(
    cluster: Any, session: Session
) -> None:
    weigh = task(memo=True, pool="simulate")(_listed)
    versions = session.versions("model")
    for value in (1, 2):
        await versions.publish(value)
        assert await session.run(weigh, versions.latest) == [value] * value


def test_a_call_without_a_digest_is_computed_each_time_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kind = task(memo=True, pool="simulate")(_counted)

    @on_cluster(**TAKING_A_SECOND)
    async def test(cluster: Any, session: Session) -> None:
        put = await session.put(1)  # before the session knew of any memo
        for _each in range(2):
            await session.run(kind, put)

    test()
    assert RAN == {1: 2}
    (warning,) = [each.message for each in caplog.records if "has a memo" in each.message]
    assert "is computed each time" in warning
    assert "has no digest of its value" in warning


def _counted(x: int) -> int:
    RAN[x] += 1
    return x


def test_values_that_have_no_room_in_memory_are_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memo, "MEMO_BYTES", 12_000)

    @on_cluster(**TAKING_A_SECOND)
    async def test(cluster: Any, session: Session) -> None:
        for x in (1, 2, 3, 3, 2, 1):
            await session.run(long_text, x)

    test()
    assert RAN == {1: 2, 2: 1, 3: 1}


def test_what_can_have_no_memo_is_refused_when_it_is_declared() -> None:
    with pytest.raises(UsageError, match="is a generator, and its items are not kept"):

        @task(memo=True)
        def count() -> Any:
            yield 1

    with pytest.raises(UsageError, match="memo is True or False"):
        task(memo="yes")(_listed)  # type: ignore[call-overload]


class Boards(Campaign):
    """Two boards with some equal entries."""

    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.one: Board[int] = Board(square, [1, 2, 3, 4])
        self.other: Board[int] = Board(square, [4, 3, 2, 1, 5, 6])
        self.values: list[int] = []

    @on_success(square)
    async def take_in(self, result: Any) -> None:
        self.values.append(result.value)


def test_calls_that_wait_keep_no_worker_idle() -> None:
    run = simulate(Boards(), model=Model(1.0))
    assert sorted(run.campaign.values) == [1, 1, 4, 4, 9, 9, 16, 16, 25, 36]
    assert max(RAN.values()) == 1
    assert run.duration_s == pytest.approx(3.0)  # six calls, two at a time


@task(memo=True)
def measure(x: int) -> int:
    RAN["memo", x] += 1
    return x


@task
def sample(x: int) -> int:
    RAN["draw", x] += 1
    return x


class Ordered(Campaign):
    """Decides by the order in which results came."""

    workers: ClassVar = {"default": 2}

    def __init__(self, steps: int = 40) -> None:
        self.steps = steps
        self.order: list[int] = []
        self.recalled: list[str] = []

    async def setup(self) -> None:
        for x in (1, 2, 2, 3):
            self.ask(x)

    def ask(self, x: int) -> None:
        self.submit(measure if x % 3 else sample, x)

    @on_success(sample)
    @on_success(measure)
    async def take_in(self, result: Any) -> None:
        self.order.append(result.args[0])
        self.recalled.append(result.recalled)
        if len(self.order) < self.steps:
            random = Random(str(self.order))
            for _ in range(random.choice((1, 1, 2))):
                self.ask(random.randrange(12))


SOME_SECONDS = Model(lambda random, x: random.choice((0.5, 0.5, 0.5 + random.random())))


@pytest.mark.parametrize("every_s", [1000.0, 2.0])
def test_a_run_that_was_cut_at_any_write_is_told_the_same_in_the_same_order(every_s: float) -> None:
    whole = CrashingDisk()
    play(Ordered(), whole, SOME_SECONDS, every_s=every_s)
    for at in range(0, whole.changes, 3):
        RAN.clear()
        first, again, disk = Ordered(), Ordered(), CrashingDisk()
        files = cut(first, disk, at, model=SOME_SECONDS, every_s=every_s)
        assert files is not None
        disk = CrashingDisk(files)
        past = read_past(JournalReader(disk).frames())
        told = min(len(past.results), len(first.order))  # the last batch may not have been told
        keeping = play(again, disk, SOME_SECONDS, every_s=every_s, seed=at + 1)
        assert again.order[:told] == first.order[:told]
        assert again.recalled[:told] == first.recalled[:told]
        assert not keeping.recovered
        assert len(again.order) >= again.steps
        known = [f.body[:16] for f in JournalReader(disk).frames() if f.kind == EntryKind.MEMO]
        assert len(known) == len({*known})


def test_results_behind_snapshots_are_recalled_although_files_are_removed() -> None:
    disk = CrashingDisk()
    play(Ordered(600), disk, SOME_SECONDS, every_s=0.7, limits=Limits(tasks=400))
    segments, _ = find_segments(disk)
    assert any(segment.compacted_by for segment in segments)
    known = len(read_past(JournalReader(disk).frames()).known)
    assert known == 8
    RAN.clear()
    again = Ordered()
    keeping = play(again, disk, SOME_SECONDS)
    assert len(again.order) >= 600
    assert RAN.keys() == {("draw", x) for x in (0, 3, 6, 9)}
    assert keeping.recovered == []


def test_limits_count_recalled_tasks_but_no_seconds_of_them() -> None:
    class Again(Campaign):
        workers: ClassVar = {"simulate": 1}

        async def setup(self) -> None:
            self.submit(square, 2)

        @on_success(square)
        async def ask(self, result: Any) -> None:
            self.submit(square, 2)

    disk, campaign = CrashingDisk(), Again()
    limits = Limits(tasks=7, worker_s=1.5)
    keeping = play_in(campaign, disk, limits)
    spent = keeping._run.spent
    assert (spent.tasks, spent.successes, spent.recalled, spent.worker_s) == (7, 7, 6, 1.0)
    keeping = play_in(Again(), disk, Limits(tasks=9))
    spent = keeping._run.spent
    assert (spent.tasks, spent.recalled, spent.worker_s) == (9, 8, 1.0)
    assert RAN == {2: 1}


def play_in(campaign: Campaign, disk: CrashingDisk, limits: Limits, earlier: Any = ()) -> Any:
    return play(campaign, disk, Model(1.0), limits=limits, pool="simulate", earlier=earlier)


class Copies(Campaign):
    """Asks many times for a value that an earlier run has."""

    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.recalled: list[str] = []

    async def setup(self) -> None:
        for _ in range(200):
            self.submit(long_text, 7)

    @on_success(long_text)
    async def take_in(self, result: Any) -> None:
        self.recalled.append(result.recalled)


def test_a_value_of_an_earlier_run_is_copied_once() -> None:
    earlier, disk, campaign = CrashingDisk(), CrashingDisk(), Copies()
    play_in(Copies(), earlier, Limits())
    finder = FrameFinder(earlier, [EntryKind.MEMO])
    known = KnownResults(finder.find, all_kinds=True)
    for frame in finder.frames():
        known.see(frame)
    play_in(campaign, disk, Limits(), [memo.EarlierRun("earlier", known)])
    assert campaign.recalled == ["earlier"] * 200
    kinds = Counter(frame.kind for frame in JournalReader(disk).frames())
    assert (kinds[EntryKind.MEMO], kinds[EntryKind.RECALLED]) == (1, 199)
    assert RAN == {7: 1}


def test_a_simulation_recalls_the_results_of_earlier_runs(tmp_path: Path) -> None:
    disk = CrashingDisk()
    play_in(Copies(), disk, Limits())
    (tmp_path / JOURNAL).mkdir()
    for name in disk.names():
        (tmp_path / JOURNAL / name).write_bytes(disk.read(name))
    simulated = simulate(Copies(), model=Model(60.0), memo=tmp_path)
    assert simulated.campaign.recalled == [str(tmp_path)] * 200
    assert simulated.duration_s < 60.0
    assert RAN == {7: 1}
    with pytest.raises(UsageError, match="is not a folder: name the folder of an earlier run"):
        simulate(Copies(), model=Model(60.0), memo=[tmp_path / "none"])


def test_a_file_that_was_damaged_is_kept_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Damaging(CrashingDisk):
        def read(self, name: str) -> bytes:
            data = bytearray(super().read(name))
            if self.changes and len(data) > 3_000:
                data[2_000] ^= 1
            return bytes(data)

    disk, campaign = Damaging(), Ordered(200)
    play(campaign, disk, SOME_SECONDS, every_s=0.7)
    assert len(campaign.order) >= 200
    assert find_segments(disk)[0][0].first == 1
    assert any(
        "older ones not removed: the journal is damaged" in r.message for r in caplog.records
    )
