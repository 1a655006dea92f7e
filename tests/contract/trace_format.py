"""The rules of Chrome's trace events, as viewers hold to them: a trace is read, and checked.

The format is described in "Trace Event Format" of the Chromium project. Perfetto's importer finds a
thread by its number alone, wants the runs of a thread to nest, and binds an arrow to the run that
encloses its time.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

REQUIRED = {
    "M": {"name", "pid", "args"},
    "X": {"name", "cat", "ts", "dur", "pid", "tid"},
    "B": {"name", "cat", "ts", "pid", "tid"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "C": {"name", "ts", "pid", "args"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
}
METADATA = {"process_name": str, "thread_name": str, "process_sort_index": int}
Run = tuple[int, int]


class Trace:
    """A trace that was read and found to be in order.

    Attributes:
        about: what it says of itself.
        by_phase: its events, by their ``ph``.
        processes, threads: their names; a thread's with the process's before it.
    """

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        whole = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
        assert set(whole) == {"traceEvents", "otherData", "displayTimeUnit"}
        assert whole["displayTimeUnit"] in ("ms", "ns")
        self.about: dict[str, str] = whole["otherData"]
        assert all(isinstance(value, str) for value in self.about.values())
        self.by_phase: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in whole["traceEvents"]:
            self._check_event(event)
            self.by_phase[event["ph"]].append(event)
        self.processes: dict[int, str] = {}
        self.threads: dict[int, tuple[str, str]] = {}
        self._read_names()
        self._runs = self._check_runs()
        self._check_arrows()

    def _check_event(self, event: dict[str, Any]) -> None:
        assert REQUIRED[event["ph"]] <= set(event), event
        for name in ("ts", "dur", "pid", "tid", "id"):
            assert type(event.get(name, 0)) is int, event
            assert 0 <= event.get(name, 0) < 2**53, event
        for name in ("name", "cat"):
            assert isinstance(event.get(name, ""), str), event
        assert isinstance(event.get("args", {}), dict), event
        if event["ph"] == "C":
            assert event["args"]
            assert all(isinstance(value, (int, float)) for value in event["args"].values())
        if event["ph"] == "i":
            assert event["s"] in "gpt"

    def _read_names(self) -> None:
        for event in self.by_phase["M"]:
            kind = METADATA[event["name"]]
            assert isinstance(next(iter(event["args"].values())), kind)
            if event["name"] == "process_name":
                assert event["pid"] not in self.processes, "a process has one name"
                self.processes[event["pid"]] = event["args"]["name"]
            elif event["name"] == "thread_name":
                assert event["tid"] not in self.threads, "a thread is found by its number alone"
                self.threads[event["tid"]] = self.processes[event["pid"]], event["args"]["name"]
        assert not set(self.processes) & set(self.threads)
        for events in self.by_phase.values():
            for event in events:
                assert event["pid"] in self.processes
                if "tid" in event:
                    assert self.threads[event["tid"]][0] == self.processes[event["pid"]]

    def _check_runs(self) -> dict[int, list[Run]]:
        runs: dict[int, list[Run]] = defaultdict(list)
        for event in self.by_phase["X"]:
            runs[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        for listed in runs.values():
            listed.sort()
            for (_, end), (begin, _) in pairwise(listed):
                assert end <= begin, "runs of one thread overlap"
        for event in self.by_phase["B"]:
            assert all(end <= event["ts"] for _, end in runs[event["tid"]])
        return runs

    def _check_arrows(self) -> None:
        since = {event["id"]: event for event in self.by_phase["s"]}
        until = {event["id"]: event for event in self.by_phase["f"]}
        assert len(since) == len(self.by_phase["s"])
        assert set(since) == set(until)
        for number, event in since.items():
            assert event["ts"] <= until[number]["ts"], "an arrow goes back in time"
            assert (event["name"], event["cat"]) == (until[number]["name"], until[number]["cat"])
            assert until[number]["bp"] == "e"
            for end in (event, until[number]):
                at, runs = end["ts"], self._runs[end["tid"]]
                assert any(b <= at < e or at == b == e for b, e in runs), (
                    "an arrow hangs in the air"
                )

    def runs(self) -> list[tuple[str, str, str, int, int, str]]:
        """Return process, thread, name, begin, end and kind of each run that ended, in order."""
        return sorted(
            (*self.threads[e["tid"]], e["name"], e["ts"], e["ts"] + e["dur"], e["cat"])
            for e in self.by_phase["X"]
        )

    def arrows(self) -> list[tuple[int, int]]:
        """Return the tasks that arrows lead from and to."""
        heads = {event["id"]: event for event in self.by_phase["f"]}
        return sorted((self._task_at(s), self._task_at(heads[s["id"]])) for s in self.by_phase["s"])

    def _task_at(self, end: dict[str, Any]) -> int:
        (found,) = (
            event["args"]["task_id"]
            for event in self.by_phase["X"]
            if event["tid"] == end["tid"]
            and event["ts"] <= end["ts"] <= event["ts"] + max(0, event["dur"] - 1)
        )
        return found

    def counters(self, pool: str) -> dict[str, list[tuple[int, float]]]:
        """Return the values of a pool's counters over time."""
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for event in self.by_phase["C"]:
            if self.processes[event["pid"]] == f"pool {pool}":
                for name, value in event["args"].items():
                    found[name].append((event["ts"], value))
        assert all(values == sorted(values, key=lambda v: v[0]) for values in found.values())
        return found

    def instants(self) -> list[tuple[str, str, str, int]]:
        """Return process, thread, name and time of each instant, in order."""
        return sorted((*self.threads[e["tid"]], e["name"], e["ts"]) for e in self.by_phase["i"])
