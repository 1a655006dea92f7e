"""A broker on the network, and strangers that press in: they cost it nothing that others need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import steerio
from steerio.edge.wire.connection import read_connection
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from tests.real import deeds
from tests.real.programs import START_S, Program, python, running, steerio_command

FEW = 128
"""Descriptors that a broker may have where they are few."""
FLOOD = str(Path(__file__).with_name("flood.py"))


def seen_from_afar(folder: Path, afar: Path) -> int:
    """Write a broker's connection files as another machine sees them; return its port."""
    afar.mkdir()
    for name in ("connection.json", "node.json", "observer.json"):
        found = json.loads((folder / name).read_text())
        found["host"] = "elsewhere"
        (afar / name).write_text(json.dumps(found))
        (afar / name).chmod(0o600)
    return int(str(found["remote"]).rpartition(":")[2])


@contextmanager
def broker_with(descriptors: int, folder: Path) -> Iterator[Program]:
    """Run a broker that may have so many descriptors, in ``folder/broker``."""
    command = f'ulimit -n {descriptors}; exec "$0" -m steerio broker --run-dir broker "$@"'
    with running("sh", "-c", command, sys.executable, "--host", "127.0.0.1", cwd=folder) as broker:
        broker.wait_for("end it: ")
        yield broker
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker


@contextmanager
def node_of(folder: Path, place: Path) -> Iterator[Program]:
    """Run a node with one worker of the broker of this run directory or connection file."""
    command = steerio_command("worker", "--join", str(place), "--workers", "default=1")
    with running(*command, cwd=folder) as node:
        node.wait_for("has joined")
        yield node
        node.signal(signal.SIGTERM)
        assert node.status() == 0, node


@pytest.mark.parametrize("descriptors", [FEW, 1_000])
@pytest.mark.parametrize("how", ["silent", "slow", "churning"])
@pytest.mark.timeout(240)
async def test_tasks_go_on_and_peers_come_and_go_while_strangers_press_in(
    tmp_path: Path, descriptors: int, how: str
) -> None:
    afar = tmp_path / "afar"
    with broker_with(descriptors, tmp_path) as broker:
        port = seen_from_afar(tmp_path / "broker", afar)
        with node_of(tmp_path, afar):
            async with steerio.connect(afar) as session:
                assert await session.run(deeds.double, 1) == 2
                flood = python(FLOOD, str(port), how, "200")
                with running(*flood, cwd=tmp_path) as strangers:
                    await asyncio.to_thread(strangers.wait_for, "all are there")
                    done = await session.gather(*[session.submit(abs, -n) for n in range(200)])
                    assert done == list(range(200))
                    if how != "churning":  # then it is a matter of luck how soon one comes in
                        await _joins_whatever_it_takes(afar)
                    async with steerio.connect(tmp_path / "broker") as local:
                        assert await local.run(deeds.double, 3) == 6
                    assert await session.run(deeds.double, 4) == 8
                await _joins_whatever_it_takes(afar)
    log = (tmp_path / "broker" / "campaign.log").read_text()
    assert "Traceback" not in log + broker.output


async def _joins_whatever_it_takes(afar: Path) -> None:
    """Join as one more client; one whose connection is hit by the flood tries again."""
    while True:
        try:
            async with steerio.connect(afar) as late:
                assert await late.run(deeds.double, 2) == 4
                return
        except steerio.BrokerLost:
            continue


async def test_a_client_comes_in_from_afar_while_the_loop_stands_still(tmp_path: Path) -> None:
    hosting = Hosting(BrokerSetup(workers={}, run_dir=tmp_path / "broker", host="127.0.0.1"))
    await hosting.start()
    try:
        seen_from_afar(tmp_path / "broker", tmp_path / "afar")
        with running(*steerio_command("status", str(tmp_path / "afar"), "--json")) as program:
            assert program.status() == 0, program  # it is waited for without the loop
        (client,) = json.loads(program.output)["clients"]
        assert client == "status"
    finally:
        await hosting.close()
    assert [file.name for file in (tmp_path / "broker").glob("*.json")] == ["record.json"]


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_strangers_that_announce_much_get_no_memory_for_it(tmp_path: Path) -> None:
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
    announced = b"\x06" + (4 << 30).to_bytes(8, "big") + bytes(100)
    with broker_with(1_000, tmp_path) as broker:
        port = seen_from_afar(tmp_path / "broker", tmp_path / "afar")
        before = peak_bytes(broker.pid)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port), START_S) as stranger:
                stranger.sendall(greeting + announced)
                with contextlib.suppress(ConnectionError):
                    while stranger.recv(1_000):
                        pass
        assert peak_bytes(broker.pid) < before + (32 << 20)


def test_a_worker_with_the_wrong_key_is_not_let_in_and_hears_why(tmp_path: Path) -> None:
    afar = tmp_path / "afar"
    with broker_with(1_000, tmp_path):
        seen_from_afar(tmp_path / "broker", afar)
        keys = read_connection(afar).keys
        assert keys is not None
        file = afar / "node.json"
        swapped = json.loads(file.read_text())
        swapped["keys"]["node"] = json.loads((afar / "connection.json").read_text())["keys"][
            "client"
        ]
        file.write_text(json.dumps(swapped))
        with running(*steerio_command("worker", "--join", str(file))) as node:
            assert node.status() == 1, node
        assert "with the key of clients no node joins" in node.output
        with running(*steerio_command("status", str(afar), "--json")) as status:
            assert status.status() == 0, status
        assert json.loads(status.output)["dropped"] == {"wrong key": 1}


