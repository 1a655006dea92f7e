"""The lines of a record are decoded alike, whichever few fields are decoded of each."""

from __future__ import annotations

import msgspec
import pytest

from steerio.view.seen_lines import EventLines, SeenEvent, events_decoder, lines_at
from steerio.view.sketch import Sketch

QUEUED = b'{"type":"TaskQueued","number":1,"at":2.0,"task_id":3,"task_type":"a:b","pool":"p"}\n'
CHANGED = b'{"type":"PoolChanged","number":2,"at":3.0,"pool":"p","workers":4}\n'
UNKNOWN = b'{"type":"OfALaterVersion","number":3,"at":4.0,"pool":"p"}\n'
SHARED = ("type", "at", "task_id", "task_type", "pool", "worker", "incarnation")


@pytest.mark.parametrize(
    "lines",
    [QUEUED, QUEUED + CHANGED + QUEUED + UNKNOWN, b"\n" + CHANGED + b"\n" + QUEUED, b"\n"],
    ids=["of a task", "of several kinds", "some empty", "all empty"],
)
def test_events_have_the_fields_that_a_view_needs_of_their_kind(lines: bytes) -> None:
    found, whole = EventLines().decode_lines(lines), events_decoder.decode_lines(lines)
    for one, other in zip(found, whole, strict=True):
        assert [getattr(one, name) for name in SHARED] == [getattr(other, name) for name in SHARED]
        if one.type == "PoolChanged":
            assert isinstance(one, SeenEvent)
            assert one == other


def test_a_line_that_cannot_be_read_is_an_error_whatever_its_kind() -> None:
    for line in (QUEUED.replace(b"2.0", b"{}"), CHANGED.replace(b'"pool":"p"', b'"pool":5')):
        for decode in (EventLines().decode, EventLines().decode_lines):
            with pytest.raises(msgspec.DecodeError):
                decode(line)


def test_lines_are_found_by_the_numbers_of_their_tasks_or_else_by_their_places() -> None:
    lines = [b'{"task_id":%d,"pool":"p"}' % number for number in (7, 1, 11, 4)]
    text = b"\n".join(lines)
    for whole in (text, text + b"\n"):
        assert lines_at([1, 3], [1, 4], whole) == [lines[1], lines[3]]
        assert lines_at([0, 2], [7, 11], whole) == [lines[0], lines[2]]
        assert lines_at([0, 2], [7, 99], whole) == [lines[0], lines[2]]
    inner = [b'{"args":{"task_id":2,"a":1},"task_id":1}', b'{"task_id":2,"a":3}']
    assert lines_at([1], [2], b"\n".join(inner)) == [inner[1]]


def test_numbers_that_are_equal_are_counted_as_each_by_itself() -> None:
    numbers = [0, 120, -3, 120, 7, 120, 0]
    one, other = Sketch(), Sketch()
    one.take_equal(numbers)
    other.take_all(numbers)
    assert one.spread() == other.spread()
