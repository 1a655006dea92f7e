"""One campaign over every store, chosen by one setting: the same results, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import StoreSetting, TaskProgress, TaskRetried
from steerio.edge.wire.connection import read_connection
from tests.contract.endpoint_servers import proxystore_endpoint
from tests.contract.redis_servers import connected, redis_server
from tests.real import deeds, stored
from tests.real.programs import Program, running, steerio_command
from tests.real.stored import Stored, drawn, expected
from tests.real.test_mpi import launch
from tests.real.test_standing_broker import broker_in, status_of, workers_in

pytestmark = pytest.mark.timeout(360)

CAMPAIGN = str(Path(stored.__file__))
SAID_S = 240.0
"""Longest run.  With a connector of ProxyStore each process imports that, pandas and Polars."""


@pytest.fixture
def port() -> Iterator[int]:
    with redis_server() as port:
        yield port


def on_redis(port: int) -> dict[str, Any]:
    """Return the kind and options of a store there."""
    return {"kind": "redis", "options": {"hostname": "127.0.0.1", "port": port}}


def run_over(store: StoreSetting | None, folder: Path) -> Stored:
    """Run the campaign, and compare what it finds."""
    campaign = Stored(str(folder / "mark"))
    steerio.run(campaign, store=store, run_dir=folder / "run", progress="off", pin=False)
    assert campaign.found == expected()
    assert campaign.attempts == 2
    assert campaign.held > stored.LENGTH * 8
    return campaign


def check_said(program: Program) -> None:
    """Compare what the campaign found that a program ran."""
    assert program.status(within_s=SAID_S) == 0, program
    said = program.output.partition("found ")[2].partition("\n")[0]
    assert json.loads(said) == expected()


def files_in(folder: Path) -> list[Path]:
    """Return all that is left there."""
    return list(folder.rglob("*"))


def test_over_shared_memory(tmp_path: Path) -> None:
    run_over(None, tmp_path)  # what is left there, each test is asked


def test_over_files(tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    run_over(StoreSetting(kind="file", options={"folder": str(objects)}), tmp_path)
    assert files_in(objects) == []


def test_over_redis_as_the_command_line_says(tmp_path: Path, port: int) -> None:
    file = tmp_path / "redis.toml"
    file.write_text(f'kind = "redis"\n[options]\nhostname = "127.0.0.1"\nport = {port}\n')
    options = ("--run-dir", "run", "--store", str(file), "--workers", "default=1")
    command = ("run", CAMPAIGN, "--mark", "mark", *options)
    with closing(connected(port)) as server:
        with running(*steerio_command(*command), cwd=tmp_path) as program:
            check_said(program)
        assert server.dbsize() == 0
        assert calls(server, "set") > 10


def test_over_several_by_size(tmp_path: Path, port: int) -> None:
    objects = tmp_path / "objects"
    options = {
        "short": {**on_redis(port), "max_bytes": 9 * stored.LENGTH},
        "long": {"kind": "file", "options": {"folder": str(objects)}},
    }
    campaign = run_over(StoreSetting(kind="multi", options=options), tmp_path)
    table, model = campaign.names
    assert table.startswith(b"long:")
    assert model.startswith(b"short:")
    assert files_in(objects) == []
    with closing(connected(port)) as server:
        assert server.dbsize() == 0


@pytest.mark.stress  # an endpoint takes 5 s of a core to start
def test_over_an_endpoint(tmp_path: Path) -> None:
    with proxystore_endpoint(tmp_path) as options:
        campaign = run_over(StoreSetting(kind="endpoint", options=options), tmp_path)
        from proxystore.connectors.endpoint import EndpointConnector  # it takes seconds

        with closing(EndpointConnector(**options)) as connector:
            keys = [pickle.loads(name) for name in campaign.names]
            assert len(keys) == 2
            assert not any(connector.exists(key) for key in keys)


@pytest.mark.parametrize("hosts", ["one", "several"])
def test_over_that_of_a_standing_broker(tmp_path: Path, hosts: str) -> None:
    options = () if hosts == "one" else ("--host", "127.0.0.1")
    place = tmp_path / "broker"
    with broker_in(tmp_path, *options) as broker:
        setting = read_connection(place).store
        assert setting is not None
        if hosts == "one":
            assert setting.kind == "shared-memory"
        else:
            assert setting.kind == "file"
            assert Path(setting.options["folder"]).is_relative_to(place)
            connection = json.loads((place / "connection.json").read_text())
            connection["host"] = "elsewhere"  # as seen from another machine
            (place / "connection.json").write_text(json.dumps(connection))
        with workers_in(tmp_path, "--workers", "default=2"):
            command = ("run", CAMPAIGN, "--mark", "mark", "--run-dir", "run", "--join", "broker")
            with running(*steerio_command(*command), cwd=tmp_path) as program:
                check_said(program)
            store: Any = status_of(tmp_path)["store"]
            assert (store["objects"], store["versions"]) == (1, {"model": 2})
            broker.signal(signal.SIGTERM)
            assert broker.status(within_s=20) == 0, broker
    assert not any("steerio-store" in str(path) for path in files_in(place))


async def test_a_worker_of_another_host_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    objects, mark, place = (tmp_path / name for name in ("objects", "mark", "broker"))
    file = tmp_path / "store.toml"
    kind = "tests.real.connectors:FatalConnector"  # by name: to import it takes seconds
    options = f'store_dir = "{objects}"\nmark = "{mark}"\n'
    file.write_text(f'kind = "{kind}"\nthreshold_bytes = 1000\n[options]\n{options}')
    with broker_in(tmp_path, "--host", "127.0.0.1", "--store", str(file)) as broker:
        connection = json.loads((place / "connection.json").read_text())
        connection["host"] = "elsewhere"  # as seen from another machine
        (place / "connection.json").write_text(json.dumps(connection))
        mark.touch()
        with workers_in(tmp_path, "--workers", "default=1") as node:
            async with (
                steerio.connect(place) as session,
                session.events(TaskRetried, since=0) as events,
                asyncio.timeout(60),
            ):
                numbers = await session.run(stored.drawn, 1, 500)
                assert np.array_equal(numbers, drawn(1, 500))
                assert "SIGKILL" in (await anext(events)).reason
                assert not mark.exists()
                while files_in(objects):
                    await session.status()
            broker.signal(signal.SIGTERM)
            assert broker.status(within_s=20) == 0, broker
            assert node.status(within_s=20) == 0, node


@pytest.mark.parametrize("hosts", ["one", "several"])
def test_over_that_of_ranks(tmp_path: Path, hosts: str) -> None:
    # Open MPI's word for how many ranks are on this host, of three
    here = () if hosts == "one" else ("env", "OMPI_COMM_WORLD_LOCAL_SIZE=1")
    command = steerio_command("run", CAMPAIGN, "--mark", "mark", "--run-dir", "run")
    with running(*launch("openmpi", 3, *here, *command), cwd=tmp_path) as program:
        check_said(program)
    assert (tmp_path / "run/objects").exists() is (hosts == "several")
    assert files_in(tmp_path / "run/objects") == []


async def test_what_a_waiting_task_needs_is_fetched_to_its_node_meanwhile(
    tmp_path: Path, port: int
) -> None:
    with closing(connected(port)) as server:
        async with (
            steerio.open_session(
                workers={"default": 1}, run_dir=tmp_path, store=StoreSetting(**on_redis(port))
            ) as session,
            session.events(TaskProgress) as events,
        ):
            copies = Path(read_connection(tmp_path).objects) / "copies" / "fetched"
            busy = session.submit(deeds.cooperate)
            await anext(events)
            table = await session.put(drawn(1))
            waiting = session.submit(stored.column_mean, table, 2)
            async with asyncio.timeout(20):
                while not any(file.is_file() for file in copies.glob("[!.]*")):
                    await session.status()
            server.flushall()  # so it can be read from the node's copy only
            busy.cancel()
            assert await waiting == drawn(1).reshape(-1, stored.COLUMNS)[:, 2].mean()
        assert server.dbsize() == 0


def calls(server: Any, command: str) -> int:
    """Return how often a server was told to do something."""
    return int(server.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])
