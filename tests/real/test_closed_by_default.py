"""All that is closed by default: each try is refused, counted by the broker, and told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

import steerio
from steerio.cli import giving_keys, nodes_command
from steerio.client.client import Client
from steerio.edge.encoding.boxing import PICKLE, encode
from steerio.edge.encoding.pickling import dump, ship
from steerio.edge.wire.connection import read_connection
from steerio.edge.wire.keyring import KeyList, NamedKey
from steerio.errors import (
    BrokerLost,
    EncodingError,
    FunctionRefused,
    JoinRefused,
    TaskFailed,
    UsageError,
)
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.node.setup import NodeSetup
from tests.real import deeds
from tests.real.programs import START_S, Program, python, running, steerio_command

DEEDS = "tests.real.deeds:*"


@contextmanager
def a_broker(folder: Path, *more: str) -> Iterator[Program]:
    """Run a broker on the network of this machine, in ``folder/broker``."""
    command = steerio_command("broker", "--run-dir", "broker", "--host", "127.0.0.1", *more)
    with running(*command, cwd=folder) as broker:
        broker.wait_for("end it: ")
        yield broker
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker


@contextmanager
def a_node(folder: Path, place: Path, *more: str) -> Iterator[Program]:
    command = steerio_command("worker", "--join", str(place), "--workers", "default=1", *more)
    with running(*command, cwd=folder) as node:
        node.wait_for("has joined")
        yield node
        node.signal(signal.SIGTERM)
        assert node.status() == 0, node


def done(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run ``steerio`` with these arguments to its end, and return its output."""
    with running(*steerio_command(*arguments), cwd=cwd) as program:
        assert program.status() == code, program
        return program.output


@contextmanager
def passable(folder: Path) -> Iterator[None]:
    """Let others pass through the folders above one, so that its own mode is all that counts."""
    opened: list[tuple[Path, int]] = []
    try:
        for each in folder.parents:
            mode = stat.S_IMODE(each.stat().st_mode)
            if not mode & 0o001:
                each.chmod(mode | 0o001)
                opened.append((each, mode))
        yield
    finally:
        for each, mode in opened:
            each.chmod(mode)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.timeout(240)
async def test_another_user_of_the_same_host_gets_at_nothing(tmp_path: Path) -> None:
    with a_broker(tmp_path) as broker, passable(tmp_path / "broker"):
        folder = tmp_path / "broker"
        assert folder.stat().st_mode & 0o777 == 0o700
        done("key", "broker", "add", "bob", "--role", "client", cwd=tmp_path)
        given = tmp_path / "given.json"
        given.write_bytes((folder / "connection.json").read_bytes())
        given.chmod(0o644)
        other = python("-m", "tests.real.other_user", str(folder), str(broker.pid), str(given))
        with running(*other, cwd=tmp_path) as program:
            assert await asyncio.to_thread(program.status, 2 * START_S) == 0, program
        outcomes = json.loads(program.output)
        assert outcomes.pop("a file of another") == "UsageError"
        assert outcomes.pop("no key") == outcomes.pop("another key") == "refused"
        assert outcomes.pop("command line has keys") == "False"
        assert set(outcomes.values()) == {"PermissionError"}, outcomes
        async with steerio.connect(folder) as session:
            async with asyncio.timeout(START_S):
                refused = (await session.status()).dropped
                while not {"no key", "unknown key"} <= set(refused):
                    refused = (await session.status()).dropped
        told = (folder / "campaign.log").read_text()
        assert "a connection was refused (unknown key): from 127.0.0.1" in told
        assert "a connection was refused (no key)" in told


@pytest.mark.timeout(240)
async def test_a_readable_file_is_refused_on_every_road(tmp_path: Path) -> None:
    with a_broker(tmp_path):
        folder = tmp_path / "broker"
        for name in ("connection.json", "observer.json", "node.json"):
            (folder / name).chmod(0o640)
        said = "has keys, and others than its owner can read it (mode 0640)"
        for place in (folder, folder / "observer.json"):
            with pytest.raises(UsageError, match=r"mode 0640.*chmod 600"):
                async with steerio.connect(place):
                    pass
        for command in (
            ("worker", "--join", "broker"),
            ("worker", "--join", "broker/node.json"),
            ("status", "broker"),
            ("status", "broker/observer.json"),
            ("key", "broker", "add", "bob", "--role", "client"),
            ("steer", "broker", "pause"),
            ("stop", "broker"),
            ("broker", "--run-dir", "broker"),
        ):
            output = await asyncio.to_thread(_refused, command, tmp_path)
            assert said in " ".join(output.split()), output
        for name in ("connection.json", "observer.json", "node.json"):
            (folder / name).chmod(0o600)
        async with steerio.connect(folder) as session:
            assert (await session.status()).clients


