"""Events of a record are found by their numbers, however long it is, and however it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steerio.view import recorded_events
from steerio.view.recorded_events import EventQuery, events_behind, last_events

ALL = EventQuery()


@pytest.fixture
def record(tmp_path: Path) -> Path:
    lines = [
        json.dumps(
            {"type": ("TaskQueued", "TaskEnded")[number % 2], "number": number, "at": number / 7,
             "task_id": number // 2, "pool": ("a", "b")[number % 3 == 0]},
            separators=(",", ":"),
        )
        for number in range(1, 5_001)
    ]  # fmt: skip
    lines[100] = '{"broken'
    text = "\n".join(lines) + '\n{"type":"TaskQueued","number":5001,"at'
    (tmp_path / "events.jsonl").write_text(text)
    return tmp_path


@pytest.mark.parametrize("since", [-5, 0, 1, 99, 2_500, 4_990, 4_999])
def test_the_next_events_are_those_behind_a_number(record: Path, since: int) -> None:
    found = events_behind(record, since, 10, ALL)
    numbers = [n for n in range(max(since, 0) + 1, 5_001) if n != 101][:10]
    assert [event["number"] for event in found.events] == numbers
    assert found.until == numbers[-1]
    assert found.more == (numbers[-1] < 5_000)


def test_one_reads_on_from_where_the_last_look_ended(record: Path) -> None:
    since, numbers, more = 0, [], True
    while more:
        found = events_behind(record, since, 700, EventQuery(("TaskEnded",), "b"))
        numbers += [event["number"] for event in found.events]
        since, more = found.until, found.more
    assert numbers == [n for n in range(1, 5_001) if n % 2 and n % 3 == 0]
    assert since == 5_000
    assert events_behind(record, since, 10, ALL).events == ()


def test_a_look_is_bounded_and_is_gone_on_with(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_events, "LOOKED_BYTES", 10_000)
    since, looks, found = 0, 0, events_behind(record, 0, 10, EventQuery(task_id=2_499))
    while not found.events:
        assert found.more
        assert found.until > since
        since, looks = found.until, looks + 1
        found = events_behind(record, since, 10, EventQuery(task_id=2_499))
    assert looks > 10
    assert found.events[0]["task_id"] == 2_499


def test_the_last_events_are_in_their_order(record: Path) -> None:
    found = last_events(record, 3, EventQuery(("TaskQueued",)))
    assert [event["number"] for event in found.events] == [4_996, 4_998, 5_000]
    assert found.until == 5_000
    assert last_events(record, 3, EventQuery(pool="none")).events == ()


def test_without_a_record_there_are_none(tmp_path: Path) -> None:
    assert last_events(tmp_path, 3, ALL).events == ()
    assert events_behind(tmp_path, 7, 3, ALL).until == 7
