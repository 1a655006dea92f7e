"""The past that a journal tells: parts may be missing of content that nothing needs."""

from __future__ import annotations

import pytest

from steerio.campaign.past import Past, read_past
from steerio.edge.record.entries import (
    PART_BYTES,
    Call,
    EndedEntry,
    EntryKind,
    Parts,
    SnapshotEntry,
    encode_entry,
    encode_result,
    parts_of,
)
from steerio.edge.record.frames import Frame
from steerio.errors import JournalDamaged
from steerio.model.messages import TaskSettled
from steerio.model.tasks import EndedAs

LONG = b"a" * (PART_BYTES + 1)
Body = tuple[int, bytes]


def in_parts(number: int) -> list[Body]:
    return [(int(EntryKind.PART), body) for body in parts_of(number, [LONG])]


def snapshot(number: int, covers: int) -> list[Body]:
    mark = encode_entry(SnapshotEntry(covers, b"", Parts(number, [len(LONG)])))
    return [*in_parts(number), (EntryKind.SNAPSHOT, mark)]


def result(number: int) -> list[Body]:
    settled = TaskSettled.unknown(1, "succeeded", 0.0, "")
    body = encode_result(Call(b"k" * 16, "f", b""), settled, (), Parts(number, [len(LONG)]))
    return [*in_parts(number), (EntryKind.RESULT, body)]


def short_result(ended_as: EndedAs) -> list[Body]:
    settled = TaskSettled.unknown(1, ended_as, 0.0, "")
    return [(EntryKind.RESULT, encode_result(Call(b"k" * 16, "f", b""), settled, ()))]


def end(outcome: str) -> list[Body]:
    return [(EntryKind.ENDED, encode_entry(EndedEntry(outcome, "")))]


def past_of(*bodies: list[Body], first: int = 1) -> Past:
    """Return the past that these frames tell, of which those before ``first`` were removed."""
    flat = [body for several in bodies for body in several]
    frames = [Frame(n, *body) for n, body in enumerate(flat, 1) if n >= first]
    return read_past(frames)


def test_content_in_parts_is_put_together() -> None:
    past = past_of(snapshot(1, 0), result(2))
    assert past.snapshot == LONG
    assert [each.frames for each in past.results] == [[LONG]]


def test_a_part_of_a_snapshot_may_be_missing_if_a_later_one_is_whole() -> None:
    past = past_of(snapshot(1, 0), snapshot(2, 3), first=2)
    assert past.snapshot == LONG
    assert past.covers == [0, 3]


def test_a_part_of_a_result_may_be_missing_if_a_snapshot_includes_it() -> None:
    past = past_of(result(1), snapshot(2, 3), first=2)
    assert past.snapshot == LONG
    assert past.results == []


def test_a_part_of_the_last_snapshot_may_not_be_missing() -> None:
    with pytest.raises(JournalDamaged, match="a part of a snapshot is missing"):
        past_of(snapshot(1, 0), first=2)


def test_a_part_of_a_result_behind_the_last_snapshot_may_not_be_missing() -> None:
    with pytest.raises(JournalDamaged, match="a part of a result is missing"):
        past_of(result(1), snapshot(2, 2), first=2)


@pytest.mark.parametrize(("outcome", "left"), [("failed", [1, 5]), ("interrupted", [1, 2, 3, 5])])
def test_failures_before_a_failed_end_are_not_given_out_again(
    outcome: str, left: list[int]
) -> None:
    past = past_of(
        short_result("succeeded"),
        short_result("failed"),
        short_result("timed_out"),
        end(outcome),
        short_result("failed"),
    )
    assert [each.number for each in past.results] == left