def _refused(command: tuple[str, ...], folder: Path) -> str:
    with running(*steerio_command(*command), cwd=folder, env={"COLUMNS": "500"}) as program:
        assert program.status() != 0, program
        return program.output


@pytest.mark.timeout(240)
async def test_a_key_is_revoked_while_the_broker_stands(tmp_path: Path) -> None:
    with a_broker(tmp_path) as broker:
        folder = tmp_path / "broker"
        for name, role in (("bob", "client"), ("eve", "observer"), ("cluster", "node")):
            done("key", "broker", "add", name, "--role", role, cwd=tmp_path)
            assert (folder / f"{name}.key.json").stat().st_mode & 0o777 == 0o600
        async with steerio.connect(folder, name="owner") as owner:
            command = steerio_command("worker", "--join", "broker/cluster.key.json")
            with running(*command, cwd=tmp_path) as node:
                await asyncio.to_thread(node.wait_for, "has joined")
                async with (
                    steerio.connect(folder / "bob.key.json", name="bob") as bob,
                    steerio.connect(folder / "eve.key.json", name="eve") as eve,
                ):
                    assert await bob.run(deeds.double, 2) == 4
                    assert set((await eve.status()).clients) == {"owner", "bob", "eve"}
                    lost = asyncio.Event()
                    bob.client.on_lost(lambda _: lost.set())
                    done("key", "broker", "revoke", "bob", cwd=tmp_path)
                    async with asyncio.timeout(START_S):
                        await lost.wait()
                    assert "revoked" in bob.client.lost
                    assert await owner.run(deeds.double, 3) == 6
                    assert "bob" not in (await eve.status()).clients
                    done("key", "broker", "revoke", "cluster", cwd=tmp_path)
                    assert await asyncio.to_thread(node.status) != 0, node
                    assert "its key was revoked" in node.output
            async with asyncio.timeout(START_S):
                dropped = (await owner.status()).dropped
                while dropped.get("revoked key", 0) < 2:
                    dropped = (await owner.status()).dropped
            assert set(dropped) == {"revoked key"}
            with pytest.raises(BrokerLost, match="does not accept our key"):
                async with steerio.connect(folder / "bob.key.json"):
                    pass
            assert (
                "a connection was refused (revoked key): from 127.0.0.1 client:bob"
                in (folder / "campaign.log").read_text()
            )
        shown = done("key", "broker", "list", cwd=tmp_path)
        assert "bob: client, revoked 2" in shown
        assert "eve: observer\n" in shown
        del broker
    assert not list((tmp_path / "broker").glob("*.key.json")), "they open nothing any more"


async def test_a_broker_that_was_taken_over_from_leaves_its_successors_keys(tmp_path: Path) -> None:
    hosting = Hosting(BrokerSetup(workers={}, run_dir=tmp_path, host="127.0.0.1"))
    await hosting.start()
    try:
        successors = msgspec.structs.replace(hosting.connection, local="unix:///its/own/broker")
        successors.write(tmp_path)
        listing = KeyList(tmp_path)
        listing.add(NamedKey("bob", "client", "x", 1.0))
        listing.revoke("client")
        given = listing.file_of("bob")
        given.write_text("its key")
    finally:
        await hosting.close()
    assert [(key.name, key.revoked is None) for key in listing.all()] == [
        ("bob", True),
        ("client", False),
    ]
    assert given.read_text() == "its key"
    assert read_connection(tmp_path) == successors


