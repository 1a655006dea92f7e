"""Of all processes that want to write to a journal one may, and those before it notice."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from steerio.edge.record.disk import Folder
from steerio.edge.record.journal_segments import JournalReader, find_segments
from steerio.edge.record.opening_journals import (
    OpenJournal,
    compact,
    open_folder,
    open_journal,
    remove_below,
)
from steerio.edge.record.owners import Identity, is_gone, this_process
from steerio.errors import JournalFenced, JournalTaken
from tests.contract.crashing_disk import CrashingDisk
from tests.contract.journal_histories import SEGMENT_BYTES

HERE = this_process()
FAR = msgspec.structs.replace(HERE, host="far", machine="far", boot="other", pid=77, started="noon")


def opened(
    disk: CrashingDisk, me: Identity = HERE, *, take_over: bool = False, gone: bool = False
) -> OpenJournal:
    return open_journal(
        disk,
        me,
        take_over=take_over,
        segment_bytes=SEGMENT_BYTES,
        gone=lambda owner, me: gone,
    )


def frames(disk: CrashingDisk) -> list[bytes]:
    return [frame.body for frame in JournalReader(disk).frames()]


# --- one wins ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_second_process_is_told_who_has_the_journal() -> None:
    disk = CrashingDisk()
    first = opened(disk, FAR)
    with pytest.raises(
        JournalTaken, match=r"process 77 on far, since noon \(incarnation 1\)"
    ) as no:
        opened(disk)
    error = no.value
    assert (error.host, error.pid, error.started, error.incarnation) == ("far", 77, "noon", 1)
    first.writer.append([(1, b"a")])
    first.writer.close()
    second = opened(disk)
    assert (second.owner.incarnation, second.before) == (2, 1)


def test_this_process_does_not_take_its_own_journal_twice(tmp_path: Path) -> None:
    journal = open_folder(tmp_path)
    with pytest.raises(JournalTaken, match="its process lives"):
        open_folder(tmp_path)
    journal.writer.close()


class Turns:
    """Has two threads take turns at the calls of a disk, at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.changed = threading.Condition()
        self.running = ["one", "other"]
        self.turn = self.random.choice(self.running)

    def wait(self) -> None:
        with self.changed:
            self.next()
            self.changed.wait_for(lambda: self.turn == threading.current_thread().name, 10)

    def end(self) -> None:
        with self.changed:
            self.running.remove(threading.current_thread().name)
            self.next()

    def next(self) -> None:
        if self.running:
            self.turn = self.random.choice(self.running)
            self.changed.notify_all()


