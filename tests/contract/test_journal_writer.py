"""The writer of a journal, and its levels: full disks, failures, and the thread that syncs."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from steerio.edge.record.disk import Folder, is_volatile
from steerio.edge.record.durable import SYNC_BYTES, Durability, DurableJournal
from steerio.edge.record.frames import BODY_BYTES, END, HEAD_BYTES
from steerio.edge.record.journal_segments import JournalReader
from steerio.edge.record.opening_journals import OpenJournal, open_folder, open_journal
from steerio.edge.record.owners import this_process
from steerio.errors import JournalFailed, JournalFull, UsageError
from tests.contract.crashing_disk import CrashingDisk
from tests.contract.journal_histories import opened

WAIT_S = 20


def bodies(folder: Path) -> list[bytes]:
    return [frame.body for frame in JournalReader(Folder(folder)).frames()]


class CountingFolder(Folder):
    """A real folder that counts its calls, and whose syncs wait until they are let through."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes = 0
        self.syncs = 0
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()

    def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        self.writes += 1
        return super().write(descriptor, pieces, offset)

    def sync(self, descriptor: int) -> None:
        self.reached.set()
        assert self.open.wait(WAIT_S)
        self.syncs += 1
        super().sync(descriptor)


# --- appending -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_batch_is_one_write_however_many_frames_it_has(tmp_path: Path) -> None:
    disk = CountingFolder(tmp_path)
    journal = opened(disk, 1 << 24)
    before = disk.writes
    batch = [(1, b"short")] * 5_000 + [(2, bytes(100_000))] * 20 + [(3, b"")]
    assert journal.writer.append(batch) == 5_021
    assert disk.writes == before + 1
    assert journal.writer.append([]) == 5_021
    journal.writer.close()
    assert bodies(tmp_path) == [body for _, body in batch]


def test_what_is_no_frame_is_refused_and_nothing_of_its_batch_appended(tmp_path: Path) -> None:
    journal = open_folder(tmp_path)
    with pytest.raises(UsageError, match=f"kind {END}"):
        journal.writer.append([(1, b"good"), (END, b"")])
    with pytest.raises(UsageError, match="belong in the store"):
        journal.writer.append([(1, b"good"), (1, bytes(BODY_BYTES + 1))])
    assert journal.writer.append([(1, b"first")]) == 1
    journal.writer.close()
    assert bodies(tmp_path) == [b"first"]


