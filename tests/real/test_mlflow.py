"""A model that workers train again and again leaves its curve in MLflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import steerio
from tests.contract.mlflow_records import Record, its_own_warnings, needs_mlflow, quieten

pytestmark = [needs_mlflow, its_own_warnings, pytest.mark.timeout(300)]
URI = "sqlite:///runs/mlflow.db"


def train(points: int) -> np.ndarray:
    return np.full(50_000, 1.0 / points)


def error(weights: np.ndarray, truth: float) -> float:
    return abs(float(weights[0]) - truth)


async def test_three_versions_and_the_errors_of_results_that_used_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quieten(monkeypatch, tmp_path)
    async with steerio.open_session(workers={"default": 2}, name="surrogates") as session:
        models = steerio.MlflowVersions(
            session.versions("model"), experiment="search", tracking_uri=URI
        )
        scales = steerio.MlflowVersions(  # two that make the same new database
            session.versions("scale"), experiment="scales", tracking_uri=URI
        )
        await scales.publish(2.0, metrics={"scale": 2.0})
        for points in (1, 2, 4):
            weights = await session.run(train, points)
            await models.publish(weights, metrics={"spread": 0.0}, params={"points": points})
            task = session.submit(error, models.latest, 0.0)
            result = await task.result()
            assert isinstance(result, steerio.Succeeded)
            models.log({"error": result.value}, version=result.versions["model"])
        assert await models.close(within_s=250) == {}
        assert await scales.close(within_s=250) == {}

    assert Record(URI, "scales").curve("scale") == [(1, 2.0)]
    record = Record(URI, "search")
    assert record.parents[0].info.run_name == "surrogates: model"
    assert record.curve("error") == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert [run.data.params["points"] for _, run in sorted(record.versions.items())] == [
        "1", "2", "4",
    ]  # fmt: skip
