"""The ledgers of detached clients, on both kinds of files: a reopened one equals the live one."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.broker import ledger as ledger_module
from steerio.broker.ledger import TASKS_LOST, Ledger
from steerio.broker.ledger_entries import LedgerKind
from steerio.broker.ledgers import FolderInMemory, Ledgers
from steerio.edge.record import ledger_files
from steerio.edge.record.disk import Folder
from steerio.edge.record.ledger_files import FileOnDisk, FolderOnDisk, LedgerFolder, quoted
from steerio.errors import JournalDamaged, UsageError
from steerio.model import messages as ms
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import CLIENT_BITS, TaskOptions, TaskSpec

CLIENT = 5
SPECS = [TaskSpec(f"m:f{number}", "simulate", code=bytes([number])) for number in range(3)]
NAMES = ["nb", "a.b", "a/b", "a b", "ä", ".", "..", "A%2Eb", "x" * 200]


class ClosingFolder(FolderOnDisk):
    """Ledgers as files, which are closed at the end as those of a process that dies."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self.files: list[FileOnDisk] = []

    def open(self, name: str) -> FileOnDisk:
        self.files.append(super().open(name))
        return self.files[-1]

    def replace(self, name: str, entries: Iterable[tuple[int, bytes]]) -> FileOnDisk:
        self.files.append(super().replace(name, entries))
        return self.files[-1]

    def close(self) -> None:
        """Close all that are open."""
        for file in self.files:
            with contextlib.suppress(OSError):
                file.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ClosingFolder]:
    folder = ClosingFolder(tmp_path)
    yield folder
    folder.close()


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, disk: ClosingFolder) -> LedgerFolder:
    return FolderInMemory() if request.param == "memory" else disk


def numbered(count: int) -> int:
    return (CLIENT << CLIENT_BITS) + count


def task_of(count: int, body: bytes = b"", *, again: bool = False, **given: Any) -> ms.SubmitTask:
    options = TaskOptions()
    return ms.SubmitTask(
        numbered(count), 1, 2.0, body, 0, options, {"key": str(count)}, "", again=again, **given
    )


def end_of(count: int, **given: Any) -> ms.TaskSettled:
    end = ms.TaskSettled.unknown(numbered(count), "succeeded", 3.0, "")
    return ms.TaskSettled(*(given.get(name, getattr(end, name)) for name in end.__struct_fields__))


def state_of(ledger: Ledger) -> object:
    """Return all that a ledger knows."""
    listed = ledger.page(0)
    return (
        ledger.client_number,
        ledger.sessions,
        listed,
        [ledger.result(each.task_id) for each in listed],
        [
            (task.spec, task.message, list(task.frames), list(task.changes))
            for task in ledger.outstanding()
        ],
    )


def reopened(folder: LedgerFolder, name: str = "nb") -> Ledger:
    return Ledger(folder.open(name), 1, -1)


# -- files ----------------------------------------------------------------------------------------


def test_entries_are_read_again_by_this_broker_and_the_next(folder: LedgerFolder) -> None:
    file = folder.open("nb")
    assert list(file.entries()) == []
    bodies = [b"", b"one", bytes(range(256)) * 100]
    places = [file.add(number + 1, body) for number, body in enumerate(bodies)]
    assert [file.read(place) for place in places] == bodies
    file.flush()
    assert [file.read(place) for place in places] == bodies
    file.close()
    again = folder.open("nb")
    assert list(again.entries()) == [
        (number + 1, place, body)
        for number, (place, body) in enumerate(zip(places, bodies, strict=True))
    ]
    place = again.add(9, b"more")
    assert again.read(place) == b"more"
    again.close()
    assert [kind for kind, _, _ in folder.open("nb").entries()] == [1, 2, 3, 9]


