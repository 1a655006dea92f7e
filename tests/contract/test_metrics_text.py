"""A run's state is text that Prometheus' own parser takes in, with a bounded number of series."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from steerio.edge.record.record_files import RecordFiles
from steerio.model import events as ev
from steerio.view.metrics_text import LONGEST_LABEL, metrics_text
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import LimitUse, RunSnapshot, Spread
from tests.contract.test_record_files import ODD, entry

SAMPLE = re.compile(
    r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    r'(\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*")*\})?'
    r" (NaN|[+-]Inf|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)"
)
"""A sample, by the grammar of the text format."""


def snapshot(folder: Path, kinds: int = 1, name: str = "search:energy") -> RunSnapshot:
    """Return the snapshot of a run with a task of each kind that ended, and one that runs."""
    folder.mkdir()
    files = RecordFiles(folder)
    events: list[Any] = [
        ev.NodeJoined(1, 9.0, "node", "host", {"simulate": 2}),
        ev.WorkerJoined(2, 9.5, "simulate-1", "simulate", "node", 7),
        ev.PoolChanged(3, 9.5, "simulate", 1),
    ]
    tasks = []
    for number in range(1, kinds + 1):
        kind = name if kinds == 1 else f"{name}{number}"
        tasks.append(entry(number, task_type=kind))
        about = (number, kind, "simulate")
        events += [
            ev.TaskQueued(len(events) + 1, 10.5, *about),
            ev.TaskStarted(len(events) + 2, 11.0, *about, 1, "simulate-1"),
            ev.TaskEnded(len(events) + 3, 12.5, *about, 1, "simulate-1", "succeeded", 0.5),
        ]
    board = ("Search.todo", "simulate", 7, 2, 9, 3.0, "Search")
    events += [
        ev.BoardChanged(len(events) + 1, 12.6, *board),
        ev.LoopStalled(len(events) + 2, 12.7, "Search.think", 1.5, "think (search.py:3)"),
    ]
    events.append(ev.TaskQueued(len(events) + 1, 13.0, 999, "search:late", "simulate"))
    files.write(tasks, events)
    files.close()
    reader = RunReader(folder)
    reader.read_all()
    return reader.snapshot()


def families(text: str) -> dict[str, Any]:
    """Return the families of a text, which holds to the grammar line by line."""
    assert text.endswith("\n")
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or SAMPLE.fullmatch(line), line
    found = {family.name: family for family in text_string_to_metric_families(text)}
    series = Counter(
        (sample.name, *sorted(sample.labels.items()))
        for family in found.values()
        for sample in family.samples
    )
    assert set(series.values()) == {1}, "a series is there once"
    return found


def values(family: Any) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_tasks_workers_and_queues_are_counted(tmp_path: Path) -> None:
    found = families(metrics_text(snapshot(tmp_path / "run")))
    assert values(found["steerio_tasks_ended"])["succeeded",] == 1
    ended = values(found["steerio_task_type_ended"])
    assert ended["search:energy", "simulate", "succeeded"] == 1
    assert ended["search:energy", "simulate", "failed"] == 0
    assert values(found["steerio_queue_depth"])["simulate",] == 1
    assert values(found["steerio_workers"])["simulate", "idle"] == 1
    assert found["steerio_tasks_ended"].type == "counter"
    assert found["steerio_workers"].type == "gauge"
    (info,) = found["steerio_run_info"].samples
    assert info.labels["run"] == "run"


def test_boards_and_stalls_are_counted(tmp_path: Path) -> None:
    found = families(metrics_text(snapshot(tmp_path / "run")))
    board = ("Search.todo", "Search", "simulate")
    assert values(found["steerio_board_waiting"])[board] == 7
    assert values(found["steerio_board_ended"])[board] == 9
    assert values(found["steerio_board_oldest_seconds"])[board] >= 3.0
    assert values(found["steerio_loop_stalls"])["Search.think",] == 1
    assert values(found["steerio_loop_stalled_seconds"])["Search.think",] == 1.5


def test_run_times_are_a_summary(tmp_path: Path) -> None:
    family = families(metrics_text(snapshot(tmp_path / "run")))["steerio_task_run_seconds"]
    assert family.type == "summary"
    of_one = {s.name: s.value for s in family.samples if s.labels["task_type"] == "search:energy"}
    assert of_one["steerio_task_run_seconds_count"] == 1
    assert math.isclose(of_one["steerio_task_run_seconds_sum"], 0.5, rel_tol=0.05)
    assert math.isclose(of_one["steerio_task_run_seconds"], 0.5, rel_tol=0.05)


def test_the_sum_of_a_summary_is_not_that_of_a_rounded_mean(made: RunSnapshot) -> None:
    kind = made.types[0]
    run = structs.replace(kind.run, count=3, mean=0.3333, total=1.00001)
    changed = structs.replace(made, types=(structs.replace(kind, run=run),))
    family = families(metrics_text(changed))["steerio_task_run_seconds"]
    (total,) = [each.value for each in family.samples if each.name.endswith("_sum")]
    assert total == 1.00001


def test_a_pool_that_is_paused_is_one(made: RunSnapshot) -> None:
    (pool,) = made.pools
    for why, value in (("by ada: to look", 1), ("", 0)):
        paused = structs.replace(made, pools=(structs.replace(pool, paused=why),))
        found = families(metrics_text(paused))
        assert values(found["steerio_pool_paused"])["simulate",] == value


def test_the_number_of_series_does_not_grow_with_the_run(tmp_path: Path) -> None:
    few = metrics_text(snapshot(tmp_path / "few", kinds=30))
    many = metrics_text(snapshot(tmp_path / "many", kinds=90))
    assert few.count("\n") == many.count("\n")
    assert len(families(many)["steerio_tasks_open"].samples) == 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunSnapshot:
    return snapshot(tmp_path_factory.mktemp("made") / "run")


@given(name=st.text(st.characters(blacklist_categories=["Cs"]), max_size=300))
def test_labels_of_any_text_are_escaped(made: RunSnapshot, name: str) -> None:
    header = msgspec.structs.replace(made.header, campaign=name)
    text = metrics_text(msgspec.structs.replace(made, header=header))
    (info,) = families_by_lf(text)["steerio_run_info"].samples
    short = name if len(name) <= LONGEST_LABEL else name[:LONGEST_LABEL] + "..."
    assert info.labels["campaign"] == short


def families_by_lf(text: str) -> dict[str, Any]:
    """Return the families of a text whose labels may have any characters but line feeds."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_odd_names_and_numbers_have_a_form(tmp_path: Path) -> None:
    made = snapshot(tmp_path / "run", name='a:"\\\nß')
    limit = LimitUse("worker_s", math.inf, math.nan)
    header = msgspec.structs.replace(made.header, run=ODD, limits=(limit,))
    made = msgspec.structs.replace(made, header=header, run=Spread(0, 0, 0, 0, 0, 0, 0, 0))
    found = families(metrics_text(made))
    assert found["steerio_run_info"].samples[0].labels["run"] == "run-\\udcff"
    assert values(found["steerio_limit_used"])["worker_s",] == math.inf
    assert math.isnan(values(found["steerio_limit_bound"])["worker_s",])
    assert 'a:"\\\nß' in {s.labels["task_type"] for s in found["steerio_tasks_open"].samples}
    no_runs = {s.name: s.value for s in found["steerio_phase_seconds"].samples
               if s.labels["phase"] == "run"}  # fmt: skip
    assert no_runs == {"steerio_phase_seconds_sum": 0, "steerio_phase_seconds_count": 0}
