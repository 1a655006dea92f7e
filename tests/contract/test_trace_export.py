"""A record becomes a trace that viewers of Chrome's trace events open, and shows all of it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.record import trace_events
from steerio.edge.record.by_task import NumberByTask
from steerio.edge.record.record_files import (
    TASKS_FILE,
    AttemptEntry,
    RankEntry,
    RecordFiles,
    TaskEntry,
)
from steerio.edge.record.record_lines import TASK_COLUMNS
from steerio.edge.record.trace_export import export_trace
from steerio.edge.record.trace_tracks import Track
from steerio.errors import UsageError
from steerio.model import events as ev
from tests.contract.run_folders import change_head
from tests.contract.test_record_files import ODD, entry
from tests.contract.trace_format import Trace

S = 1_000_000
"""Microseconds of a second."""


def ran(number: int, worker: str, begin: float, end: float, **changes: Any) -> TaskEntry:
    """Return a task that ran on a worker; times in seconds since the record began."""
    times: dict[str, Any] = {
        "created": begin - 1, "queued": begin - 1, "sent": begin, "started": begin, "ended": end,
        "received": end, "because": None, "tags": None,
    }  # fmt: skip
    return entry(number, worker=worker, **{**times, **changes})


def make(folder: Path, tasks: list[TaskEntry], events: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    files = RecordFiles(folder)
    files.write(tasks, events)
    files.close()
    change_head(folder, began=0.0)
    return folder


def trace_of(folder: Path) -> Trace:
    export_trace(folder, folder / "trace.json", force=True)
    return Trace(folder / "trace.json")


def queued(number: int, at: float, task: int, pool: str = "simulate") -> ev.TaskQueued:
    return ev.TaskQueued(number, at, task, "search:energy", pool)


def started(number: int, at: float, task: int, worker: str = "w1") -> ev.TaskStarted:
    return ev.TaskStarted(number, at, task, "search:energy", "simulate", 1, worker)


def ended(number: int, at: float, task: int, worker: str | None = "w1") -> ev.TaskEnded:
    return ev.TaskEnded(number, at, task, "search:energy", "simulate", 1, worker, "succeeded", 1.0)


def test_a_gang_is_on_the_tracks_of_all_its_workers(tmp_path: Path) -> None:
    others = [RankEntry("w2", "node", 1.5, 2.0), RankEntry("w3", "far", None, None)]
    events = [
        *[ev.WorkerJoined(n, 0.0, f"w{n}", "simulate", "node", n) for n in (1, 2)],
        ev.TaskStarted(3, 1.0, 1, "search:energy", "simulate", 1, "w1", ("w2", "w3")),
        ended(4, 2.5, 1),
        ev.TaskStarted(5, 3.0, 2, "search:energy", "simulate", 1, "w1", ("w2",)),
        queued(6, 4.0, 3),
    ]
    trace = trace_of(make(tmp_path, [ran(1, "w1", 1.0, 2.5, others=others)], events))
    assert trace.runs() == [
        ("far: simulate", "w3", "energy", 1 * S, 2_500_000, "succeeded"),
        ("node: simulate", "w1", "energy", 1 * S, 2_500_000, "succeeded"),
        ("node: simulate", "w2", "energy", 1_500_000, 2 * S, "succeeded"),
    ]
    shown = {run["args"]["worker"]: run["args"] for run in trace.by_phase["X"]}
    assert [(name, each.get("rank")) for name, each in sorted(shown.items())] == [
        ("w1", None), ("w2", 1), ("w3", 2),
    ]  # fmt: skip
    open_on = [run["tid"] for run in trace.by_phase["B"]]
    assert len(set(open_on)) == len(open_on) == 2, "of the one that goes on"
    busy = [each["args"]["busy"] for each in trace.by_phase["C"] if each["name"] == "workers"]
    assert busy == [3, 0, 2, 2]


def test_each_run_is_on_the_track_of_its_worker(tmp_path: Path) -> None:
    moved = ran(3, "w1", 5.0, 6.0, pool="learn", task_type="search:fit")
    tasks = [ran(1, "w1", 1.0, 2.5), ran(2, "w2", 1.5, 3.0, ended_as="failed"), moved]
    trace = trace_of(make(tmp_path, tasks, []))
    assert trace.runs() == [
        ("node: learn", "w1", "fit", 5 * S, 6 * S, "succeeded"),
        ("node: simulate", "w1", "energy", 1 * S, 2_500_000, "succeeded"),
        ("node: simulate", "w2", "energy", 1_500_000, 3 * S, "failed"),
    ]
    shown = trace.by_phase["X"][0]["args"]
    assert shown["task_id"] == 1
    assert shown["waited_s"] == 1.0
    assert shown["args"] == [["C"], {}]
    assert "error" not in shown


def test_arrows_lead_from_results_to_the_tasks_they_led_to(tmp_path: Path) -> None:
    tasks = [
        ran(1, "w1", 1.0, 2.0),
        ran(2, "w2", 1.0, 2.5),
        ran(3, "w1", 3.0, 4.0, because=(1, 2, 77)),
        ran(4, "w2", 4.0, 5.0, because=(3,)),
    ]
    assert trace_of(make(tmp_path, tasks, [])).arrows() == [(1, 3), (2, 3), (3, 4)]


def test_attempts_before_the_last_are_runs_and_arrows_lead_to_the_first(tmp_path: Path) -> None:
    early = AttemptEntry(1, "failed: E", "w2", "far", 3.0, 3.0, 3.5, 3.5, None)
    again = ran(2, "w1", 5.0, 6.0, because=(1,), earlier=[early], attempt=2)
    tasks = [ran(1, "w1", 1.0, 2.0), again]
    trace = trace_of(make(tmp_path, tasks, []))
    assert ("far: simulate", "w2", "energy", 3 * S, 3_500_000, "tried again") in trace.runs()
    assert trace.by_phase["f"][0]["ts"] == 3 * S
    assert trace.arrows() == [(1, 2)]


def test_runs_that_clocks_have_overlap_share_the_time(tmp_path: Path) -> None:
    """A worker's times are corrected anew with each report, and attempts are recorded late."""
    early = AttemptEntry(1, "failed: E", "w1", "node", 0.5, 0.5, 1.000_002, 1.1, None)
    tasks = [
        ran(1, "w1", 1.0, 2.000_003),
        ran(2, "w1", 2.0, 3.0, because=(1,)),
        ran(3, "w2", 4.0, 5.0, earlier=[early], attempt=2),
    ]
    begins = [(run[3], run[4]) for run in trace_of(make(tmp_path, tasks, [])).runs()[:3]]
    assert begins == [(500_000, S), (S, 2_000_003), (2_000_003, 3 * S)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=30))