def test_a_fork_may_not_append(tmp_path: Path) -> None:
    journal = open_folder(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            journal.writer.append([(1, b"child's")])
        except UsageError:
            os._exit(17)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    journal.writer.close()
    assert bodies(tmp_path) == []


# --- full disks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["write", "create"])
def test_a_full_disk_pauses_the_writer_and_nothing_is_written_twice(call: str, number: int) -> None:
    disk = CrashingDisk()
    journal = opened(disk)
    journal.writer.append([(1, b"before")])
    disk.failing = {call: number}
    batch = [(1, b"again" * 300), (1, b"and again" * 100)]  # which takes a new segment
    for _ in range(3):
        with pytest.raises(JournalFull, match="Make room, and go on"):
            journal.writer.append(batch)
        assert journal.writer.full
    disk.failing = {}
    assert journal.writer.append(batch) == 3
    assert not journal.writer.full
    journal.writer.close()
    found = [frame.body for frame in JournalReader(disk).frames()]
    assert found == [b"before", *(body for _, body in batch)]


def test_a_part_of_a_batch_is_cut_back_when_the_disk_is_full() -> None:
    for room in range(130):
        disk = CrashingDisk()
        journal = opened(disk)
        journal.writer.append([(1, b"before")])
        length = len(disk.read(journal.writer.segment.name))
        disk.room = room
        with pytest.raises(JournalFull):
            journal.writer.append([(1, b"x" * 50), (1, b"y" * 40)])
        assert len(disk.read(journal.writer.segment.name)) == length
        disk.room = None
        journal.writer.append([(1, b"after")])
        journal.writer.close()
        assert [frame.body for frame in JournalReader(disk).frames()] == [b"before", b"after"]


def test_a_journal_closes_though_the_disk_is_full() -> None:
    disk = CrashingDisk()
    journal = opened(disk)
    journal.writer.append([(1, b"before")])
    disk.room = 3
    journal.writer.close()
    disk.room = None
    again = opened(disk)
    assert (again.before, again.torn.nbytes) == (1, 0)


def test_an_interrupted_write_is_undone_before_the_next() -> None:
    class Interrupted(CrashingDisk):
        def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
            written = super().write(descriptor, pieces, offset)
            if b"interrupted" in b"".join(pieces):
                raise KeyboardInterrupt
            return written

    disk = Interrupted()
    journal = opened(disk)
    with pytest.raises(KeyboardInterrupt):
        journal.writer.append([(1, b"a"), (1, b"interrupted")])
    journal.writer.append([(1, b"b")])
    journal.writer.sync()
    again = opened(CrashingDisk({name: disk.read(name) for name in disk.names()}))
    assert [frame.body for frame in again.read().frames()] == [b"b"]
    assert again.torn.nbytes == 0


# --- failures ------------------------------------------------------------------------------------


def append_and_sync(journal: OpenJournal) -> None:
    journal.writer.append([(1, b"a")])
    journal.writer.sync()


@pytest.mark.parametrize("call", ["sync", "write"])
def test_a_failed_sync_or_write_is_final(call: str) -> None:
    disk = CrashingDisk()
    journal = opened(disk)
    journal.writer.append([(1, b"before")])
    journal.writer.sync()
    disk.failing = {call: errno.EIO}
    with pytest.raises(JournalFailed, match="Input/output error"):
        append_and_sync(journal)
    disk.failing = {}
    name = journal.writer.segment.name
    versions = list(disk.files[name].versions)
    for _ in range(2):
        with pytest.raises(JournalFailed):
            journal.writer.append([(1, b"b")])
        with pytest.raises(JournalFailed):
            journal.writer.sync()
    assert journal.writer.synced_to == 1
    journal.writer.close()
    assert disk.files[name].versions == versions, "it tried again"
    assert disk.descriptors == 0


def test_a_journal_that_could_not_be_opened_can_be_opened_later() -> None:
    refused = 0
    for room in range(0, 1_200, 30):
        disk = CrashingDisk()
        journal = open_journal(disk, this_process())
        journal.writer.append([(1, bytes(300))])
        disk.failing = {"sync": errno.EIO}
        with pytest.raises(JournalFailed):
            journal.writer.sync()
        journal.writer.close()
        disk.failing = {}
        disk.room = room
        try:
            journal = open_journal(disk, this_process())
        except (OSError, JournalFull):
            refused += 1
            disk.room = None
            journal = open_journal(disk, this_process())
        assert journal.before == 1
        assert disk.descriptors == 1
    assert 10 < refused < 40


@pytest.mark.parametrize("call", ["create", "sync_folder", "exists"])
def test_a_segment_that_cannot_be_begun_is_final(call: str) -> None:
    disk = CrashingDisk()
    journal = opened(disk)
    journal.writer.append([(1, bytes(1_500))])
    disk.failing = {call: errno.EIO}
    with pytest.raises(JournalFailed):
        journal.writer.append([(1, bytes(1_500))])
    disk.failing = {}
    with pytest.raises(JournalFailed):
        journal.writer.append([(1, b"")])
    journal.writer.close()
    assert [len(frame.body) for frame in opened(disk).read().frames()] == [1_500]


def no_folder(tmp_path: Path) -> Path:
    return tmp_path / "missing"


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file"


@pytest.mark.parametrize("place", [no_folder, a_file])
def test_a_place_that_is_no_folder_is_refused_in_words(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        open_folder(place(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        open_folder(tmp_path)


def test_folders_in_memory_are_known(tmp_path: Path) -> None:
    assert is_volatile(Path("/dev/shm"))
    assert not is_volatile(Path("/proc"))


# --- levels --------------------------------------------------------------------------------------


def test_strict_says_synced_as_soon_as_it_has_appended(tmp_path: Path) -> None:
    disk = CountingFolder(tmp_path)
    told: list[int] = []
    writer = opened(disk).writer
    journal = DurableJournal(writer, Durability.STRICT, on_synced=told.append)
    before = disk.syncs
    for number in (1, 2, 3):
        assert journal.append([(1, b"a")]) == number == journal.synced_to
    assert (disk.syncs, told) == (before + 3, [1, 2, 3])
    journal.close()


def test_process_syncs_nothing_before_it_is_closed(tmp_path: Path) -> None:
    disk = CountingFolder(tmp_path)
    journal = DurableJournal(opened(disk, 1 << 20).writer, Durability.PROCESS)
    before = disk.syncs
    for _ in range(100):
        journal.append([(1, b"a" * 100)])
    assert (journal.written_to, journal.synced_to, disk.syncs) == (100, 0, before)
    assert len(bodies(tmp_path)) == 100
    journal.close()
    assert journal.synced_to == 100


def test_machine_syncs_within_a_moment_and_appends_meanwhile(tmp_path: Path) -> None:
    disk = CountingFolder(tmp_path)
    told: list[int] = []
    changed = threading.Condition()

    def on_synced(number: int) -> None:
        with changed:
            told.append(number)
            changed.notify()

    journal = DurableJournal(opened(disk, 1 << 20).writer, on_synced=on_synced)
    journal.append([(1, b"a")])
    with changed:
        assert changed.wait_for(lambda: told == [1], WAIT_S)
    disk.open.clear()
    disk.reached.clear()
    journal.append([(1, bytes(SYNC_BYTES))])
    assert disk.reached.wait(WAIT_S)  # the thread syncs, and the disk is slow
    for _ in range(10):
        journal.append([(1, b"b")])
    assert (journal.written_to, journal.synced_to) == (12, 1)
    disk.open.set()
    with changed:
        assert changed.wait_for(lambda: told[-1:] == [12], WAIT_S)
    assert told == [1, 2, 12]
    journal.close()
    assert len(bodies(tmp_path)) == 12


def test_a_sync_that_fails_in_the_thread_is_told_and_ends_the_journal() -> None:
    disk = CrashingDisk()
    failures: list[BaseException] = []
    failed = threading.Event()

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    journal = DurableJournal(opened(disk).writer, on_failure=on_failure)
    disk.failing = {"sync": errno.EIO}
    journal.append([(1, b"a")])
    assert failed.wait(WAIT_S)
    assert [type(error) for error in failures] == [JournalFailed]
    disk.failing = {}
    with pytest.raises(JournalFailed):
        journal.append([(1, b"b")])
    with pytest.raises(JournalFailed):
        journal.close()
    assert (journal.synced_to, disk.descriptors) == (0, 0)


def test_a_thread_that_dies_of_anything_tells() -> None:
    failed = threading.Event()

    def on_synced(number: int) -> None:
        raise ZeroDivisionError

    journal = DurableJournal(
        opened(CrashingDisk()).writer, on_synced=on_synced, on_failure=lambda error: failed.set()
    )
    journal.append([(1, b"a")])
    assert failed.wait(WAIT_S)
    with pytest.raises(ZeroDivisionError):
        journal.append([(1, b"b")])
    journal.close()


def test_segments_turn_over_while_the_thread_syncs(tmp_path: Path) -> None:
    journal = DurableJournal(open_folder(tmp_path, segment_bytes=HEAD_BYTES + 30_000).writer)
    for number in range(400):
        journal.append([(1, b"%04d" % number * 200)])
    journal.close()
    assert journal.synced_to == 400
    assert [int(body[:4]) for body in bodies(tmp_path)] == list(range(400))


def test_a_closed_journal_writes_nothing_into_a_file_of_its_old_descriptor(tmp_path: Path) -> None:
    (folder := tmp_path / "journal").mkdir()
    writer = open_folder(folder).writer
    writer.close()
    others = [(tmp_path / str(n)).open("wb") for n in range(3)]  # one may have its descriptor
    with contextlib.ExitStack() as stack:
        for other in others:
            stack.enter_context(other)
        with pytest.raises(UsageError, match="was closed"):
            writer.append([(1, b"late")])
        with pytest.raises(UsageError, match="was closed"):
            writer.sync()
    assert all((tmp_path / str(n)).stat().st_size == 0 for n in range(3))
