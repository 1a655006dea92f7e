"""MLflow as tests read it: its own client on a database file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="takes MLflow: pip install 'steerio[mlflow]'"
)
its_own_warnings = pytest.mark.filterwarnings(
    # SQLAlchemy 2.1 of what MLflow does as its tables are mapped
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)


def quieten(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have MLflow keep no connection open, tell nobody, not try again, and write into a folder."""
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(folder)


class Record:
    """What an experiment has."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        import mlflow  # it takes seconds, and is not there for all

        self.client: Any = mlflow.MlflowClient(tracking_uri=tracking_uri)
        self.id = self.client.get_experiment_by_name(experiment).experiment_id
        runs = self.client.search_runs([self.id], order_by=["attributes.start_time"])
        self.parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.versions = {
            int(run.data.tags["steerio.version"]): run for run in runs if run not in self.parents
        }

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """Return the steps and values of a metric in the one run that versions are below."""
        [parent] = self.parents
        history = self.client.get_metric_history(parent.info.run_id, metric)
        return sorted((point.step, point.value) for point in history)

    def artifact(self, version: int, file: str) -> Path:
        """Return where the artifact of a version is."""
        run = self.versions[version].info.run_id
        assert [found.path for found in self.client.list_artifacts(run)] == [file]
        return Path(self.client.download_artifacts(run, file))