def test_runs_on_a_track_never_overlap(times: list[tuple[int, int]]) -> None:
    track = Track(1, 1, 2)
    taken = sorted(track.take(begin, begin + length) for begin, length in times)
    assert all(begin <= end for begin, end in taken)
    assert all(a[1] <= b[0] for a, b in pairwise(taken))


def test_a_task_that_ended_in_the_queue_is_an_instant_of_its_pool(tmp_path: Path) -> None:
    task = ran(1, "", 1.0, 2.0, ended_as="cancelled", attempt=0, sent=None, started=None)
    trace = trace_of(make(tmp_path, [task], []))
    assert trace.instants() == [("pool simulate", "tasks and workers", "energy cancelled", 2 * S)]


def test_queues_and_workers_are_counters(tmp_path: Path) -> None:
    events = [
        ev.PoolChanged(1, 0.5, "simulate", 2),
        queued(2, 1.0, 1), queued(3, 1.0, 2), queued(4, 1.0, 3),
        started(5, 2.0, 1), ended(6, 3.0, 1), started(7, 3.0, 2),
        ev.TaskRetried(8, 4.0, 2, "search:energy", "simulate", 1, "lost"),
        ended(9, 5.0, 3, None),
        queued(10, 6.0, 2, "learn"),
    ]  # fmt: skip
    trace = trace_of(make(tmp_path, [], events))
    found = trace.counters("simulate")
    assert found["queued"] == [
        (500_000, 0), (S, 3), (2 * S, 2), (3 * S, 1), (4 * S, 2), (5 * S, 1), (6 * S, 0)
    ]  # fmt: skip
    assert found["busy"] == [
        (500_000, 0), (S, 0), (2 * S, 1), (3 * S, 1), (4 * S, 0), (5 * S, 0), (6 * S, 0)
    ]  # fmt: skip
    assert {value for _, value in found["all"]} == {2}
    assert trace.counters("learn")["queued"] == [(6 * S, 1)]


def test_counters_of_many_tasks_have_a_bounded_number_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_events, "SAMPLES", 10)
    events = [queued(number, number / 100, number) for number in range(1, 1001)]
    trace = trace_of(make(tmp_path, [ran(2000, "w1", 1.0, 10.0)], events))
    found = trace.counters("simulate")["queued"]
    assert 10 <= len(found) <= 13
    assert found[-1] == (10 * S, 1000)
    assert all(depth == round(at / S * 100) for at, depth in found)


def test_boards_are_counters_and_stalls_have_their_length(tmp_path: Path) -> None:
    events = [
        ev.BoardChanged(1, 1.0, "Search.todo", "simulate", 7, 2, 0, 0.0, "Search"),
        ev.LoopStalled(2, 4.0, "Search.think", 1.5, "think (search.py:3)"),
        ev.BoardChanged(3, 5.0, "Search.todo", "simulate", 4, 2, 3, 4.0, "Search"),
    ]
    trace = trace_of(make(tmp_path, [], events))
    counted = [each for each in trace.by_phase["C"] if each["name"] == "board Search.todo"]
    assert [(each["ts"], each["args"]) for each in counted] == [
        (S, {"waiting": 7, "out": 2}), (5 * S, {"waiting": 4, "out": 2}),
    ]  # fmt: skip
    (stall,) = [each for each in trace.by_phase["X"] if each["cat"] == "LoopStalled"]
    assert (stall["name"], stall["ts"], stall["dur"]) == ("Search.think", 2_500_000, 1_500_000)


