"""Files that others find by their path: any text in them, and whose they are."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from steerio.edge.system.own_files import (
    from_json,
    make_own_folder,
    read_own,
    to_json,
    write_own,
    writing_to,
)
from steerio.edge.wire.connection import FILE_NAME, Connection, read_connection
from steerio.errors import UsageError
from steerio.model.messages import PROTOCOL
from steerio.node.setup import NodeSetup

pytestmark = pytest.mark.borders

NAMES = ("caf\udce9", "zürich-東", "a b\nc", "%s%20:*?#[x]", "'\"\\ud83d\\", "", "\udce9" * 100)


class Named(Struct):
    """What has a name."""

    name: str
    number: int = 0


@pytest.mark.parametrize("name", NAMES)
def test_text_of_any_kind_comes_back_from_json(name: str) -> None:
    for indent in (0, 2):
        assert from_json(to_json(Named(name, 3), indent=indent), Named) == Named(name, 3)
    setup = NodeSetup(name="n", address=f"unix://{name}", workers={"w": 1}, path=[name], log=name)
    assert from_json(to_json(setup), NodeSetup) == setup


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"name": 1}',
        b'{"name": "\\ud800"',
        b'{"name": "\\udce9", "number": "x"}',
        b'{"name": "\\udce9"' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_of_the_kind_is_told_as_such(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_json(data, Named)


def test_a_file_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to(tmp_path / "elsewhere")
    write_own(path, b"one")
    assert not path.is_symlink(), "what was there is replaced, not written through"
    assert not (tmp_path / "elsewhere").exists()
    assert path.stat().st_mode & 0o777 == 0o600
    write_own(path, b"two")
    assert read_own(path)[0] == b"two"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_own(tmp_path / "no/file", b"")


def test_a_file_that_cannot_be_trusted_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    write_own(path, b"{}")
    linked = tmp_path / "linked"
    linked.symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for place, why in ((linked, "is a link"), (tmp_path / "pipe", "not a file")):
        with pytest.raises(UsageError, match=why):
            read_own(place)
    path.chmod(0o620)
    with pytest.raises(UsageError, match="others than its owner can write"):
        read_own(path)
    if os.getuid() == 0:
        path.chmod(0o600)
        os.chown(path, 12345, 12345)
        with pytest.raises(UsageError, match="belongs to user 12345"):
            read_own(path)
    with pytest.raises(FileNotFoundError):
        read_own(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o644])
def test_keys_that_others_can_read_are_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / FILE_NAME
    write_own(path, b"{}")
    path.chmod(mode)
    assert read_own(path)[0] == b"{}", "without keys in it others may read it"
    with pytest.raises(UsageError, match=rf"{FILE_NAME} has keys.*mode {mode:04o}.*chmod 600"):
        read_own(path, secret=True)
    with pytest.raises(UsageError, match="has keys"):
        read_connection(tmp_path)
    with pytest.raises(UsageError, match="not a connection file"):
        read_connection(tmp_path, secret=False)
    path.chmod(0o600)
    assert read_own(path, secret=True)[0] == b"{}"


def test_a_folder_of_a_run_is_its_owners_alone_and_others_stay_as_they_are(tmp_path: Path) -> None:
    made = tmp_path / "runs" / "one"
    make_own_folder(made)
    assert made.stat().st_mode & 0o777 == 0o700
    assert made.parent.stat().st_mode & 0o055, "folders above it get the usual modes"
    made.chmod(0o750)
    make_own_folder(made)
    assert made.stat().st_mode & 0o777 == 0o750


def test_a_connection_is_found_through_a_linked_folder_whatever_its_name(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES[:-2]):
        folder = tmp_path / name
        folder.mkdir()
        connection = Connection("host", 1, f"unix://{folder}/broker", objects=str(folder))
        path = connection.write(folder)
        assert read_connection(folder) == read_connection(path) == connection
        linked = tmp_path / f"linked{number}"
        linked.symlink_to(folder)
        assert read_connection(linked) == connection


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not a connection file: it is empty"),
        (b"garbage", "is not a connection file"),
        (b"\xff\xfe", "is not a connection file"),
        (b'{"host": "h", "pid": 1, "local": "unix', "is not a connection file"),
        (b"[]", "is not a connection file"),
        (b'{"protocol": %d}' % PROTOCOL, "is not a connection file"),
        (b'{"protocol": 1, "address": "x"}', "speaks protocol 1 .* same version of steerio"),
        (b'{"protocol": 99, "host": 3}', "speaks protocol 99"),
    ],
)
def test_what_is_no_connection_file_is_named_with_the_reason(
    tmp_path: Path, data: bytes, why: str
) -> None:
    write_own(tmp_path / FILE_NAME, data)
    with pytest.raises(UsageError, match=why):
        read_connection(tmp_path)


def test_a_connection_file_that_is_none_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        read_connection(tmp_path)
    with pytest.raises(UsageError, match="no broker is running"):
        read_connection(tmp_path / "nowhere")
    (tmp_path / FILE_NAME).rmdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / FILE_NAME))
        with pytest.raises(UsageError):
            read_connection(tmp_path)


def test_what_cannot_be_written_to_a_run_directory_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write to the run directory .*file"):
        with writing_to(tmp_path / "file"):
            (tmp_path / "file").mkdir()