@pytest.mark.parametrize("seed", range(100))
def test_of_two_threads_that_open_at_the_same_time_exactly_one_wins(seed: int) -> None:
    disk, turns = CrashingDisk(), Turns(seed)
    disk.before = lambda number, call: turns.wait()
    won: list[OpenJournal] = []
    refused: list[JournalTaken] = []

    def attempt() -> None:
        try:
            won.append(opened(disk))
        except JournalTaken as error:
            refused.append(error)
        finally:
            turns.end()

    threads = [threading.Thread(target=attempt, name=name) for name in turns.running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(won) == len(refused) == 1
    disk.before = lambda number, call: None
    won[0].owner.check()


def interrupt(disk: CrashingDisk, at: int, meanwhile: Callable[[], object]) -> list[int]:
    """Have another process act before one of this one's calls, and return which, once it has."""
    reached: list[int] = []
    calls = itertools.count()

    def before(number: int, call: str) -> None:
        if not reached and next(calls) == at:
            reached.append(at)
            meanwhile()

    disk.before = before
    return reached


def at_each_call(act: Callable[[int], list[int]]) -> int:
    """Act with an interruption at each call, until there are no more; return how many."""
    at = 0
    while act(at):
        at += 1
    return at


@pytest.mark.parametrize("after_a_crash", [False, True])
def test_of_two_that_open_at_the_same_time_exactly_one_wins(after_a_crash: bool) -> None:
    def two(at: int) -> list[int]:
        disk = CrashingDisk()
        if after_a_crash:
            opened(disk).writer.append([(1, b"a")])
        won: dict[str, str] = {}

        def attempt(name: str) -> None:
            me = msgspec.structs.replace(FAR, host=name)
            try:  # the process before them has ended, and no other has
                open_journal(disk, me, gone=lambda owner, me: owner.host == HERE.host)
            except JournalTaken as error:
                won[name] = error.host
            else:
                won[name] = "itself"

        reached = interrupt(disk, at, lambda: attempt("other"))
        attempt("one")
        if reached:
            assert won in (
                {"one": "itself", "other": "one"},
                {"other": "itself", "one": "other"},
            )
        return reached

    assert at_each_call(two) > 10


def test_the_files_of_owners_do_not_pile_up() -> None:
    disk = CrashingDisk()
    for _ in range(5):
        opened(disk).writer.close()
    names = sorted(disk.names())
    assert [name for name in names if "owner" in name] == ["000004.owner", "000005.owner"]
    assert len(names) == 3  # and one segment, as none has frames


def test_numbers_of_incarnations_go_on_though_the_files_of_owners_were_removed() -> None:
    disk = CrashingDisk()
    for _ in range(3):
        opened(disk).writer.close()
    for name in disk.names():
        if name.endswith(".owner"):
            disk.unlink(name)
    assert opened(disk).owner.incarnation == 4


def test_an_owner_whose_file_cannot_be_read_may_be_alive() -> None:
    disk = CrashingDisk({"000007.owner": b"{"})
    with pytest.raises(JournalTaken, match="unknown host"):
        opened(disk, gone=True)
    assert opened(disk, take_over=True).owner.incarnation == 8


def test_names_go_without_hard_links() -> None:
    class WithoutLinks(CrashingDisk):
        def link(self, name: str, to: str) -> None:
            raise OSError(95, "Operation not supported")

    disk = WithoutLinks()
    assert opened(disk).owner.incarnation == 1
    with pytest.raises(JournalTaken):
        opened(disk)


# --- the one before notices ----------------------------------------------------------------------


def test_a_process_that_was_taken_over_from_says_nothing_is_synced_any_more() -> None:
    disk = CrashingDisk()
    old = opened(disk, FAR)
    old.writer.append([(1, b"a")])
    old.writer.sync()
    old.writer.append([(1, b"b")])
    new = opened(disk, take_over=True)
    old.writer.append([(1, b"late")])
    with pytest.raises(JournalFenced, match=f"process {HERE.pid} on {HERE.host}") as fenced:
        old.writer.sync()
    with pytest.raises(JournalFenced):
        old.writer.sync()
    assert (fenced.value.incarnation, old.writer.synced_to) == (1, 1)
    with pytest.raises(JournalFenced):
        old.writer.append([(1, b"later")])
    old.writer.close()
    new.writer.append([(1, b"c")])
    new.writer.close()
    assert frames(disk) == [b"a", b"b", b"c"]


def test_it_notices_at_a_new_segment_and_leaves_none() -> None:
    disk = CrashingDisk()
    old = opened(disk, FAR)
    old.writer.append([(1, bytes(1_900))])
    new = opened(disk, take_over=True)
    with pytest.raises(JournalFenced):
        old.writer.append([(1, bytes(1_900))])
    new.writer.close()
    assert [len(body) for body in frames(disk)] == [1_900]


def test_it_notices_when_it_compacts_or_removes() -> None:
    disk = CrashingDisk()
    old = opened(disk, FAR)
    for _ in range(4):
        old.writer.append([(1, bytes(1_900))])
    new = opened(disk, take_over=True)
    segments, _ = find_segments(disk)
    with pytest.raises(JournalFenced):
        compact(disk, segments[0], [], old.owner)
    with pytest.raises(JournalFenced):
        remove_below(disk, 3, old.owner)
    new.writer.close()
    assert len(frames(disk)) == 4


def test_it_notices_by_its_segment_though_it_sees_no_other_owner() -> None:
    disk = CrashingDisk()
    old = opened(disk, FAR)
    old.writer.append([(1, b"a")])
    opened(disk, take_over=True)
    disk.exists = lambda name: False  # type: ignore[method-assign]
    with pytest.raises(JournalFenced):
        old.writer.sync()


def test_a_process_that_looked_long_ago_does_not_take_a_number_again() -> None:
    def slow(at: int) -> list[int]:
        disk = CrashingDisk()
        opened(disk, FAR).writer.append([(1, b"a")])
        others: list[OpenJournal] = []

        def meanwhile() -> None:
            others.extend(opened(disk, take_over=True) for _ in range(5))

        reached = interrupt(disk, at, meanwhile)
        with contextlib.suppress(JournalTaken, JournalFenced, FileNotFoundError):
            one = opened(disk, take_over=True)
            one.writer.check()
            if reached:
                assert one.owner.incarnation > others[-1].owner.incarnation
        return reached

    assert at_each_call(slow) > 20


def test_it_notices_after_several_others() -> None:
    disk = CrashingDisk()
    old = opened(disk, FAR)
    for _ in range(4):
        opened(disk, take_over=True)
    with pytest.raises(JournalFenced, match="incarnation 5"):
        old.writer.check()


def append_and_sync(journal: OpenJournal, times: int) -> int:
    """Return the last number that was said to be synced, until the journal is fenced."""
    said = 0
    with contextlib.suppress(JournalFenced):
        for _ in range(times):
            journal.writer.append([(1, bytes(900))])
            said = journal.writer.sync()
    assert said == journal.writer.synced_to
    return said


def test_whatever_it_says_is_synced_the_next_has_read() -> None:
    def taken_over(at: int) -> list[int]:
        disk = CrashingDisk()
        old = opened(disk, FAR)
        read: list[int] = []

        def take_over() -> None:
            new = opened(disk, take_over=True)
            read.append(new.before)
            new.writer.append([(1, b"new")])

        reached = interrupt(disk, at, take_over)
        said = append_and_sync(old, 5)
        if reached:
            assert said <= read[0]
            assert frames(disk)[: read[0] + 1] == [bytes(900)] * read[0] + [b"new"]
        return reached

    assert at_each_call(taken_over) > 15


def test_whatever_it_says_while_the_next_opens_the_next_has_read() -> None:
    def late(at: int) -> list[int]:
        disk = CrashingDisk()
        old = opened(disk, FAR)
        said: list[int] = []
        reached = interrupt(disk, at, lambda: said.append(append_and_sync(old, 4)))
        new = opened(disk, take_over=True)
        assert sum(said) <= new.before
        new.writer.append([(1, b"new")])
        new.writer.close()
        again = opened(disk)  # which removes segments that the old one has left
        found = [frame.body for frame in again.read().frames()]
        assert found == [bytes(900)] * new.before + [b"new"]
        return reached

    assert at_each_call(late) > 10


# --- which processes are gone --------------------------------------------------------------------


def changed(**fields: str | int) -> Identity:
    return msgspec.structs.replace(HERE, **fields)


def test_a_process_is_gone_only_if_that_is_certain() -> None:
    assert not is_gone(HERE, HERE)
    assert is_gone(changed(ticks=HERE.ticks - 1), HERE)
    assert not is_gone(changed(ticks=1, space="another container's"), HERE)
    assert not is_gone(changed(boot="another", host="far"), HERE)
    assert not is_gone(changed(boot="another", machine=""), changed(machine=""))
    assert is_gone(changed(boot="another", machine="m"), changed(machine="m"))
    assert not is_gone(changed(boot="another", machine="m", host="far"), changed(machine="m"))
    assert not is_gone(changed(boot=""), changed(boot=""))


PROGRAM = """
import sys, time
from pathlib import Path
from steerio.edge.record.opening_journals import open_folder

journal = open_folder(Path(sys.argv[1]))
journal.writer.append([(1, b"a")])
print("open", flush=True)
sys.stdin.read()
"""


def test_the_journal_of_a_killed_process_may_be_opened_at_once(tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"open\n"
        with pytest.raises(JournalTaken, match=f"process {program.pid} on"):
            open_folder(tmp_path)
        os.kill(program.pid, signal.SIGKILL)
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        journal = open_folder(tmp_path)  # nobody has waited for it yet
    assert journal.before == 1
    journal.writer.close()
    assert [frame.body for frame in JournalReader(Folder(tmp_path)).frames()] == [b"a"]