def test_moves_losses_and_notes_are_instants(tmp_path: Path) -> None:
    events = [
        ev.NodeJoined(1, 1.0, "node", "host", {"simulate": 2}),
        ev.WorkerMoved(2, 2.0, "w1", "learn", "simulate", "node"),
        ev.WorkerLost(3, 3.0, "w1", "learn", "node", "killed", 7),
        ev.Published(4, 4.0, "Progress", {"best": 0.5}, "campaign"),
        ev.PoolStalled(5, 5.0, "learn", 3, "no workers"),
        ev.VersionPublished(6, 6.0, "model", 1, 100, "campaign"),
        ev.WorkerRetired(7, 7.0, "w1", "learn", "node", "drained"),
    ]
    trace = trace_of(make(tmp_path, [], events))
    assert trace.instants() == [
        ("campaign", "nodes", "NodeJoined", 1 * S),
        ("campaign", "notes", "Progress", 4 * S),
        ("campaign", "versions", "VersionPublished", 6 * S),
        ("node: learn", "w1", "WorkerLost", 3 * S),
        ("node: learn", "w1", "WorkerMoved", 2 * S),
        ("node: learn", "w1", "WorkerRetired", 7 * S),
        ("pool learn", "tasks and workers", "PoolStalled", 5 * S),
    ]
    (note,) = (e for e in trace.by_phase["i"] if e["name"] == "Progress")
    assert note["args"]["value"] == {"best": 0.5}


def test_a_run_that_goes_on_is_open_and_one_that_was_cut_off_ends_there(tmp_path: Path) -> None:
    joined = ev.WorkerJoined(1, 0.5, "w1", "simulate", "node", 7)
    make(tmp_path, [], [joined, queued(2, 1.0, 1), started(3, 1.0, 1), queued(4, 2.0, 2)])
    again = ev.WorkerJoined(5, 4.5, "w1", "simulate", "node", 8)
    make(tmp_path, [], [again, started(6, 5.0, 3)])
    trace = trace_of(tmp_path)
    assert trace.runs() == [("node: simulate", "w1", "energy", S, 2 * S, "cut off")]
    (going_on,) = trace.by_phase["B"]
    assert (going_on["ts"], going_on["args"]["task_id"]) == (5 * S, 3)
    assert trace.counters("simulate")["queued"][-1][1] == 0


def test_names_of_any_text_are_shown(tmp_path: Path) -> None:
    odd = 'a"\\\n\u2028<script>ß'
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "parameters.json").write_text(json.dumps({"campaign": ODD}))
    task = ran(1, odd, 1.0, 2.0, pool=odd, node=odd, task_type=f"m:{odd}", error=odd)
    trace = trace_of(make(folder, [task], []))
    assert trace.runs() == [(f"{odd}: {odd}", odd, odd, S, 2 * S, "succeeded")]


def test_the_same_record_makes_the_same_file_also_compressed(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", [ran(1, "w1", 1.0, 2.0)], [])
    files = [tmp_path / name for name in ("a.json.gz", "b.json.gz", "c.json")]
    for file in files:
        export_trace(folder, file, force=False)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert Trace(files[0]).runs() == Trace(files[2]).runs()


@given(value=st.text() | st.integers() | st.floats(allow_nan=False) | st.none())
def test_lines_of_any_content_make_a_trace(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True)
    kinds = ("TaskQueued", "TaskStarted", "TaskEnded", "PoolChanged", "WorkerLost", "Published")
    odd = [value, [value], {"a": value}, True]
    with (folder / TASKS_FILE).open("w") as file:
        for each in odd:
            file.write(json.dumps(dict.fromkeys(TASK_COLUMNS, each)) + "\n")
            file.write(json.dumps({**dict.fromkeys(TASK_COLUMNS, each), "task_id": 1}) + "\n")
    with (folder / "events.jsonl").open("w") as file:
        for each in odd:
            names = ("task_id", "pool", "worker", "node", "workers", "incarnation", "topic")
            for kind in kinds:
                fields = {**dict.fromkeys(names, each), "type": kind, "at": 1.0}
                file.write(json.dumps(fields) + "\n")
    export_trace(folder, folder / "trace.json", force=False)
    json.loads((folder / "trace.json").read_bytes())


def test_numbers_are_kept_for_any_task(tmp_path: Path) -> None:
    numbers = NumberByTask("q")
    ids = [0, 1, -1, 1 << 40, (1 << 40) + 4096, 2**64]
    for index, task_id in enumerate(ids, 1):
        assert numbers[task_id] == 0
        numbers[task_id] = index
    assert [numbers[task_id] for task_id in ids] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", [], [])
    (tmp_path / "t.json").touch()
    with pytest.raises(UsageError, match="is there already"):
        export_trace(folder, tmp_path / "t.json", force=False)