async def test_no_folders_of_programs_are_made_beside_a_key_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setups: list[NodeSetup] = []

    def note(setup: NodeSetup, *_: object, **__: object) -> int:
        setups.append(setup)
        return 0

    monkeypatch.setattr(nodes_command, "run_node", note)
    run = tmp_path / "run"
    hosting = Hosting(BrokerSetup(workers={}, run_dir=run, host="127.0.0.1"))
    await hosting.start()
    try:
        given = tmp_path / "bob.key.json"
        giving_keys.add_key(str(run), "bob", "node", str(given))
        for place in (run, run / "node.json", given):
            nodes_command.run_worker(
                str(place), "default=1", "", None, None, pin=False, direct=False, allow=None
            )
    finally:
        await hosting.close()
    assert [setup.work for setup in setups] == [str(run / "work")] * 2 + [""]


async def test_a_broker_without_network_has_no_keys_to_give(tmp_path: Path) -> None:
    with running(*steerio_command("broker", "--run-dir", "broker"), cwd=tmp_path) as broker:
        broker.wait_for("end it: ")
        output = done("key", "broker", "add", "b", "--role", "node", cwd=tmp_path, code=2)
        assert "need no keys" in output
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0


def guarded(folder: Path) -> Path:
    """Write a module that workers preload, after which reading a pickle leaves a mark."""
    mark = folder / "pickle-was-read"
    (folder / "no_pickle_here.py").write_text(
        "import pickle, pathlib\n"
        "def read(*_, **__):\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "    raise SystemError('a pickle was read')\n"
        "pickle.loads = pickle.load = pickle.Unpickler = read\n"
        "import cloudpickle\n"
        "cloudpickle.loads = cloudpickle.load = read\n"
    )
    return mark


