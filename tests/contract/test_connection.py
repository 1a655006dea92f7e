"""The connection file appears whole, is its owner's alone, and says what is wrong with it."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.system.own_files import write_own
from steerio.edge.wire.connection import FILE_NAME, Connection, read_connection
from steerio.edge.wire.keys import CLIENT, NODE, OBSERVER, ROLES, make_keys
from steerio.errors import UsageError
from steerio.model.messages import PROTOCOL
from steerio.model.objects import StoreSetting

HERE = socket.gethostname()


def connection(**changes: Any) -> Connection:
    keys = make_keys().peers
    plain = Connection(HERE, 12, "unix:///run/broker", "tcp://10.0.0.1:5555", keys)
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture(autouse=True)
def _generous_umask() -> Any:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    for written in (connection(), connection(remote="", keys=None)):
        path = written.write(tmp_path)

        assert path == tmp_path / FILE_NAME
        assert read_connection(tmp_path) == written
        assert read_connection(str(tmp_path)) == written
        assert read_connection(path) == written
        assert written.protocol == PROTOCOL


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = connection().write(tmp_path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_its_owner_can_read_the_file_even_where_others_had_prepared_one(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(0o666)
    there = tmp_path / FILE_NAME
    for prepare in (lambda: there.touch(0o666), lambda: there.symlink_to(elsewhere)):
        there.unlink(missing_ok=True)
        prepare()

        path = connection().write(tmp_path)

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.is_symlink()
        assert elsewhere.read_bytes() == b""


def test_the_file_is_never_seen_half_written(tmp_path: Path) -> None:
    one, other = connection(local="unix://" + "a" * 50_000), connection(local="unix://b")
    one.write(tmp_path)
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(read_connection(tmp_path).local)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(100):
        other.write(tmp_path)
        one.write(tmp_path)
    done.set()
    thread.join()

    assert seen <= {one.local, other.local}
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    before = connection()
    before.write(tmp_path)

    with pytest.raises(OSError, match="No such file"):
        before.write(tmp_path / "absent")

    assert read_connection(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_an_absent_file_is_told_from_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no broker is running in {tmp_path}"):
        read_connection(tmp_path)
    with pytest.raises(UsageError, match="no broker is running"):
        read_connection(tmp_path / "absent")
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        read_connection(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a connection file"):
        read_connection(tmp_path / "file" / "below")


FOREIGN = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b'"\xff"',
    "no object": b"[]",
    "another program's": b'{"shell_port": 1, "key": ""}',
    "of wrong types": b'{"host": "a", "pid": "b", "local": "c"}',
    "half": msgspec.json.encode(connection())[:-20],
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_file_of_others_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    write_own(tmp_path / FILE_NAME, content)

    with pytest.raises(UsageError, match=f"{FILE_NAME} is not a connection file"):
        read_connection(tmp_path)


@given(content=st.binary(max_size=300))
def test_whatever_is_in_the_file_reading_it_raises_nothing_but_usage_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_own(folder / FILE_NAME, content)

    with pytest.raises(UsageError):
        read_connection(folder)


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Be nobody for a while where we are root, to whom nothing is closed."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_is_closed_to_us_is_refused(tmp_path: Path) -> None:
    path = connection().write(tmp_path)
    path.chmod(0o000)
    for place in (path, tmp_path):
        with as_an_ordinary_user(), pytest.raises(UsageError, match="Permission denied"):
            read_connection(place)


def test_processes_of_the_same_machine_need_no_keys(tmp_path: Path) -> None:
    (tmp_path / "broker").touch()
    here = connection(local=f"unix://{tmp_path}/broker")

    assert here.address == (here.local, None)


def test_other_machines_get_the_network_address_and_the_keys(tmp_path: Path) -> None:
    (tmp_path / "broker").touch()
    there = connection(host="elsewhere", local=f"unix://{tmp_path}/broker")

    assert there.keys is not None
    assert there.address == (there.remote, there.keys[CLIENT])
    for role in ROLES:
        assert there.reach(role) == (there.remote, there.keys[role])
    unencrypted = msgspec.structs.replace(there, keys=None)
    assert unencrypted.reach(NODE) == (there.remote, None)


def test_a_file_for_peers_of_one_role_has_no_other_key(tmp_path: Path) -> None:
    whole = connection(host="elsewhere", store=StoreSetting(), objects="/dev/shm/store")
    assert whole.keys is not None
    for role, name in ((NODE, "node.json"), (OBSERVER, "observer.json")):
        path = whole.only(role).write(tmp_path)
        assert path == tmp_path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for other in ROLES:
            assert (whole.keys[other].secret in path.read_text()) is (other == role)
        found = read_connection(path)
        assert found.reach(role) == (whole.remote, whole.keys[role])
        for other in {*ROLES} - {role}:
            with pytest.raises(UsageError, match=f"of {role}s, which lets no {other} in"):
                found.reach(other)
    observer = read_connection(tmp_path / "observer.json")
    assert observer.observes
    assert observer.address == observer.reach(OBSERVER)
    assert (observer.store, observer.objects) == (None, ""), "a store's setting may have secrets"
    assert read_connection(tmp_path / "node.json").store == whole.store
    assert connection(keys=None, host="elsewhere").only(NODE).keys is None


def test_another_users_broker_on_this_machine_is_reached_over_the_network(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "broker").touch()
    there = connection(local=f"unix://{tmp_path}/broker").only(OBSERVER)
    assert there.address[0] == there.local
    tmp_path.chmod(0o000)
    with as_an_ordinary_user():
        assert there.address[0] == there.remote


def test_a_broker_that_listens_on_no_network_is_told_from_one_that_has_died() -> None:
    with pytest.raises(UsageError, match="elsewhere listens for processes of that machine only"):
        _ = connection(host="elsewhere", remote="").address
    with pytest.raises(UsageError, match=r"process 12.*has ended"):
        _ = connection(remote="").address