async def test_a_node_file_brings_a_node_and_no_client(tmp_path: Path) -> None:
    afar = tmp_path / "afar"
    with broker_with(1_000, tmp_path):
        seen_from_afar(tmp_path / "broker", afar)
        with node_of(tmp_path, afar / "node.json"):
            async with steerio.connect(afar) as session:
                assert await session.run(deeds.double, 1) == 2
            with pytest.raises(steerio.UsageError, match=r"of nodes.*no client in"):
                async with steerio.connect(afar / "node.json"):
                    pass
            with running(*steerio_command("worker", "--join", str(afar / "observer.json"))) as no:
                assert await asyncio.to_thread(no.status) == 2
            assert "use the broker's node.json" in no.output


@pytest.mark.parametrize("where", ["here", "afar"])
async def test_an_observer_sees_everything_and_each_deed_of_it_is_refused_where_it_is_asked(
    tmp_path: Path, where: str
) -> None:
    afar = tmp_path / "afar"
    with broker_with(1_000, tmp_path):
        seen_from_afar(tmp_path / "broker", afar)
        place = (afar if where == "afar" else tmp_path / "broker") / "observer.json"
        with node_of(tmp_path, tmp_path / "broker"):
            async with (
                steerio.connect(tmp_path / "broker", name="friend") as session,
                steerio.connect(place, name="observer") as observer,
            ):
                async with observer.events(steerio.TaskEnded, since=0) as events:
                    assert await session.run(deeds.double, 1) == 2
                    assert (await anext(events)).ended_as == "succeeded"
                    assert set((await observer.status()).clients) == {"friend", "observer"}
                    await observer.pools.look()
                    assert observer.pools["default"].workers == 1
                    await _try_everything(observer)
                    assert await session.run(deeds.double, 2) == 4
                    assert (await anext(events)).ended_as == "succeeded"
                assert (await session.status()).dropped == {}
                assert list(await session.nodes.look())
            for command in (("stop",), ("drain", "x"), ("undrain", "x")):
                asked = steerio_command(command[0], str(place), *command[1:])
                with running(*asked, cwd=tmp_path) as program:
                    assert await asyncio.to_thread(program.status) == 2, program
                assert f"an observer may not {command[0]}" in program.output
            with running(*steerio_command("status", str(place)), cwd=tmp_path) as program:
                assert await asyncio.to_thread(program.status) == 0, program
    left = {file.name for file in (tmp_path / "broker").glob("*.json")}
    assert left == {"broker.json", "record.json"}, "the files with keys are gone"


async def _try_everything(observer: steerio.Session) -> None:
    """Ask for all that an observer may not do; each is refused at once, by its name."""
    with pytest.raises(steerio.NotAllowed, match="may not submit tasks") as caught:
        observer.submit(deeds.double, 1)
    assert caught.value.what == "submit tasks"
    assert observer.pending == []
    with pytest.raises(steerio.NotAllowed, match="may not cancel tasks"):
        observer.cancel([1])
    with pytest.raises(steerio.NotAllowed, match="may not re-rank tasks"):
        observer.reprioritise({1: 1.0})
    with pytest.raises(steerio.NotAllowed, match="may not publish events"):
        observer.publish({"x": 1})
    with pytest.raises(steerio.NotAllowed, match="may not drain nodes"):
        await observer.nodes.drain("node")
    with pytest.raises(steerio.NotAllowed, match="may not undrain nodes"):
        await observer.nodes.undrain("node")
    with pytest.raises(steerio.NotAllowed, match="may not give orders"):
        await observer.order(steerio.SetParameter("rate", 0.1))
    with pytest.raises(steerio.OrderRefused, match="no campaign takes orders here"):
        await observer.look()
    with pytest.raises(steerio.NotAllowed, match="may not move workers"):
        await observer.pools.move("default", "other", 1)
    with pytest.raises(steerio.NotAllowed, match="may not move workers"):
        async with observer.pools.lend("default", to="other"):
            pass
    with pytest.raises(steerio.NotAllowed, match="may not use the store"):
        await observer.put(b"x")
    with pytest.raises(steerio.NotAllowed, match="may not use the store"):
        await observer.versions("model").publish(b"x")
    with pytest.raises(steerio.NotAllowed, match="may not stop the broker"):
        observer.client.requests.stop_broker("for fun")


MEMORY = """
import asyncio, gc, resource
import steerio
from steerio import StoreSetting

@steerio.task(retries={"lost": 0})
def make(nbytes: int) -> bytes:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return bytes(nbytes)

def size() -> int:
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

async def main() -> None:
    store = StoreSetting(threshold_bytes=None)
    async with steerio.open_session(workers=2, store=store, pin=False) as session:
        await session.gather(*[session.submit(make, 1) for _ in range(4)])
        resource.setrlimit(resource.RLIMIT_AS, (size() + (256 << 20), resource.RLIM_INFINITY))
        long = session.submit(make, 1 << 30)
        short = [session.submit(make, n) for n in range(50)]
        print([len(value) for value in await session.gather(*short)] == list(range(50)))
        result = await long.result()
        print(result.ended_as, result.reason)
        print(len(await session.run(make, 7)))
        dropped = (await session.status()).dropped
        print({why: count for why, count in dropped.items() if not why.startswith("late")})

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_result_beyond_the_brokers_memory_ends_its_task_and_no_other(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_AS)[1] != resource.RLIM_INFINITY:
        pytest.skip("this machine bounds memory already")
    (tmp_path / "program.py").write_text(MEMORY)
    with running(*python("program.py"), cwd=tmp_path) as program:
        assert program.status() == 0, program
    first, second, *rest = program.output.splitlines()[-4:]
    assert first == "True"
    assert second.startswith("lost ")
    assert "the broker has no memory for it" in second
    assert rest == ["7", "{'malformed': 1}"]
