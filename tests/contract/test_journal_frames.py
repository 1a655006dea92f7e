"""A journal is read as it was written; a torn end is cut off, and any other damage is told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.record.disk import Folder
from steerio.edge.record.frames import (
    BLOCK,
    COPIED_BYTES,
    END,
    FRAME_BYTES,
    HEAD_BYTES,
    Frame,
    Head,
    SegmentReader,
    write_frame,
    write_frames,
    write_head,
)
from steerio.edge.record.journal_segments import JournalReader, find_segments
from steerio.edge.record.opening_journals import OpenJournal, compact, open_folder, remove_below
from steerio.errors import JournalDamaged, UsageError
from tests.contract.crashing_disk import CrashingDisk
from tests.contract.journal_histories import opened

entries = st.lists(
    st.tuples(st.integers(0, 0xFFFE), st.binary(max_size=100)), min_size=1, max_size=6
)


def written(bodies: list[bytes], *, closed: bool = True) -> bytes:
    """Return the file of a journal of one segment."""
    disk = CrashingDisk()
    journal = opened(disk, 1 << 20)
    for body in bodies:
        journal.writer.append([(1, body)])
        journal.writer.sync()
    if closed:
        journal.writer.close()
    return disk.read(journal.writer.segment.name)


def read(data: bytes, *, last: bool = True) -> tuple[list[bytes], SegmentReader]:
    reader = SegmentReader(data, "file", last=last)
    return [frame.body for frame in reader.frames()], reader


@pytest.mark.smoke
@given(st.lists(entries, max_size=4))
def test_frames_come_out_as_they_went_in(batches: list[list[tuple[int, bytes]]]) -> None:
    disk = CrashingDisk()
    journal = opened(disk)
    for batch in batches:
        journal.writer.append(batch)
    journal.writer.close()
    reader = opened(disk).read()
    frames = [(frame.kind, frame.body) for frame in reader.frames()]
    assert frames == [entry for batch in batches for entry in batch]
    assert reader.torn.nbytes == 0
    assert reader.next_number == len(frames) + 1


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFE), st.sampled_from([0, 1, COPIED_BYTES - 1, COPIED_BYTES])),
        max_size=6,
    ),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**40),
    st.integers(0, 1_000),
)
def test_a_batch_is_its_frames_one_after_the_other(
    sizes: list[tuple[int, int]], salt: int, synced_to: int, unsynced: int
) -> None:
    batch = [(kind, bytes([kind % 251]) * length) for kind, length in sizes]
    before = synced_to + unsynced
    pieces = write_frames(salt, before, synced_to, batch)
    assert b"".join(pieces) == b"".join(
        write_frame(salt, number, kind, body, number - synced_to)
        for number, (kind, body) in enumerate(batch, before + 1)
    )
    assert len(pieces) <= 1 + 2 * sum(len(body) >= COPIED_BYTES for _, body in batch)


@pytest.mark.parametrize("kind", [-1, END, END + 1, 1 << 40])
def test_a_kind_that_no_frame_may_have_is_refused_and_nothing_is_appended(kind: int) -> None:
    journal = opened(CrashingDisk())
    with pytest.raises(UsageError, match=f"kind {kind} "):
        journal.writer.append([(1, b"fine"), (kind, b"")])
    assert journal.writer.append([(2, b"")]) == 1
    journal.writer.close()
    assert [frame.kind for frame in opened(journal.disk).read().frames()] == [2]


def test_a_bit_that_flips_anywhere_is_told_of_and_loses_nothing() -> None:
    bodies = [b"one", b"", b"three" * 9, b"4"]
    data = written(bodies)
    closing = len(data) - FRAME_BYTES
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            if at >= closing:  # the frame that says no more than that all is there
                found, reader = read(bytes(flipped))
                assert found == bodies
                assert reader.torn.nbytes == FRAME_BYTES
                continue
            with pytest.raises(JournalDamaged, match=r"file, byte \d+") as caught:
                read(bytes(flipped))
            assert caught.value.offset <= at


def test_a_bit_that_flips_before_a_synced_frame_is_told_of_though_the_journal_was_not_closed() -> (
    None
):
    data = written([b"one", b"two", b"three"], closed=False)
    last = len(data) - FRAME_BYTES - len(b"three")
    for at in range(HEAD_BYTES, last):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with pytest.raises(JournalDamaged):
            read(bytes(flipped))


def test_a_segment_that_is_not_the_last_may_not_be_torn() -> None:
    data = written([b"one", b"two"], closed=False)
    for length in range(len(data)):
        if length in (HEAD_BYTES, HEAD_BYTES + FRAME_BYTES + 3):
            continue  # between two frames: told by the number of the next segment
        with pytest.raises(JournalDamaged):
            read(data[:length], last=False)


@pytest.mark.parametrize(
    "garbage",
    [b"\0", bytes(5_000), b"\xff" * 100, b"\xa7\xe5" * 60, b"steerio " * 200],
    ids=["a zero", "zeros", "ones", "marks", "text"],
)
def test_garbage_behind_the_last_frame_is_cut_off_and_counted(garbage: bytes) -> None:
    bodies = [b"one", b"two"]
    found, reader = read(written(bodies, closed=False) + garbage)
    assert found == bodies
    assert (reader.torn.nbytes, reader.torn.frames) == (len(garbage), 0)


def test_a_file_that_ends_anywhere_has_the_frames_before_its_end() -> None:
    data = written([b"one", b"two"], closed=False)
    second = HEAD_BYTES + FRAME_BYTES + 3
    for length in range(len(data)):
        found, reader = read(data[:length])
        assert found == [b"one"][: length >= second]
        assert reader.torn.nbytes == length - (second if found else HEAD_BYTES * (length > 47))


def test_a_zero_block_that_was_synced_is_damage_and_no_torn_end() -> None:
    data = bytearray(written([b"a" * 600, b"b" * 600, b"c"], closed=False))
    data[BLOCK : 2 * BLOCK] = bytes(BLOCK)
    with pytest.raises(JournalDamaged, match="had been synced"):
        read(bytes(data))


def test_frames_of_another_segment_behind_the_end_are_not_taken_in() -> None:
    one, other = written([b"same"], closed=False), written([b"same", b"more"], closed=False)
    found, reader = read(one + other[len(one) :])
    assert found == [b"same"]
    assert reader.torn.nbytes == FRAME_BYTES + 4


def test_a_good_frame_out_of_order_is_damage() -> None:
    head, salt = write_head(Head(1, 1))
    frames = (write_frame(salt, number, 1, b"", number) for number in (1, 3))
    with pytest.raises(JournalDamaged, match="frame 2 is unreadable, and there are good ones"):
        read(head + b"".join(frames))


def test_a_later_format_is_refused_in_words() -> None:
    data = bytearray(written([b"one"]))
    data[8] = 2
    with pytest.raises(JournalDamaged, match="head"):
        read(bytes(data))


# --- several segments ----------------------------------------------------------------------------


def several(tmp_path: Path, number: int = 60) -> OpenJournal:
    """Write a journal of some segments, of which each has 5 frames."""
    journal = open_folder(tmp_path, segment_bytes=HEAD_BYTES + 5 * (FRAME_BYTES + 100))
    for count in range(number):
        journal.writer.append([(3, b"%03d " % count * 25)])
    return journal


def bodies(tmp_path: Path) -> list[int]:
    return [int(frame.body[:3]) for frame in JournalReader(Folder(tmp_path)).frames()]


def test_segments_are_bounded_and_read_in_order(tmp_path: Path) -> None:
    journal = several(tmp_path)
    journal.writer.close()
    files = sorted(tmp_path.glob("*.frames"))
    assert len(files) == 12
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert max(file.stat().st_size for file in files[:-1]) == HEAD_BYTES + 5 * (FRAME_BYTES + 100)
    assert bodies(tmp_path) == list(range(60))


def test_a_batch_longer_than_a_segment_is_one_of_its_own(tmp_path: Path) -> None:
    journal = open_folder(tmp_path, segment_bytes=1_000)
    journal.writer.append([(1, b"a")])
    journal.writer.append([(1, bytes(400)) for _ in range(9)])
    journal.writer.append([(1, b"b")])
    journal.writer.close()
    frames = list(JournalReader(Folder(tmp_path)).frames())
    assert [frame.number for frame in frames] == list(range(1, 12))
    assert len(list(tmp_path.glob("*.frames"))) == 3


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda files: files[3].unlink(), "frames 16 to 20 are missing"),
        (lambda files: files[3].write_bytes(files[2].read_bytes()), "it was 0+11-000001"),
        (lambda files: files[3].write_bytes(files[3].read_bytes()[:-124]), "frames 20 to 20"),
        (lambda files: files[3].write_bytes(files[3].read_bytes()[:-1]), "frame 20 is unreadable"),
        (lambda files: files[3].write_bytes(b""), "only 0 bytes"),
    ],
    ids=["removed", "another's", "short of a frame", "short of a byte", "empty"],
)
def test_harm_to_a_segment_in_the_middle_names_the_file(
    tmp_path: Path, harm: Callable[[list[Path]], object], words: str
) -> None:
    several(tmp_path).writer.close()
    harm(sorted(tmp_path.glob("*.frames")))
    with pytest.raises(JournalDamaged, match=words) as caught:
        bodies(tmp_path)
    assert caught.value.path.startswith(str(tmp_path))


def test_the_way_out_that_the_error_names_keeps_the_frames_before(tmp_path: Path) -> None:
    several(tmp_path).writer.close()
    files = sorted(tmp_path.glob("*.frames"))
    data = bytearray(files[3].read_bytes())
    data[HEAD_BYTES + 2 * (FRAME_BYTES + 100) + 50] ^= 4
    files[3].write_bytes(data)
    with pytest.raises(JournalDamaged) as caught:
        bodies(tmp_path)
    for file in files[4:]:
        file.unlink()
    with Path(caught.value.path).open("r+b") as file:
        file.truncate(caught.value.offset)
    journal = open_folder(tmp_path)
    assert journal.before == 17
    assert journal.writer.append([(1, b"100")]) == 18
    journal.writer.close()
    assert bodies(tmp_path) == [*range(17), 100]


def test_a_damaged_last_segment_is_told_of_when_the_journal_is_opened(tmp_path: Path) -> None:
    several(tmp_path, 4).writer.close()
    (file,) = tmp_path.glob("*.frames")
    data = bytearray(file.read_bytes())
    data[HEAD_BYTES + 3] ^= 1
    file.write_bytes(data)
    for _ in range(2):  # the first leaves no owner behind
        with pytest.raises(JournalDamaged, match="had been synced"):
            open_folder(tmp_path)
    assert file.read_bytes() == data


def test_a_compacted_segment_stands_for_the_numbers_that_it_lost(tmp_path: Path) -> None:
    journal = several(tmp_path)
    disk, owner = journal.disk, journal.owner
    segments, _ = find_segments(disk)
    kept = [Frame(12, 3, b"011 short"), Frame(14, 9, b"013")]
    assert compact(disk, segments[2], kept, owner) > 300
    assert compact(disk, segments[3], [], owner) > 400
    journal.writer.close()
    assert bodies(tmp_path) == [*range(10), 11, 13, *range(20, 60)]
    path = tmp_path / find_segments(disk)[0][2].name
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        with pytest.raises(JournalDamaged):
            bodies(tmp_path)


def test_compacting_refuses_new_numbers_and_the_segment_that_is_written_to(tmp_path: Path) -> None:
    journal = several(tmp_path, 13)
    disk, owner = journal.disk, journal.owner
    segments, _ = find_segments(disk)
    with pytest.raises(UsageError, match="order"):
        compact(disk, segments[1], [Frame(8, 1, b""), Frame(7, 1, b"")], owner)
    with pytest.raises(UsageError, match="no frames of some"):
        compact(disk, segments[1], [Frame(11, 1, b"")], owner)
    with pytest.raises(UsageError, match="still written to"):
        compact(disk, segments[2], [], owner)
    journal.writer.close()
    assert bodies(tmp_path) == list(range(13))


def test_segments_below_a_number_are_removed_and_none_that_has_others(tmp_path: Path) -> None:
    journal = several(tmp_path)
    assert remove_below(journal.disk, 20, journal.owner) == 3
    assert remove_below(journal.disk, 21, journal.owner) == 1
    assert remove_below(journal.disk, 1_000, journal.owner) == 7
    journal.writer.close()
    journal = open_folder(tmp_path)
    assert (journal.before, len(bodies(tmp_path))) == (60, 5)
    journal.writer.close()


def test_numbers_go_on_though_all_frames_were_removed(tmp_path: Path) -> None:
    for before in (0, 20, 20, 20):
        journal = several(tmp_path, 0)
        assert journal.before == before
        if not before:
            several_more = [(1, bytes(100))] * 20
            journal.writer.append(several_more)
            journal.writer.append([(1, bytes(2_000))])
            journal.writer.close()
            (last,) = tmp_path.glob("0*21-*.frames")
            last.write_bytes(last.read_bytes()[:HEAD_BYTES])  # as if a crash had cut it
            (tmp_path / "000001.owner").unlink()
            continue
        remove_below(journal.disk, 1_000, journal.owner)
        journal.writer.close()
    assert len(list(tmp_path.glob("*.frames"))) == 1