def test_names_come_back_as_they_were_and_no_two_share_a_file(folder: LedgerFolder) -> None:
    for name in NAMES:
        file = folder.open(name)
        file.add(1, name.encode())
        file.close()
    assert sorted(folder.names()) == sorted(NAMES)
    for name in NAMES:
        ((_, _, body),) = folder.open(name).entries()
        assert body == name.encode()
    assert len({quoted(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", ["x" * 201, "é" * 34, "." * 67])
def test_a_name_that_is_too_long_for_a_file_is_refused(folder: LedgerFolder, name: str) -> None:
    with pytest.raises(UsageError, match="too long for a file"):
        folder.open(name)
    assert folder.names() == []


def test_a_file_that_is_not_needed_is_removed(folder: LedgerFolder) -> None:
    file = folder.open("nb")
    file.add(1, b"one")
    file.close(remove=True)
    assert folder.names() == []
    assert list(folder.open("nb").entries()) == []


def test_a_file_is_replaced_by_one_with_other_entries(folder: LedgerFolder) -> None:
    old = folder.open("nb")
    places = [old.add(1, b"one"), old.add(2, b"two")]
    fresh = folder.replace("nb", ((3, old.read(place)) for place in places))
    assert [(kind, body) for kind, _, body in fresh.entries()] == [(3, b"one"), (3, b"two")]
    assert old.read(places[0]) == b"one"
    old.close()
    fresh.add(4, b"more")
    fresh.close()
    assert [kind for kind, _, _ in folder.open("nb").entries()] == [3, 3, 4]
    assert folder.names() == ["nb"]


def with_entries(folder: ClosingFolder, tmp_path: Path) -> Path:
    file = folder.open("nb")
    for number in range(5):
        file.add(number + 1, b"body %d" % number * 20)
    file.close()
    return tmp_path / "clients" / "nb.ledger"


def test_a_torn_tail_is_cut_off_wherever_it_is_torn(
    disk: ClosingFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_entries(disk, tmp_path)
    whole = path.read_bytes()
    ends = [place.at + place.length for _, place, _ in disk.open("nb").entries()]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        caplog.clear()
        file = disk.open("nb")
        kept = [kind for kind, _, _ in file.entries()]
        assert kept == [number + 1 for number, end in enumerate(ends) if end <= length]
        said = "the last" in caplog.text
        assert said == (length > 48 and length not in ends)
        file.add(99, b"more")
        file.close()
        assert [kind for kind, _, _ in disk.open("nb").entries()] == [*kept, 99]


def test_a_flipped_bit_is_found_and_the_file_left_as_it_is(
    disk: ClosingFolder, tmp_path: Path
) -> None:
    path = with_entries(disk, tmp_path)
    whole = path.read_bytes()
    last = 0
    for _, place, _ in disk.open("nb").entries():
        last = place.at - 24
    for at in range(0, last, 7):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << at % 8
        path.write_bytes(spoilt)
        with pytest.raises(JournalDamaged, match=r"nb\.ledger"):
            disk.open("nb")
        assert path.read_bytes() == spoilt


def test_on_a_full_disk_entries_wait_and_can_be_read(
    disk: ClosingFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open("nb")
    first = file.add(1, b"one")
    file.flush()
    write = Folder.write

    def full(self: Folder, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        if len(pieces) > 1:  # a part goes
            return write(self, descriptor, pieces[:1], offset)
        raise OSError(errno.ENOSPC, "no space left")

    second = file.add(2, b"two")
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", full)
        with pytest.raises(OSError, match="no space"):
            file.flush()
        assert [file.read(place) for place in (first, second)] == [b"one", b"two"]
        with pytest.raises(OSError, match="no space"):
            disk.replace("nb", [(1, b"one")])
    file.add(3, b"three")
    file.close()
    assert [body for _, _, body in disk.open("nb").entries()] == [
        b"one",
        b"two",
        b"three",
    ]
    assert [path.name for path in (tmp_path / "clients").iterdir()] == ["nb.ledger"]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(
    disk: ClosingFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_entries(disk, tmp_path)
    whole = path.read_bytes()
    steps: list[str] = []

    def synced(*_: object) -> None:
        steps.append("old" if path.read_bytes() == whole else "new")

    monkeypatch.setattr(Folder, "sync", synced)
    monkeypatch.setattr(Folder, "sync_folder", synced)
    disk.replace("nb", [(1, b"one")])
    assert steps == ["old", "new"]


def test_a_file_that_took_the_place_of_another_needs_no_more_descriptors(
    disk: ClosingFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_entries(disk, tmp_path)
    left = iter(range(1))

    def open_one(*args: Any) -> int:
        if next(left, None) is None:
            raise OSError(errno.EMFILE, "too many open files")
        return open_any(*args)

    open_any: Callable[..., int] = os.open
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_one)
        fresh = disk.replace("nb", [(1, b"one")])
        with pytest.raises(OSError, match="too many open files"):
            disk.replace("nb", [(1, b"two")])
    fresh.add(2, b"more")
    fresh.flush()
    assert fresh.where == str(path)
    assert [body for _, _, body in disk.open("nb").entries()] == [b"one", b"more"]


def test_a_link_in_the_place_of_a_ledger_is_not_followed(
    disk: ClosingFolder, tmp_path: Path
) -> None:
    path = with_entries(disk, tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        disk.open("nb")


# -- ledgers --------------------------------------------------------------------------------------


def test_a_ledger_keeps_results_until_they_are_forgotten(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    assert ledger.empty
    ledger.submitted(SPECS[0], task_of(1, b"args"), ())
    ledger.submitted(SPECS[1], task_of(2, b"x" * 5_000), (b"frame", memoryview(b"another")))
    assert ledger.result(numbered(1)) is None
    assert ledger.result(numbered(9)) is None
    ledger.ended(end_of(2), (b"value",))
    ledger.ended(end_of(9), ())
    first, second = ledger.page(0)
    assert (first.task_type, first.body, second.body) == ("m:f0", b"args", b"")
    assert ledger.result(numbered(2)) == (end_of(2), (b"value",))
    assert ledger.forget([numbered(1), numbered(2), numbered(2), numbered(9)]) == [numbered(2)]
    assert [task.message for task in ledger.outstanding()] == [task_of(1, b"args", again=True)]
    assert numbered(1) in ledger
    assert numbered(2) not in ledger
    assert repr(ledger) == "<Ledger of client 5: 1 tasks>"
    before = state_of(ledger)
    ledger.close()
    assert state_of(reopened(folder)) == before


def test_changes_of_tasks_are_kept_until_they_end(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    for count in (1, 2):
        ledger.submitted(SPECS[0], task_of(count), ())
    ids = [numbered(1), numbered(2), numbered(3)]
    ledger.changed(ms.Reprioritise([(number, 1.0) for number in ids]))
    ledger.changed(ms.Reprioritise([(ids[0], 2.0)]))
    ledger.changed(ms.ReassignTasks(ids, "learn"))
    ledger.changed(ms.CancelTasks(ids[:1], "unwanted", True))
    first, second = (list(task.changes) for task in ledger.outstanding())
    assert first == [
        ms.Reprioritise([(ids[0], 2.0)]),
        ms.ReassignTasks(ids[:1], "learn"),
        ms.CancelTasks(ids[:1], "unwanted", True),
    ]
    assert second == [ms.Reprioritise([(ids[1], 1.0)]), ms.ReassignTasks([ids[1]], "learn")]
    ledger.ended(end_of(1), ())
    ledger.changed(ms.Reprioritise([(ids[0], 3.0)]))
    before = state_of(ledger)
    ledger.close()
    assert state_of(reopened(folder)) == before


def test_changes_of_tasks_that_have_ended_or_are_not_known_are_not_noted(
    folder: LedgerFolder,
) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    for count in (1, 2):
        ledger.submitted(SPECS[0], task_of(count), ())
    ledger.ended(end_of(2), ())
    ids = [numbered(1), numbered(2), numbered(3)]
    before = ledger._bytes
    ledger.changed(ms.Reprioritise([(number, 1.0) for number in ids[1:]]))
    ledger.changed(ms.ReassignTasks(ids[1:], "learn"))
    ledger.changed(ms.CancelTasks(ids[1:], "unwanted"))
    assert ledger._bytes == before
    ledger.changed(ms.Reprioritise([(number, 1.0) for number in ids * 1_000]))
    assert ledger._bytes < before + 20_000, "of those that wait"
    (left,) = ledger.outstanding()
    assert list(left.changes) == [ms.Reprioritise([(ids[0], 1.0)])]


def test_a_session_that_returns_to_no_ledger_counts_its_tasks_far_from_those_that_were_there(
    folder: LedgerFolder,
) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    ledger.check_returns(CLIENT, 1)
    assert ledger.last_task == TASKS_LOST - 1


def test_no_number_of_a_task_is_given_out_again_by_the_next_broker(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    for count in (1, 7):
        ledger.submitted(SPECS[0], task_of(count), ())
    ledger.ended(end_of(7), ())
    ledger.forget([numbered(7)])
    assert ledger.last_task == 7
    ledger.go_on_in(folder.replace("nb", ledger.needed()))
    assert ledger.last_task == 7
    ledger.close()
    assert reopened(folder).last_task == TASKS_LOST - 1


def test_a_session_that_returns_is_known_from_an_earlier_one(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    ledger.begin_session()
    ledger.submitted(SPECS[0], task_of(1), ())
    ledger.begin_session()
    ledger.check_returns(CLIENT, 2)
    ledger.close()
    again = reopened(folder)
    for number, sessions in ((CLIENT, 1), (CLIENT + 1, 2)):
        with pytest.raises(UsageError, match="another session has taken its name"):
            again.check_returns(number, sessions)
    again.check_returns(CLIENT, 3)  # of which nothing could be written
    assert again.sessions == 3


def test_long_ledgers_are_listed_by_pages(
    folder: LedgerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "PAGE_TASKS", 4)
    monkeypatch.setattr(ledger_module, "PAGE_BYTES", 10_000)
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    for count in range(10):
        ledger.submitted(SPECS[0], task_of(count, b"x" * (6_000 if count > 6 else 0)), ())
    pages = [[each.tags for each in ledger.page(start)] for start in (0, 4, 7, 9, 10, 11)]
    assert [len(page) for page in pages] == [4, 4, 2, 1, 0, 0]
    assert pages[3] == [{"key": "9"}]


def test_after_the_store_was_emptied_what_was_there_is_told_as_lost(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    stored = StoredObject(b"big", 1_000)
    ledger.submitted(SPECS[0], task_of(1), ())
    ledger.ended(end_of(1), (b"short",))
    ledger.submitted(SPECS[0], task_of(2), ())
    ledger.ended(end_of(2, stored=stored), ())
    ledger.submitted(SPECS[0], task_of(3, inputs=Inputs(stored)), ())
    ledger.submitted(SPECS[0], task_of(4), ())
    ledger.lose_stored(9.0)
    ended = {result.task_id: (result.ended_as, result.reason) for result in ledger.results()}
    assert ended == {
        numbered(1): ("succeeded", ""),
        numbered(2): ("lost", "its value was in the store of a broker that was stopped"),
        numbered(3): ("lost", "arguments of it were in the store of a broker that was stopped"),
    }
    before = state_of(ledger)
    ledger.close()
    assert state_of(reopened(folder)) == before


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([(77, b"")], "no kind has the number 77"),
        ([(LedgerKind.BEGAN, b"\x94\x01\x02\x03\x04")], "another version of steerio wrote it"),
        ([(LedgerKind.TASK, b"\x93\x00")], "this entry is wrong"),
        ([(LedgerKind.ENDED, b"\xff")], "or move it away"),
    ],
)
def test_entries_of_no_known_form_are_damage(
    folder: LedgerFolder, entries: list[tuple[int, bytes]], match: str
) -> None:
    with pytest.raises(JournalDamaged, match=match):
        Ledger(folder.replace("nb", entries), 1, -1)


def test_a_task_of_no_known_type_is_damage(folder: LedgerFolder) -> None:
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    ledger.submitted(SPECS[0], task_of(1), ())
    entries = [entry for entry in ledger.needed() if entry[0] != LedgerKind.TYPE]
    with pytest.raises(JournalDamaged, match="no type has the number 0"):
        Ledger(folder.replace("nb", entries), 1, -1)


steps = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 2), st.binary(max_size=40)),
    st.tuples(st.just("end"), st.integers(0, 30), st.binary(max_size=40)),
    st.tuples(st.just("rank"), st.lists(st.integers(0, 30), max_size=4), st.floats(-9, 9)),
    st.tuples(st.just("cancel"), st.lists(st.integers(0, 30), max_size=4), st.booleans()),
    st.tuples(st.just("forget"), st.lists(st.integers(0, 30), max_size=4), st.none()),
    st.tuples(st.sampled_from(["session", "shorten", "flush"]), st.none(), st.none()),
)


def follow(ledger: Ledger, folder: LedgerFolder, history: Sequence[tuple[str, Any, Any]]) -> None:
    """Do to a ledger what a history says."""
    last = 0
    for what, which, more in history:
        match what:
            case "submit":
                last += 1
                ledger.submitted(SPECS[which], task_of(last, more), (more,) * which)
            case "end":
                ledger.ended(end_of(which, body=more), (more,))
            case "rank":
                ledger.changed(ms.Reprioritise([(numbered(each), more) for each in which]))
            case "cancel":
                ledger.changed(ms.CancelTasks([numbered(each) for each in which], "no", more))
            case "forget":
                ledger.forget([numbered(each) for each in which])
            case "session":
                ledger.begin_session()
            case "shorten":
                before = state_of(ledger)
                ledger.go_on_in(folder.replace("nb", ledger.needed()))
                assert state_of(ledger) == before
            case _:
                ledger.flush()


@pytest.mark.parametrize("kind", ["memory", "disk"])
@given(history=st.lists(steps, max_size=40))
def test_a_ledger_read_from_its_file_is_the_live_one_after_any_history(
    kind: str, history: list[tuple[str, Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: LedgerFolder = FolderInMemory()
    if kind == "disk":
        folder = ClosingFolder(tmp_path_factory.mktemp("run"))
    ledger = Ledger(folder.open("nb"), 1, CLIENT)
    follow(ledger, folder, history)
    ledger.flush()
    again = reopened(folder)
    assert state_of(again) == state_of(ledger)
    assert (again._noted.nbytes, len(again)) == (ledger._noted.nbytes, len(ledger))
    assert again._bytes >= ledger._noted.nbytes
    ledger.close()
    if isinstance(folder, ClosingFolder):
        folder.close()


# -- all of a broker ------------------------------------------------------------------------------


@pytest.fixture
def ledgers(folder: LedgerFolder) -> Ledgers:
    return Ledgers(folder, iter(range(1, 99)).__next__)


def client() -> int:
    return CLIENT


def test_ledgers_are_taken_up_by_the_next_broker_unless_they_are_empty(
    folder: LedgerFolder, ledgers: Ledgers
) -> None:
    assert repr(ledgers) == "<Ledgers of no client>"
    ledgers.open("nb", client).submitted(SPECS[0], task_of(1), ())
    ledgers.open("empty", client)
    assert ledgers.open("nb", client) is ledgers.open("nb", client)
    ledgers.flush()
    follower = Ledgers(folder, iter(range(1, 99)).__next__)
    assert list(follower.take_up()) == ["nb"]
    assert repr(follower) == "<Ledgers of nb>"
    assert folder.names() == ["nb"]
    follower.close()
    assert folder.names() == ["nb"]


def test_a_ledger_that_shrinks_is_written_anew(
    folder: LedgerFolder, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "WASTED_BYTES", 10_000)
    ledger = ledgers.open("nb", client)
    for count in range(1, 200):
        ledger.submitted(SPECS[0], task_of(count, b"x" * 1_000), ())
        if count > 3:
            ledger.ended(end_of(count - 3), ())
            ledgers.forget("nb", ledger, [numbered(count - 3)])
        ledgers.flush()
        assert ledger._bytes < 20_000
    assert [each.tags for each in ledger.page(0)] == [{"key": str(n)} for n in range(197, 200)]
    before = state_of(ledger)
    ledgers.close()
    assert state_of(reopened(folder)) == before


def test_changes_and_results_that_were_replaced_make_a_ledger_be_written_anew(
    folder: LedgerFolder, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "WASTED_BYTES", 10_000)
    ledger = ledgers.open("nb", client)
    ids = [numbered(count) for count in range(20)]
    for count in range(20):
        ledger.submitted(SPECS[0], task_of(count), ())
    for rank in range(500):
        ledger.changed(ms.Reprioritise([(number, float(rank)) for number in ids]))
        ledgers.flush()
        assert ledger._bytes < 20_000
    for _ in range(200):
        ledger.ended(end_of(1), (b"x" * 1_000,))
        ledgers.flush()
        assert ledger._bytes < 25_000
    before = state_of(ledger)
    ledgers.close()
    assert state_of(reopened(folder)) == before


def test_a_ledger_is_not_written_anew_for_changes_that_are_needed(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "WASTED_BYTES", 10_000)
    ledger = ledgers.open("nb", client)
    for count in range(20):
        ledger.submitted(SPECS[0], task_of(count), ())
    files: list[object] = []
    for count in range(20):
        ledger.changed(ms.CancelTasks([numbered(count)], "y" * 1_000, True))
        ledgers.flush()
        if ledger._file not in files:
            files.append(ledger._file)
    assert len(files) <= 3
    assert len([change for task in ledger.outstanding() for change in task.changes]) == 20
    ledgers.close()


def test_empty_ledgers_of_clients_that_are_not_there_are_removed(
    folder: LedgerFolder, ledgers: Ledgers
) -> None:
    here, full = ledgers.open("here", client), ledgers.open("full", client)
    full.submitted(SPECS[0], task_of(1), ())
    gone = ledgers.open("gone", client)
    assert ledgers.remove_empty([here.peer]) == [gone.peer]
    assert ledgers.by_peer == {here.peer: here, full.peer: full}
    ledgers.flush()
    assert sorted(folder.names()) == ["full", "here"]
    ledgers.close()


def test_one_that_cannot_be_written_anew_goes_on(
    folder: LedgerFolder,
    ledgers: Ledgers,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(ledger_module, "WASTED_BYTES", 10_000)
    monkeypatch.setattr(type(folder), "replace", full)
    ledger = ledgers.open("nb", client)
    for count in range(1, 30):
        ledger.submitted(SPECS[0], task_of(count, b"x" * 1_000), ())
        ledger.ended(end_of(count), ())
        ledgers.forget("nb", ledger, [numbered(count)])
    assert "the ledger of the detached client 'nb' stays long" in caplog.text
    assert 1 <= len(caplog.records) <= 5, "not each time"
    assert ledger.empty
    ledgers.remove("nb")
    assert folder.names() == []


def test_a_broker_takes_up_a_wasteful_ledger_without_the_waste(
    disk: ClosingFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = disk
    ledgers = Ledgers(folder, iter(range(1, 99)).__next__)
    ledger = ledgers.open("nb", client)
    for count in range(1, 30):
        ledger.submitted(SPECS[0], task_of(count, b"x" * 1_000), ())
        ledger.ended(end_of(count), ())
    ledgers.forget("nb", ledger, [numbered(count) for count in range(1, 29)])
    before = state_of(ledger)
    ledgers.close()
    monkeypatch.setattr(ledger_module, "WASTED_BYTES", 10_000)
    taken_up = Ledgers(folder, iter(range(1, 99)).__next__).take_up()["nb"]
    assert state_of(taken_up) == before
    assert (tmp_path / "clients" / "nb.ledger").stat().st_size < 3_000
    taken_up.close()


def test_a_ledger_that_cannot_be_read_stays_and_the_others_are_taken_up(
    disk: ClosingFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_entries(disk, tmp_path)
    spoilt = bytearray(path.read_bytes())
    spoilt[100] ^= 1
    path.write_bytes(spoilt)
    before = Ledgers(disk, iter(range(1, 99)).__next__)
    before.open("other", client).submitted(SPECS[0], task_of(1), ())
    before.close()
    ledgers = Ledgers(disk, iter(range(1, 99)).__next__)
    assert list(ledgers.take_up()) == ["other"]
    assert "the ledger of the detached client 'nb' cannot be read" in caplog.text
    assert str(path) in caplog.text
    with pytest.raises(JournalDamaged):
        ledgers.open("nb", client)
    ledgers.close()
    assert path.read_bytes() == spoilt


def test_files_of_others_among_the_ledgers_keep_no_broker_from_beginning(
    disk: ClosingFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = Ledgers(disk, iter(range(1, 99)).__next__)
    before.open("other", client).submitted(SPECS[0], task_of(1), ())
    before.close()
    (tmp_path / "clients" / f"{'x' * 220}.ledger").write_bytes(b"")
    (tmp_path / "clients" / "dir.ledger").mkdir()
    ledgers = Ledgers(disk, iter(range(1, 99)).__next__)
    assert list(ledgers.take_up()) == ["other"]
    assert "too long for a file" in caplog.text
    ledgers.close()


def test_a_full_disk_is_told_of_once_and_the_other_ledgers_are_written(
    disk: ClosingFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    ledgers = Ledgers(disk, iter(range(1, 99)).__next__)
    first, second = (ledgers.open(name, client) for name in ("a", "b"))
    ledgers.flush()
    write_all: Callable[..., None] = ledger_files.write_all
    calls = iter(range(99))

    def full_at_first(*args: Any) -> None:
        if next(calls) % 2 == 0:
            raise OSError(errno.ENOSPC, "no space left")
        write_all(*args)

    with monkeypatch.context() as patched:
        patched.setattr(ledger_files, "write_all", full_at_first)
        for count in (1, 2):
            for ledger in (first, second):
                ledger.submitted(SPECS[0], task_of(count), ())
            ledgers.flush()
    assert len(caplog.records) == 1
    assert "cannot be written down: [Errno 28]" in caplog.text
    assert (tmp_path / "clients" / "b.ledger").stat().st_size > 200
    ledgers.flush()
    ledgers.close()
    assert len(list(islice(reopened(disk, "a").outstanding(), 9))) == 2
