"""After a crash at any point a journal has all that was synced, in order, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.crashing_disk import KEEPING, CrashingDisk
from tests.contract.journal_histories import (
    STEPS,
    Crash,
    History,
    Step,
    check_afterwards,
    opened,
)

STEPS_OF_ONE = (
    Step("append", (40, 0, 700)),
    Step("sync"),
    Step("append", (511, 512, 30)),
    Step("append", (600,)),
    Step("full", (300, 300)),
    Step("append", (300, 301)),
    Step("reopen"),
    Step("append", (1_500, 10)),
    Step("compact"),
    Step("append", (64, 1_000)),
    Step("sync"),
    Step("remove"),
    Step("append", (4_000,)),
    Step("append", (7, 8, 9)),
)


def changes_of(steps: tuple[Step, ...]) -> list[str]:
    disk = CrashingDisk()
    History().run(disk, steps)
    return disk.calls


def moments(calls: list[str], parts_of_a_write: int) -> Iterator[tuple[int, float]]:
    for at, call in enumerate(calls):
        parts = parts_of_a_write if call == "write" else 1
        for part in range(parts + 1):
            yield at, part / parts


def crash_once(steps: tuple[Step, ...], crash: Crash) -> None:
    history = History()
    disk = history.crash(CrashingDisk(), steps, crash)
    check_afterwards(history, disk)


def test_a_history_without_a_crash_is_there_when_the_journal_is_opened_again() -> None:
    history, disk = History(), CrashingDisk()
    history.run(disk, STEPS_OF_ONE)
    assert history.synced_to == len(history.appended) == 17
    assert history.removable
    check_afterwards(history, disk)


@pytest.mark.parametrize("keeping", KEEPING)
def test_a_crash_at_each_change_loses_nothing_that_was_synced(keeping: str) -> None:
    calls = changes_of(STEPS_OF_ONE)
    assert {"create", "write", "sync", "sync_folder", "rename", "unlink", "truncate"} <= {*calls}
    for at, written in moments(calls, 3):
        crash_once(STEPS_OF_ONE, Crash(at, written, keeping, at))


def test_a_crash_at_each_byte_of_a_write_loses_nothing_that_was_synced() -> None:
    steps = (Step("append", (3, 9)), Step("sync"), Step("append", (2, 0, 11)))
    calls = changes_of(steps)
    for at, written in moments(calls, 120):
        crash_once(steps, Crash(at, written, "everything", at))


def test_a_crash_at_each_change_of_an_opening_after_a_crash_loses_nothing() -> None:
    steps = (Step("append", (40, 700)), Step("sync"), Step("append", (511, 512, 30)))
    first = Crash(len(changes_of(steps)) - 8, 1.0, "anything", 3)
    at, ended = 0, False
    while not ended:
        history = History()
        disk = history.crash(CrashingDisk(), steps, first)
        opening = Crash(at, at % 3 / 2, "anything", at)
        after = history.crash(disk, (), opening)
        ended = disk.changes <= at
        check_afterwards(history, after)
        at += 1
    assert at > 10


def test_frames_that_did_not_fit_do_not_come_back_behind_others() -> None:
    steps = (Step("append", (9,)), Step("full", (31, 31, 9)), Step("append", (31,)), Step("sync"))
    for at in range(8, len(changes_of(steps))):
        for seed in range(20):
            crash_once(steps, Crash(at, seed % 2, "anything", seed))


def test_a_crash_while_many_segments_are_removed_leaves_no_gap() -> None:
    steps = (*[Step("append", (1_500,))] * 12, Step("remove"), Step("append", (3,)))
    calls = changes_of(steps)
    removing = [at for at, call in enumerate(calls) if call == "unlink" and at > 20]
    for at in range(removing[0], removing[-1] + 3):
        for seed in range(8):
            crash_once(steps, Crash(at, seed % 2, "anything", seed))


lengths = st.lists(st.integers(0, 1_200), min_size=1, max_size=5)
histories = st.lists(st.builds(Step, st.sampled_from(STEPS), lengths), max_size=8)
crashes = st.lists(
    st.tuples(
        histories,
        st.builds(
            Crash, st.integers(0, 80), st.floats(0, 1), st.sampled_from(KEEPING), st.integers(0, 99)
        ),
    ),
    min_size=1,
    max_size=3,
)


@given(crashes)
def test_any_history_with_any_crashes_loses_nothing_that_was_synced(
    parts: list[tuple[list[Step], Crash]],
) -> None:
    history, disk = History(), CrashingDisk()
    for steps, crash in parts:
        disk = history.crash(disk, steps, crash)
    check_afterwards(history, disk)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_ten_thousand_crashes_lose_nothing_that_was_synced() -> None:
    seed = int(os.environ["STRESS_SEED"])
    number = crashes = 0
    while crashes < 10_000:
        number += 1
        random = Random(f"{seed} {number}")
        history, disk = History(), CrashingDisk()
        for _ in range(random.randint(1, 2)):
            steps = [
                Step(random.choice(STEPS), [random.randint(0, 1_200) for _ in range(3)])
                for _ in range(random.randint(1, 10))
            ]
            crash = Crash(
                random.randint(0, 70), random.random(), random.choice(KEEPING), random.randint(0, 9)
            )
            try:
                disk = history.crash(disk, steps, crash)
            except BaseException as error:
                error.add_note(f"STRESS_SEED={seed}, history {number}")
                raise
        check_afterwards(history, disk)
        crashes += history.crashes


def test_a_block_that_was_lost_before_later_ones_is_a_torn_end() -> None:
    disk = CrashingDisk()
    journal = opened(disk, 1 << 20)
    journal.writer.append([(1, b"a" * 100)])
    journal.writer.sync()
    journal.writer.append([(1, b"b" * 600), (1, b"c" * 600), (1, b"d" * 100)])
    name = journal.writer.segment.name
    data = bytearray(disk.read(name))
    data[512:1024] = bytes(512)
    again = opened(CrashingDisk(disk.survivors("nothing", Random(0)) | {name: bytes(data)}))
    assert again.before == 1
    assert again.torn.frames == 1
    assert again.torn.nbytes == len(data) - 48 - 124
