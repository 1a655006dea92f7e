"""The past of a task is found among the lines of its run: its reasons, waits, effects and logs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.record import task_past
from steerio.edge.record.mapped_lines import MappedLines
from steerio.edge.record.record_files import TASKS_FILE, AttemptEntry, RecordFiles, TaskEntry
from steerio.edge.record.task_past import Reason, TaskPast, WaitEnd, past_of
from steerio.errors import UsageError
from steerio.model import events as ev
from steerio.model.campaign_orders import ORDERED_BY
from steerio.model.tasks import CLIENT_BITS
from steerio.view.told_story import story_lines
from tests.contract.run_folders import change_head
from tests.contract.test_record_files import entry


def ran(number: int, because: tuple[int, ...] | None = None, **changes: Any) -> TaskEntry:
    """Return a task that was queued at ``number``, sent a second later, and ran for another."""
    at = float(number)
    times: dict[str, Any] = {
        "created": at, "queued": at, "sent": at + 1, "started": at + 1, "ended": at + 2,
        "received": at + 2, "worker": "w1", "because": because,
    }  # fmt: skip
    return entry(number, **{**times, **changes})


def make(folder: Path, tasks: list[TaskEntry], events: list[Any] = []) -> Path:  # noqa: B006
    files = RecordFiles(folder)
    files.write(tasks, events)
    files.close()
    return folder


def past(folder: Path, task_id: int, depth: int = 3) -> TaskPast:
    return past_of(folder, task_id, depth)


def numbers(reasons: tuple[Reason, ...]) -> list[Any]:
    """Return the numbers of reasons, each with its own."""
    return [(reason.task_id, numbers(reason.because)) for reason in reasons]


# -- reasons and effects --------------------------------------------------------------------------


def test_the_story_of_an_ordered_task_names_the_giver_of_the_order(tmp_path: Path) -> None:
    agents = ran(2, cause="Search.rank")
    make(tmp_path, [ran(1, tags={ORDERED_BY: "ada"}, cause=""), agents, ran(3, cause="")])
    told = [list(story_lines(past(tmp_path, number), "", "", 0)) for number in (1, 2, 3)]
    heads = [next(line for line in each if line.startswith("submitted")) for each in told]
    assert heads[0].endswith(" by an order of ada")
    assert heads[1].endswith(" by agent Search.rank, which handled no result then")
    assert heads[2].endswith(" by a session, and no agent, which handled no result then")


def test_reasons_are_followed_back_as_far_as_asked_for(tmp_path: Path) -> None:
    make(tmp_path, [ran(1), ran(2, (1,)), ran(3, (2,)), ran(4, (3,))])
    assert numbers(past(tmp_path, 4).because) == [(3, [(2, [(1, [])])])]
    found = past(tmp_path, 4, 2).because
    assert numbers(found) == [(3, [(2, [])])]
    assert found[0].because[0].more == 1
    assert past(tmp_path, 1).because == ()


def test_a_reason_of_several_is_followed_once(tmp_path: Path) -> None:
    make(tmp_path, [ran(1), ran(2, (1,)), ran(3, (1,)), ran(4, (2, 3))])
    second, third = past(tmp_path, 4).because
    assert not second.because[0].repeated
    assert third.because[0].repeated
    assert third.because[0].task is not None


def test_the_number_of_reasons_that_are_looked_for_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_past, "REASONS", 4)
    make(tmp_path, [ran(1), ran(2), ran(3, (1, 2)), ran(4, (1, 2)), ran(5, (3, 4))])
    found = past(tmp_path, 5).because
    assert [len(reason.because) + reason.more for reason in found] == [2, 2]
    assert sum(reason.more for reason in found) == 2


def test_a_reason_without_a_line_is_named(tmp_path: Path) -> None:
    make(tmp_path, [ran(2, (1,))])
    assert past(tmp_path, 2).because == (Reason(1, None),)


def test_what_followed_from_a_task_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"because": [1], "text": '"because":[1]'}  # it stands in a line, and is no reason
    make(tmp_path, [ran(1), ran(2, (1,)), ran(3, (7, 1, 11)), ran(4, (11,), value=value)])
    found = past(tmp_path, 1)
    assert [task["task_id"] for task in found.followed] == [2, 3]
    assert found.more_followed == 0
    monkeypatch.setattr(task_past, "FOLLOWERS", 1)
    found = past(tmp_path, 1)
    assert (len(found.followed), found.more_followed) == (1, 1)


# -- waits and attempts ---------------------------------------------------------------------------


def test_a_wait_ends_with_the_task_that_its_worker_had(tmp_path: Path) -> None:
    busy = ran(1, ended=5.5, received=5.6)
    make(tmp_path, [busy, ran(2, worker="w2"), ran(5, queued=4.0)])
    assert past(tmp_path, 5).wait == WaitEnd("busy", 5.5, "w1", 1)
    assert past(tmp_path, 2).wait is None


def test_a_wait_ends_when_its_worker_comes(tmp_path: Path) -> None:
    joined = ev.WorkerJoined(1, 4.5, "w1", "simulate", "node", 7)
    moved = ev.WorkerMoved(2, 7.5, "w1", "simulate", "learn", "node")
    other = ev.WorkerMoved(3, 7.7, "w2", "simulate", "learn", "node")
    make(tmp_path, [ran(4), ran(7)], [joined, moved, other])
    assert past(tmp_path, 4).wait == WaitEnd("joined", 4.5, "w1")
    assert past(tmp_path, 7).wait == WaitEnd("moved", 7.5, "w1", source="learn")


def test_stalls_while_it_waited_are_told(tmp_path: Path) -> None:
    stalls = [
        ev.PoolStalled(number, at, pool, 1, "why")
        for number, at, pool in ((1, 3.5, "simulate"), (2, 4.5, "simulate"), (3, 4.5, "other"))
    ]
    make(tmp_path, [ran(4)], stalls)
    assert [stall["number"] for stall in past(tmp_path, 4).stalls] == [2]


def test_stalls_of_the_event_loop_before_its_submission_are_told(tmp_path: Path) -> None:
    tasks = [ran(1), ran(9, (1,))]
    held = ("S.think", 1.5, "think (s.py:3)")
    events = [ev.LoopStalled(n, at, *held) for n, at in enumerate((2.5, 5.0, 9.5, 11.0))]
    make(tmp_path, tasks, events)
    assert [stall["at"] for stall in past(tmp_path, 9).held] == [5.0, 9.5]
    assert past(tmp_path, 1).held == ()


def test_all_attempts_are_told(tmp_path: Path) -> None:
    early = AttemptEntry(1, "lost: killed", "w2", "far", 4.5, 4.5, None, 4.6, None)
    make(tmp_path, [ran(4, attempt=2, earlier=[early])])
    found = past(tmp_path, 4).attempts
    assert [(a["attempt"], a["reason"], a["worker"]) for a in found] == [
        (1, "lost: killed", "w2"),
        (2, "succeeded", "w1"),
    ]


def test_a_task_that_has_not_ended_is_known_by_its_events(tmp_path: Path) -> None:
    events = [
        ev.TaskQueued(1, 1.0, 4, "search:energy", "simulate"),
        ev.TaskQueued(2, 2.0, 44, "search:energy", "simulate"),
        ev.WorkerJoined(3, 2.5, "w1", "simulate", "node", 7),
        ev.TaskStarted(4, 3.0, 4, "search:energy", "simulate", 1, "w1"),
    ]
    make(tmp_path, [ran(5, (4,))], events)
    found = past(tmp_path, 4)
    assert found.task is None
    assert [event["type"] for event in found.events] == ["TaskQueued", "TaskStarted"]
    assert found.wait == WaitEnd("joined", 2.5, "w1")
    assert past(tmp_path, 44).wait is None


# -- logs -----------------------------------------------------------------------------------------


def test_the_lines_that_a_task_printed_are_its_own(tmp_path: Path) -> None:
    make(tmp_path, [ran(4)])
    (tmp_path / "workers.log").write_bytes(
        b"10:52:35.123 w1 task 4 | one\n"
        b"10:52:35.123 w1 task 44 | of another\n"
        b"10:52:35.124 w1 task 5 | about task 4 | two\n"
        b"10:52:35.125 w 1 task 4 | \xff\n"
        b"10:52:35.126 w1 task 4 | half a line"
    )
    (tmp_path / "workers-rank1.log").write_text("11:00:00.000 w9 task 4 | far\n")
    (tmp_path / "campaign.log").write_text("DEBUG task 4: waits, it does\ntask 44: waits\n")
    found = past(tmp_path, 4)
    assert found.printed == (
        "11:00:00.000 w9 task 4 | far",
        "10:52:35.123 w1 task 4 | one",
        "10:52:35.125 w 1 task 4 | \\xff",
    )
    assert found.decided == ("DEBUG task 4: waits, it does",)


# -- what is not there ----------------------------------------------------------------------------


def test_an_unknown_task_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    base = 1 << CLIENT_BITS
    make(tmp_path, [ran(3), ran(8), ran(5), ran(base + 1), ran(base + 2)])
    with pytest.raises(UsageError) as caught:
        past(tmp_path, 6)
    assert str(caught.value).endswith(
        f"has no task 6: it has tasks from 3 to 8 and {base + 1} to {base + 2}; "
        "the nearest are 5 and 8"
    )
    with pytest.raises(UsageError, match=r"the nearest is 3$"):
        past(tmp_path, 1)


def test_a_folder_without_a_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        past(tmp_path / "absent", 1)
    with pytest.raises(UsageError, match=r"has no record: it has no tasks\.jsonl"):
        past(tmp_path, 1)
    make(tmp_path, [])
    with pytest.raises(UsageError, match="no task has ended there"):
        past(tmp_path, 1)
    change_head(tmp_path, schema=99)
    with pytest.raises(UsageError, match="schema 99"):
        past(tmp_path, 1)


def test_the_record_of_a_campaign_that_joined_is_its_brokers(tmp_path: Path) -> None:
    broker, run = tmp_path / "broker", tmp_path / "run"
    broker.mkdir()
    run.mkdir()
    make(broker, [ran(4)])
    (run / "parameters.json").write_text(json.dumps({"joined": str(broker)}))
    assert past(run, 4).task is not None


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, [ran(1), ran(2, (1,))])
    lines = (tmp_path / TASKS_FILE).read_bytes().splitlines(keepends=True)
    odd = [b'{"task_id":2,\xff}\n', b'{"task_id":1,"because":[1]\n', b"\0\0\n"]
    (tmp_path / TASKS_FILE).write_bytes(b"".join([*odd, *lines, b'{"task_id":3,"be']))
    assert numbers(past(tmp_path, 2).because) == [(1, [])]
    with pytest.raises(UsageError, match="it has tasks from 1 to 2"):
        past(tmp_path, 3)


# -- the lines of a file --------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=4).map(lambda b: b.replace(b"\n", b"a")), max_size=8))
def test_lines_are_found_by_their_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("lines", numbered=True) / "file"
    lines = [text + b"\n" for text in texts]
    path.write_bytes(b"".join(lines) + b"aa")
    with MappedLines(path) as found:
        assert list(found.all()) == lines
        with_a = [line for line in lines if b"a" in line]
        assert [line for _, line in found.containing(b"a")] == with_a
        assert [line for _, line in found.containing_before(b"a", found.end)] == with_a[::-1]
        assert [line for _, line in found.matching(re.compile(b"a"))] == with_a
        assert [place for place, _ in found.containing(b"\n")] == [
            sum(map(len, lines[:index])) for index in range(len(lines))
        ]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    with MappedLines(tmp_path / "absent") as found:
        assert (list(found.all()), list(found.containing(b"a"))) == ([], [])
        assert list(found.containing_before(b"a", 0)) == []


def test_all_of_it_becomes_json(tmp_path: Path) -> None:
    make(tmp_path, [ran(1), ran(2, (1,))])
    assert msgspec.json.decode(msgspec.json.encode(past(tmp_path, 2)))["task_id"] == 2
