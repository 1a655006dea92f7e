"""The file of a standing broker: whole after any crash, and on the disk once that was said."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from steerio import UsageError
from steerio.edge.record.broker_file import FILE, KEPT_FILE, NUMBERS, BrokerFile
from steerio.edge.record.disk import Folder, write_whole
from steerio.model.objects import StoredObject, Version
from tests.contract.crashing_disk import KEEPING, Crashed, CrashingDisk

CHANGES = ["create", "write", "sync", "rename", "sync_folder"]


@pytest.mark.parametrize("keeping", KEEPING)
@pytest.mark.parametrize("written", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("crash_at", [*range(len(CHANGES)), None])
def test_a_file_that_is_replaced_is_whole_after_a_crash_and_new_once_that_was_said(
    keeping: str, written: float, crash_at: int | None
) -> None:
    old, new = b"old" * 400, b"new" * 500
    disk = CrashingDisk({FILE: old}, crash_at, written)
    if crash_at is None:
        write_whole(disk, FILE, new)
        assert disk.calls == CHANGES
        allowed = {new}
    else:
        with pytest.raises(Crashed):
            write_whole(disk, FILE, new)
        allowed = {old, new}
    for seed in range(20):
        assert disk.survivors(keeping, Random(seed))[FILE] in allowed


@pytest.mark.parametrize("call", CHANGES)
def test_a_file_that_cannot_be_replaced_stays_and_nothing_lies_beside_it(call: str) -> None:
    disk = CrashingDisk({FILE: b"old"})
    disk.failing[call] = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        write_whole(disk, FILE, b"new")
    assert list(disk.files) == [FILE]
    assert not disk.descriptors
    assert bytes(disk.files[FILE].content) == (b"new" if call == "sync_folder" else b"old")


def test_numbers_of_clients_are_given_out_once_by_all_brokers_of_a_folder(tmp_path: Path) -> None:
    first = BrokerFile(tmp_path)
    assert (first.incarnation, first.returns) == (1, False)
    numbers = [first.next_client() for _ in range(NUMBERS + 2)]
    second = BrokerFile(tmp_path)
    assert (second.incarnation, second.returns) == (2, True)
    numbers += [second.next_client() for _ in range(3)]
    assert len(set(numbers)) == NUMBERS + 5
    second.close()
    third = BrokerFile(tmp_path)
    assert (third.incarnation, third.returns) == (3, False)
    assert third.next_client() not in numbers
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_brokers_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(UsageError, match="is not the file of a broker"):
        BrokerFile(tmp_path)


VERSIONS = {"model": Version(3, StoredObject(b"object", 10))}
PAUSED = {"simulate": "by hand"}


def left_by(file: BrokerFile) -> tuple[Mapping[str, Version], Mapping[str, str]]:
    return file.versions, file.paused


def test_versions_and_pauses_are_left_to_the_next_broker_unless_one_ends_in_order(
    tmp_path: Path,
) -> None:
    BrokerFile(tmp_path).keep(VERSIONS, PAUSED)
    second = BrokerFile(tmp_path)
    assert left_by(second) == (VERSIONS, PAUSED)
    assert left_by(BrokerFile(tmp_path)) == (VERSIONS, PAUSED), "the second died at once"
    assert (tmp_path / KEPT_FILE).stat().st_mode & 0o777 == 0o600
    second.close()
    assert not (tmp_path / KEPT_FILE).exists()
    (tmp_path / KEPT_FILE).write_bytes(b"left behind")
    assert left_by(BrokerFile(tmp_path)) == ({}, {})
    assert left_by(BrokerFile(tmp_path)) == ({}, {})


def test_what_a_machine_lost_of_versions_and_pauses_is_told_and_no_number_is_lost_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = BrokerFile(tmp_path)
    number = first.next_client()
    first.keep(VERSIONS, PAUSED)
    (tmp_path / KEPT_FILE).write_bytes(b"")
    second = BrokerFile(tmp_path)
    assert left_by(second) == ({}, {})
    assert second.next_client() > number
    assert "the versions and pauses of the broker before cannot be read" in caplog.text


def test_only_numbers_are_waited_for_until_they_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = BrokerFile(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(Folder, "sync", lambda _, descriptor: synced.append(descriptor))
    for _ in range(100):
        file.keep(VERSIONS, PAUSED)
    assert synced == []
    file.next_client()
    assert len(synced) == 1


def test_a_number_that_could_not_be_noted_is_not_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = BrokerFile(tmp_path)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", full)
        for _ in range(2):
            with pytest.raises(OSError, match="no space left"):
                first.next_client()
    number = first.next_client()
    assert BrokerFile(tmp_path).next_client() > number
