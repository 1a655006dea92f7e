"""Results in the journals of earlier runs: found by their calls, also while others write there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from steerio.edge.record.disk import Folder
from steerio.edge.record.entries import (
    Began,
    Call,
    EntryKind,
    Parts,
    encode_entry,
    encode_result,
    parts_of,
)
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.journal_segments import find_segments
from steerio.edge.record.opening_journals import OpenJournal, open_folder, remove_below
from steerio.errors import JournalDamaged, UsageError
from steerio.model.messages import TaskSettled
from steerio.session.memo import Memo, open_run
from steerio.session.run_dir import JOURNAL

SEGMENT_BYTES = 2_000


def key_of(x: int) -> bytes:
    return x.to_bytes(16, "big")


def settled(x: int, ended_as: Any = "succeeded") -> TaskSettled:
    return structs.replace(TaskSettled.unknown(x, ended_as, 0.0, ""), body=b"%d" % x)


def result(x: int, kind: EntryKind = EntryKind.MEMO, ended_as: Any = "succeeded") -> Any:
    call = Call(key_of(x), "m:f", b"")
    return kind, encode_result(call, settled(x, ended_as), (b"." * 300,))


def long_result(x: int) -> list[tuple[int, bytes]]:
    value = bytes([x]) * 3_000
    parts = [(EntryKind.PART, body) for body in parts_of(x, [value])]
    body = encode_result(Call(key_of(x), "m:f", b""), settled(x), (), Parts(x, [len(value)]))
    return [*parts, (EntryKind.MEMO, body)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / JOURNAL).mkdir()
    return tmp_path


@pytest.fixture
def journal(run_dir: Path) -> Iterator[OpenJournal]:
    opened = open_folder(run_dir / JOURNAL, segment_bytes=SEGMENT_BYTES)
    yield opened
    opened.writer.close()


def of(run_dir: Path) -> Memo:
    return Memo([open_run(run_dir)])


def value(memo: Memo, x: int) -> bytes | None:
    found = memo.read(key_of(x))
    return None if found is None else b"".join(map(bytes, found.frames))


def test_successes_are_known_and_nothing_else(run_dir: Path, journal: OpenJournal) -> None:
    began = encode_entry(Began(1, "m:C", b"", b"", 0, "0.1"))
    journal.writer.append([(EntryKind.BEGAN, began), result(1), result(2, EntryKind.RESULT)])
    journal.writer.append([result(3, EntryKind.RESULT, "failed"), *long_result(4)])
    journal.writer.append([(EntryKind.RECALLED, key_of(1))])
    memo = of(run_dir)
    assert [x for x in range(6) if memo.has(key_of(x))] == [1, 2, 4]
    assert value(memo, 1) == b"." * 300
    assert value(memo, 4) == b"\4" * 3_000
    assert value(memo, 3) is None
    found = memo.read(key_of(2))
    assert found is not None
    assert (found.settled.body, found.origin, found.is_own) == (b"2", str(run_dir), False)


def test_a_journal_is_read_while_another_process_writes_and_compacts_it(
    run_dir: Path, journal: OpenJournal
) -> None:
    for x in range(20):
        journal.writer.append([result(x), result(100 + x, EntryKind.RESULT)])
    owners = sorted(run_dir.rglob("*"))
    memo = of(run_dir)
    assert sorted(run_dir.rglob("*")) == owners  # it was only read
    kept = {1 + 2 * x for x in range(20)}
    remove_below(journal.disk, journal.writer.written_to, journal.owner, kept.__contains__)
    assert len([each for each in find_segments(journal.disk)[0] if each.compacted_by]) > 4
    for x in range(20, 40):
        journal.writer.append([result(x)])
    assert [value(memo, x) for x in range(20)] == [b"." * 300] * 20
    assert not memo.has(key_of(20))  # it came later
    assert memo.has(key_of(100))
    assert value(memo, 100) is None  # it was removed, and is computed again
    assert not memo.has(key_of(100))
    assert value(of(run_dir), 39) == b"." * 300


def test_files_without_anything_to_keep_are_removed_up_to_the_first_with_some(
    journal: OpenJournal,
) -> None:
    for x in range(40):
        journal.writer.append([result(x)])
    segments, _ = find_segments(journal.disk)
    fourth = segments[3].first
    remove_below(journal.disk, 41, journal.owner, {fourth + 1}.__contains__)
    left, _ = find_segments(journal.disk)
    assert left[0].first == fourth
    assert [bool(each.compacted_by) for each in left] == [True] * (len(left) - 1) + [False]
    before = [journal.disk.read(each.name) for each in left]
    remove_below(journal.disk, 41, journal.owner, {fourth + 1}.__contains__)
    assert [journal.disk.read(each.name) for each in left] == before
    finder = FrameFinder(journal.disk, [EntryKind.MEMO])
    assert finder.find(fourth + 1).body == result(fourth)[1]
    with pytest.raises(KeyError):
        finder.find(fourth)
    with pytest.raises(KeyError):
        finder.find(1)


def test_a_finder_sees_frames_that_are_appended_later(journal: OpenJournal) -> None:
    finder = FrameFinder(journal.disk, [EntryKind.MEMO])
    for x in range(12):
        number = journal.writer.append([result(x)])
        assert finder.find(number).body == result(x)[1]
    with pytest.raises(KeyError):
        finder.find(13)


def test_a_result_that_is_damaged_later_is_computed_again_with_a_warning(
    run_dir: Path, journal: OpenJournal, caplog: pytest.LogCaptureFixture
) -> None:
    for x in range(3):
        journal.writer.append([result(x)])
    memo = of(run_dir)
    (segment,) = find_segments(journal.disk)[0]
    path = run_dir / JOURNAL / segment.name
    data = bytearray(path.read_bytes())
    data[data.index(key_of(1)) + 100] ^= 1
    path.write_bytes(data)
    assert value(memo, 1) is None
    assert value(memo, 2) == b"." * 300
    (warning,) = [record.message for record in caplog.records]
    assert f"a result of {run_dir} cannot be read, and is computed again" in warning


def test_a_damaged_journal_is_refused_and_named(run_dir: Path) -> None:
    opened = open_folder(run_dir / JOURNAL, segment_bytes=SEGMENT_BYTES)
    for x in range(20):
        opened.writer.append([result(x)])
    opened.writer.close()
    first = find_segments(opened.disk)[0][0]
    os.truncate(run_dir / JOURNAL / first.name, 500)
    with pytest.raises(JournalDamaged, match=first.name):
        open_run(run_dir)


def test_a_journal_of_a_later_version_is_refused(run_dir: Path, journal: OpenJournal) -> None:
    journal.writer.append([(EntryKind.BEGAN, encode_entry(Began(99, "m:C", b"", b"", 0, "9.0")))])
    with pytest.raises(UsageError, match=r"steerio 9\.0 wrote the journal, in format 99"):
        open_run(run_dir)


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no journal, so no results can be recalled from it"):
        open_run(tmp_path)
    with pytest.raises(UsageError, match=r"nowhere is not a folder: name the folder of an earlier"):
        open_run(tmp_path / "nowhere")


def test_of_several_runs_the_first_that_has_a_result_is_asked(tmp_path: Path) -> None:
    for name, xs in {"one": (1, 2), "two": (2, 3)}.items():
        (tmp_path / name / JOURNAL).mkdir(parents=True)
        opened = open_folder(tmp_path / name / JOURNAL)
        opened.writer.append([result(x) for x in xs])
        opened.writer.close()
    memo = Memo(map(open_run, [tmp_path / "one", tmp_path / "two"]))
    found = [memo.read(key_of(x)) for x in (1, 2, 3)]
    assert [Path(each.origin).name for each in found if each] == ["one", "one", "two"]


def test_a_folder_is_read_in_parts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert Folder(tmp_path).read_at("file", 2, 3) == b"234"
    assert Folder(tmp_path).read_at("file", 8, 30) == b"89"
