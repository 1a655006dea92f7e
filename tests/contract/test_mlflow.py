"""What is published is recorded in MLflow, or said not to be; nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steerio import MlflowVersions, Versions
from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.broker.store_sweeper import StraightSweeper
from steerio.client.client import Client
from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.memory import MemoryRouter
from steerio.errors import UsageError
from steerio.model.objects import StoreSetting
from steerio.session.session_store import SessionStore
from tests.contract.mlflow_records import Record, its_own_warnings, needs_mlflow, quieten
from tests.contract.redis_servers import refusing_port

pytestmark = [needs_mlflow, its_own_warnings, pytest.mark.timeout(240)]

LONG_S = 200.0
"""Importing MLflow and making a database takes seconds, and on a busy machine many."""


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a database for all tests here, whose experiments have different names."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/new/mlflow.db"


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quieten(monkeypatch, tmp_path)


@contextlib.asynccontextmanager
async def versions() -> AsyncGenerator[Versions]:
    router, whole = MemoryRouter(), MemoryStore()
    driver = Driver(Broker([router], sweeper=StraightSweeper(whole)))
    driver.start(stand_in=False)
    client = Client(router.link(), watched=False)
    await client.join("search")
    store = SessionStore(client, StoreSetting(), whole)
    try:
        yield Versions(store, "model")
    finally:
        client.close()
        await store.close()
        driver.close("the end")


async def test_a_run_has_curves_and_a_run_for_each_version(uri: str, experiment: str) -> None:
    async with versions() as plain:
        models = MlflowVersions(plain, experiment=experiment, tracking_uri=uri)
        for number, rmse in enumerate([0.5, np.float32(0.25)], start=1):
            published = await models.publish(
                bytes(1000),
                metrics={"rmse": rmse},
                params={"epochs": 10 * number, "kernel": "rbf"},
                tags={"trained on": number},
            )
            assert published == number == models.seen
        models.log({"error": 3}, version=1)
        models.log({"error": 4}, version=7)  # of another client, say
        assert await models.close(within_s=LONG_S) == {}
        assert models.recorded == 4

    record = Record(uri, experiment)
    [parent] = record.parents
    assert (parent.info.run_name, parent.info.status) == ("search: model", "FINISHED")
    assert parent.data.tags["steerio.client"] == "search"
    assert record.curve("rmse") == [(1, 0.5), (2, 0.25)]
    assert record.curve("error") == [(1, 3.0), (7, 4.0)]
    assert [step for step, nbytes in record.curve("nbytes") if nbytes >= 1000] == [1, 2]
    assert set(record.versions) == {1, 2}
    first, second = record.versions[1], record.versions[2]
    assert first.data.params == {"epochs": "10", "kernel": "rbf"}
    assert second.data.params == {"epochs": "20", "kernel": "rbf"}
    assert (first.data.metrics["rmse"], first.data.metrics["error"]) == (0.5, 3.0)
    assert first.data.tags["trained on"] == "1"
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (second.info.run_name, second.info.status) == ("model 2", "FINISHED")


async def test_values_are_artifacts_up_to_a_size(
    uri: str, experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    array, other = np.arange(100.0), {"weights": [1.5, 2.5]}
    async with versions() as plain:
        models = MlflowVersions(plain, experiment=experiment, tracking_uri=uri, artifact_bytes=2000)
        async with models:
            await models.publish(array)
            array[:] = 0  # what is recorded is what was published
            await models.publish(other)
            await models.publish(bytes(3000))
        assert models.not_recorded == {"artifact of version 3": 1}
    assert "artifact_bytes=2000" in caplog.text

    record = Record(uri, experiment)
    assert np.array_equal(np.load(record.artifact(1, "model.npy")), np.arange(100.0))
    assert pickle.loads(record.artifact(2, "model.pkl").read_bytes()) == other
    assert set(record.versions) == {1, 2, 3}, "the version itself is recorded"


async def test_a_campaign_that_failed_has_a_run_that_did(uri: str, experiment: str) -> None:
    async with versions() as plain:
        with contextlib.suppress(ZeroDivisionError):
            async with MlflowVersions(plain, experiment=experiment, tracking_uri=uri) as models:
                await models.publish(1)
                raise ZeroDivisionError
    [parent] = Record(uri, experiment).parents
    assert parent.info.status == "FAILED"


async def test_a_record_that_nobody_closes_ends_with_its_session(uri: str, experiment: str) -> None:
    async with versions() as plain:
        models = MlflowVersions(plain, experiment=experiment, tracking_uri=uri)
        await models.publish(1)
    assert await models.close(within_s=LONG_S) == {}
    assert Record(uri, experiment).parents[0].info.status == "FINISHED"


async def test_what_mlflow_refuses_is_missed_and_the_rest_recorded(
    uri: str, experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with versions() as plain:
        models = MlflowVersions(plain, experiment=experiment, tracking_uri=uri)
        await models.publish(1, metrics={"a?b": 1.0})
        await models.publish(2, metrics={"fine": 1.0})
        assert await models.close(within_s=LONG_S) == {"version 1": 1}
        assert models.recorded == 1
    assert "a?b" in caplog.text
    assert set(Record(uri, experiment).versions) == {2}


async def test_a_server_that_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with versions() as plain:
        with refusing_port() as port:
            models = MlflowVersions(plain, experiment="x", tracking_uri=f"http://127.0.0.1:{port}")
            assert [await models.publish(value) for value in "abc"] == [1, 2, 3]
            missed = await models.close(within_s=LONG_S)
        assert missed == {"version 1": 1, "version 2": 1, "version 3": 1}
        assert await (await plain.current()) == "c", "the campaign has it nevertheless"
    said = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(said) == 2, "the first failure in a row, and the sum at the end"
    assert "version 1" in said[0].message
    assert str(port) in said[0].message
    assert "version 1, version 2, version 3" in said[1].message


async def test_a_server_that_says_nothing_is_waited_for_within_a_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with versions() as plain:
            models = MlflowVersions(plain, experiment="x", tracking_uri=f"http://127.0.0.1:{port}")
            await models.publish("a")
            connection, _ = await asyncio.to_thread(server.accept)
            models.log({"error": 1.0}, version=1)
            missed = await models.close(within_s=0.01)
            assert missed == {"version 1": 1, "metrics of version 1": 1}
            connection.close()
    assert "within 0.01 s" in caplog.text
    assert models.not_recorded == missed


async def test_what_cannot_be_recorded_is_refused_before_it_is_published(uri: str) -> None:
    async with versions() as plain:
        models = MlflowVersions(plain, experiment="x", tracking_uri=uri)
        wrongs: list[Any] = ["0.5", None, [1.0, 2.0]]
        for wrong in wrongs:
            with pytest.raises(UsageError, match="'rmse' is not a number"):
                await models.publish(1, metrics={"rmse": wrong})
            with pytest.raises(UsageError, match="'rmse' is not a number"):
                models.log({"rmse": wrong}, version=1)
        assert await models.close() == {}
        with pytest.raises(UsageError, match="was closed"):
            await models.publish(1)
        assert await plain.publish(1) == 1, "nothing was published before"
        with pytest.raises(UsageError, match="needs a name"):
            MlflowVersions(plain, experiment="")
        with pytest.raises(UsageError, match="not -1"):
            MlflowVersions(plain, experiment="x", artifact_bytes=-1)


async def test_without_mlflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    async with versions() as plain:
        with pytest.raises(UsageError, match=r"pip install 'steerio\[mlflow\]'"):
            MlflowVersions(plain, experiment="x")
