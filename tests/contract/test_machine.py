"""What is called as here need not be here: clones, containers, a machine started anew."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from steerio.edge.record.record_files import TASKS_FILE, RecordFiles
from steerio.edge.store import folders
from steerio.edge.system.machine import boot_id, process_space
from steerio.edge.wire.connection import Connection
from steerio.errors import UsageError
from steerio.launch.finding import find_broker, has_ended
from steerio.node.setup import clear_up_after_broker
from steerio.session.run_dir import refuse_used

pytestmark = pytest.mark.borders

ANOTHER_KERNEL = "6ba7b810-9dad-11d1-80b4-00c04fd430c8 pid:[1]"


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    """One of a broker that has ended, of this machine."""
    local = f"unix://{tmp_path}/steerio-none/broker"
    return Connection(socket.gethostname(), 2**22 + 1, local, space=process_space())


def changed(connection: Connection, **changes: Any) -> Connection:
    return structs.replace(connection, **changes)


def test_this_machine_is_told_from_others() -> None:
    assert process_space() == process_space()
    if Path("/proc/self/ns/pid").exists():
        assert process_space().startswith(boot_id())
        assert process_space().endswith("]")


def test_a_broker_of_a_machine_of_the_same_name_is_not_taken_for_one_that_has_ended(
    connection: Connection, tmp_path: Path
) -> None:
    assert has_ended(connection)
    assert has_ended(changed(connection, space="")), "as older ones wrote it"
    containers = f"{boot_id()} pid:[1]"
    for space in (ANOTHER_KERNEL, containers):
        other = changed(connection, space=space)
        assert not has_ended(other), "nothing is known of it"
        with pytest.raises(UsageError, match="listens for processes of its own machine only"):
            _ = other.address
        reached = changed(other, remote="tcp://10.0.0.1:1")
        assert reached.address == ("tcp://10.0.0.1:1", None)
    (tmp_path / "steerio-none").mkdir()
    (tmp_path / "steerio-none/broker").touch()
    assert changed(connection, space=containers).address[0] == connection.local, "it is in sight"
    other = changed(connection, space=ANOTHER_KERNEL, remote="tcp://10.0.0.1:1")
    assert other.address[0] == other.remote, "a file of that name is not its socket"


def test_a_broker_that_has_ended_is_told_as_such(connection: Connection, tmp_path: Path) -> None:
    connection.write(tmp_path)
    with pytest.raises(UsageError, match="has ended without cleaning up"):
        find_broker(tmp_path)


def test_nothing_but_folders_of_sockets_is_cleared_up(tmp_path: Path) -> None:
    for name, stays in (("steerio-ab12cd", False), ("home", True)):
        folder = tmp_path / name
        folder.mkdir()
        clear_up_after_broker(str(folder), f"unix://{folder}/broker")
        assert folder.exists() is stays
    clear_up_after_broker("", "unix://broker")
    clear_up_after_broker(".", "unix://broker")
    assert Path.cwd().exists()


def test_what_a_broker_leaves_that_is_slow_to_die_is_cleared_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(folders.SHARED_MEMORY_VARIABLE, str(tmp_path))
    place = tmp_path / "steerio-ab12cd"
    place.mkdir()
    store = folders.open_folder()
    looked: list[float] = []

    def sleep(seconds: float) -> None:  # between two looks
        looked.append(seconds)
        if len(looked) == 2:
            broker.close()
        elif len(looked) == 4:
            for held in store._held:
                os.close(held._descriptor)
                held._descriptor = -1

    monkeypatch.setattr(time, "sleep", sleep)
    with socket.socket(socket.AF_UNIX) as broker:
        broker.bind(str(place / "broker"))
        broker.listen()
        objects = str(store.path)
        clear_up_after_broker(str(place), f"unix://{place}/broker", 60, objects=objects)
    assert len(looked) == 5, "the last look finds nothing to wait for"
    assert not place.exists()
    assert not store.path.exists()
    store.close()


def test_a_lock_of_another_space_names_no_process_of_here(tmp_path: Path) -> None:
    ended = 2**22 + 1
    lock = folders._lock_of(tmp_path / f"ab.{ended}-{folders._space()}.host")
    assert not folders._runs(lock)
    assert not folders._runs(folders._lock_of(tmp_path / f"ab.{ended}.host"))
    assert folders._runs(folders._lock_of(tmp_path / f"ab.{ended}-00000000.host"))
    assert folders._runs(folders._lock_of(tmp_path / f"ab.{os.getpid()}.host"))


def test_a_record_is_not_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    run = tmp_path / "run"
    run.mkdir()
    (run / TASKS_FILE).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        RecordFiles(run)
    assert elsewhere.read_text() == "theirs"
    with pytest.raises(UsageError, match="holds another run already"):
        refuse_used(run)
    (run / TASKS_FILE).unlink()
    (run / "summary.json").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is a link, through which nothing is written"):
        refuse_used(run)
    linked = tmp_path / "linked"
    (tmp_path / "there").mkdir()
    linked.symlink_to(tmp_path / "there")
    RecordFiles(linked).close()
    assert (tmp_path / "there" / TASKS_FILE).exists(), "the folder itself may be a link"
