"""Runs in MLflow: one for a name of versions, and below it one for each version."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

QUEUED = 10_000
"""Longest queue; entries that come while it is full are not recorded."""
SQLITE = "sqlite:///"

log = logging.getLogger("steerio.edge")


@dataclass(frozen=True)
class Published:
    """Parameters, tags and artifact of a version, recorded once, as it is published."""

    params: dict[str, Any]
    tags: dict[str, str]
    file: str = ""
    artifact: bytes = b""


@dataclass(frozen=True)
class Entry:
    """One thing to record: metrics of a version, and at first the version itself."""

    version: int
    metrics: dict[str, float]
    at_ms: int
    published: Published | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of an artifact that it keeps in memory."""
        return len(self.published.artifact) if self.published else 0

    def __str__(self) -> str:
        return f"version {self.version}" if self.published else f"metrics of version {self.version}"


class MlflowRuns:
    """Writes to MLflow; every method blocks, and raises any exception of MLflow."""

    def __init__(
        self,
        experiment: str,
        tracking_uri: str | None,
        run_name: str,
        version_name: str,
        tags: dict[str, str],
    ) -> None:
        self._name = experiment
        self._tracking_uri = tracking_uri
        self._run_name = run_name
        self._version_name = version_name
        self._tags = tags
        self._client: Any = None
        self._experiment = ""
        self._run = ""
        self._versions: dict[int, str] = {}
        """The runs of versions."""

    def write(self, entry: Entry) -> None:
        """Record an entry; the first opens the run above all versions."""
        client = self._opened()
        entities: Any = import_module("mlflow.entities")
        metrics = [
            entities.Metric(name, value, entry.at_ms, entry.version)
            for name, value in entry.metrics.items()
        ]
        client.log_batch(self._run, metrics=metrics)
        if entry.published is None:
            run = self._versions.get(entry.version)
            if run is not None:
                client.log_batch(run, metrics=metrics)
            return
        published = entry.published
        tags = {"mlflow.parentRunId": self._run, "steerio.version": str(entry.version)}
        run = self._create(f"{self._version_name} {entry.version}", tags | published.tags)
        self._versions[entry.version] = run
        params = [entities.Param(name, str(value)) for name, value in published.params.items()]
        client.log_batch(run, metrics=metrics, params=params)
        if published.file:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, published.file)
                path.write_bytes(published.artifact)
                client.log_artifact(run, str(path))
        client.set_terminated(run)

    def end(self, status: str) -> None:
        """End the run above all versions, if it was opened."""
        if self._run:
            self._client.set_terminated(self._run, status)

    def _opened(self) -> Any:
        if self._client is None:
            if self._tracking_uri is not None and self._tracking_uri.startswith(SQLITE):
                # MLflow would try again and again to open a file in a folder that is not there
                path = Path(self._tracking_uri.removeprefix(SQLITE))
                path.parent.mkdir(parents=True, exist_ok=True)
            mlflow: Any = import_module("mlflow")
            self._client = mlflow.MlflowClient(tracking_uri=self._tracking_uri)
        if not self._experiment:
            self._experiment = self._find_experiment()
        if not self._run:
            self._run = self._create(self._run_name, self._tags)
        return self._client

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._name)
        if found is None:
            try:
                return str(self._client.create_experiment(self._name))
            except Exception:
                # another process may have created it in between
                found = self._client.get_experiment_by_name(self._name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _create(self, name: str, tags: dict[str, str]) -> str:
        return str(self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id)


class Recorder:
    """Writes entries in a thread of its own, in order, and counts those that were not written.

    Its methods are for one thread, and never wait for MLflow.
    """

    def __init__(self, runs: MlflowRuns) -> None:
        self.recorded = 0
        """The number of entries that were written."""
        self.missed: Counter[str] = Counter()
        """The entries that were not written, with the number of times."""
        self.nbytes = 0
        """Bytes of artifacts that wait."""
        self.closed = False
        self.ended: Future[None] = Future()
        """Done once the thread has written all its entries."""
        self.ended.set_running_or_notify_cancel()  # a caller that waits for it cannot cancel it
        self._runs = runs
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._under_way: Entry | None = None
        self._failing = False
        self._given_up = False
        self._status = ""
        self._thread: threading.Thread | None = None

    def put(self, entry: Entry) -> None:
        """Have an entry written."""
        if self.closed or self._queue.qsize() >= QUEUED:
            reason = "the record was closed" if self.closed else f"{QUEUED} entries wait already"
            self.miss(str(entry), reason)
            return
        if self._thread is None:
            # a daemon: an interpreter that ends does not wait for a server that hangs
            self._thread = threading.Thread(target=self._serve, name="steerio-mlflow", daemon=True)
            self._thread.start()
        with self._lock:
            self.nbytes += entry.nbytes
        self._queue.put(entry)

    def miss(self, what: str, reason: object) -> None:
        """Count an entry that is not recorded; log the first in a row, with the reason."""
        with self._lock:
            self.missed[what] += 1
            said, self._failing = self._failing, True
        if not said:
            log.warning("%s is not recorded in MLflow (others may follow): %s", what, reason)

    def finish(self, status: str = "FINISHED") -> None:
        """Take no more entries; the thread ends after those it has."""
        if self.closed:
            return
        self.closed, self._status = True, status
        if self._thread is None:
            self.ended.set_result(None)
        else:
            self._queue.put(None)

    def give_up(self) -> None:
        """Count all entries not written yet as missed; the thread ends after the one under way."""
        with self._lock:
            self._given_up = True
            under_way, self._under_way = self._under_way, None
            left = [under_way] if under_way else []
            while True:
                try:
                    entry = self._queue.get_nowait()
                except Empty:
                    break
                left += [entry] if entry else []
            self.missed.update(str(entry) for entry in left)
        self._queue.put(None)

    # -- in the thread -------------------------------------------------------------------------

    def _serve(self) -> None:
        while (entry := self._queue.get()) is not None:
            with self._lock:
                self._under_way = entry
            try:
                self._runs.write(entry)
            except Exception as error:  # noqa: BLE001 - whatever it is, the campaign goes on
                if self._done(entry):
                    self.miss(str(entry), f"{type(error).__name__}: {error}")
            else:
                if self._done(entry):
                    self.recorded += 1
                    self._failing = False
        if not self._given_up:
            try:
                self._runs.end(self._status)
            except Exception as error:  # noqa: BLE001 - as above
                self.miss("the end of the run", f"{type(error).__name__}: {error}")
        self.ended.set_result(None)

    def _done(self, entry: Entry) -> bool:
        """Note that an entry is not under way any more; ``False`` if it was given up meanwhile."""
        with self._lock:
            self.nbytes -= entry.nbytes
            counts, self._under_way = self._under_way is entry, None
        return counts