class Sink:
    """Waits for the end of a task that was forged below its session."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[ms.TaskSettled] = asyncio.get_running_loop().create_future()

    def settled(self, message: ms.TaskSettled, frames: Any) -> None:
        del frames
        if not self.ended.done():
            self.ended.set_result(message)

    def item(self, message: ms.TaskItem, frames: Any) -> None:
        """Take in an item: there are none."""

    def reached(self, state: Any) -> None:
        """Take in a state."""


async def forged(client: Client, spec: TaskSpec, body: bytes, *frames: bytes) -> ms.TaskSettled:
    """Send a task as another program would, and return how it ended."""
    sink = Sink()
    number = client.reserve(sink)
    client.submit(number, spec, body, frames, TaskOptions(), None, "", 0.0, None)
    async with asyncio.timeout(START_S):
        return await sink.ended


HARMLESS = dump([1])[0]
INLINE = encode(msgspec.msgpack.Ext(PICKLE, encode((HARMLESS, 0, 0))))
AN_ARGUMENT = encode(([msgspec.msgpack.Ext(PICKLE, encode((HARMLESS, 0, 0)))], {}))
IN_A_FRAME = encode(msgspec.msgpack.Ext(PICKLE, encode((0, 0, 0))))


@pytest.mark.timeout(240)
async def test_a_worker_that_reads_no_pickle_refuses_forged_ones_unread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = guarded(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    spec = TaskSpec("tests.real.deeds:double", "default")
    async with steerio.open_session(
        workers=1, allow=[DEEDS], preload=["no_pickle_here"]
    ) as session:
        assert await session.run(deeds.double, 2) == 4
        for number, (body, frames) in enumerate(
            [(INLINE, ()), (AN_ARGUMENT, ()), (IN_A_FRAME, (HARMLESS,)), (b"", (INLINE,))], 1
        ):
            ended = await forged(session.client, spec, body, *frames)
            assert ended.ended_as == "failed"
            assert ended.error is not None
            assert ended.error.type == "steerio.errors.PickleRefused"
            assert ended.error.pickled == b""
            assert (await session.status()).dropped == {"refused by a worker": number}
        assert "dropped (refused by a worker)" in caplog.text
        with pytest.raises(EncodingError, match=r"argument 'x' of task type .*double"):
            await session.run(deeds.double, cast("Any", {1}))
        with pytest.raises(FunctionRefused, match="allowed are"):
            await session.run(os.getpid)
        with pytest.raises(FunctionRefused, match="top level"):
            await session.run(lambda: 1)
        with pytest.raises(TaskFailed, match="NoSuch") as failed:
            await session.run(deeds.be_unlucky, "NoSuch")
        assert failed.value.__cause__ is None, "the exception came in words"
        assert await session.run(deeds.double, 4) == 8
    assert not mark.exists()


async def test_a_client_that_brings_code_to_a_broker_without_is_shown_out(tmp_path: Path) -> None:
    async with steerio.open_session(workers=1, allow=[DEEDS], run_dir=tmp_path / "run") as session:
        async with steerio.connect(tmp_path / "run", name="other") as other:
            code = ship(lambda: 1)
            sink = Sink()
            number = other.client.reserve(sink)
            spec = TaskSpec("tests.real.deeds:double", "default", code=code)
            other.client.submit(number, spec, b"", (), TaskOptions(), None, "", 0.0, None)
            async with asyncio.timeout(START_S):
                ended = await sink.ended
            assert ended.ended_as == "lost"
            assert "comes by value" in other.client.lost or "comes by value" in ended.reason
        assert (await session.status()).dropped["not allowed"] == 1
        assert await session.run(deeds.double, 2) == 4


@pytest.mark.timeout(240)
async def test_a_worker_keeps_to_its_own_list_whatever_the_broker_says(tmp_path: Path) -> None:
    mark = guarded(tmp_path)
    own = ("--allow", "tests.real.deeds:double", "--preload", "no_pickle_here")
    with a_broker(tmp_path), a_node(tmp_path, tmp_path / "broker", *own):
        async with steerio.connect(tmp_path / "broker") as session:
            assert await session.run(deeds.double, 2) == 4
            for function in (deeds.process_id, lambda: 1):
                with pytest.raises(TaskFailed, match=r"steerio\.errors\.FunctionRefused"):
                    await session.run(function)
            spec = TaskSpec("tests.real.deeds:double", "default")
            ended = await forged(session.client, spec, INLINE)
            assert ended.error is not None
            assert ended.error.type == "steerio.errors.PickleRefused"
            assert (await session.status()).dropped == {"refused by a worker": 3}
    assert not mark.exists()


@pytest.mark.timeout(240)
async def test_a_standing_broker_tells_its_list_to_clients_and_nodes(tmp_path: Path) -> None:
    with a_broker(tmp_path, "--allow", DEEDS), a_node(tmp_path, tmp_path / "broker"):
        async with steerio.connect(tmp_path / "broker") as session:
            assert session.client.allow == (DEEDS,)
            assert await session.run(deeds.double, 2) == 4
            with pytest.raises(FunctionRefused):
                await session.run(os.getpid)
            ended = await forged(
                session.client, TaskSpec("tests.real.deeds:double", "default"), INLINE
            )
            assert ended.error is not None
            assert ended.error.type == "steerio.errors.PickleRefused"


def test_a_store_that_pickles_keys_does_not_go_with_a_list() -> None:
    setup = BrokerSetup(workers={}, store=steerio.StoreSetting(kind="redis"), allow=(DEEDS,))
    with pytest.raises(UsageError, match="'redis' pickles the keys"):
        Hosting(setup)


async def test_an_observer_that_tries_to_steer_is_shown_out_and_counted(tmp_path: Path) -> None:
    async with steerio.open_session(workers=1, run_dir=tmp_path / "run") as session:
        async with steerio.connect(tmp_path / "run" / "observer.json", name="eve") as eve:
            with pytest.raises(steerio.NotAllowed):
                eve.submit(deeds.double, 1)
            lost = asyncio.Event()
            eve.client.on_lost(lambda _: lost.set())
            eve.client._line.observes = False  # as another program would
            eve.client.say(ms.StopBroker("by eve"))
            async with asyncio.timeout(START_S):
                await lost.wait()
        assert (await session.status()).dropped["not allowed"] == 1
        assert await session.run(deeds.double, 2) == 4


async def test_a_wrong_role_and_no_role_are_refused(tmp_path: Path) -> None:
    with a_broker(tmp_path):
        folder = tmp_path / "broker"
        connection = read_connection(folder)
        assert connection.keys is not None
        forged_file = msgspec.structs.replace(
            connection, local="", keys={"client": connection.keys["node"]}
        )
        (tmp_path / "other").mkdir()
        forged_file.write(tmp_path / "other")
        with pytest.raises(JoinRefused, match="with the key of nodes no client joins"):
            async with steerio.connect(tmp_path / "other"):
                pass
        async with steerio.connect(folder) as session:
            assert (await session.status()).dropped == {"wrong key": 1}
