"""Where a broker listens: what killed ones have left is removed, and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from steerio.edge.wire import socket_folders
from steerio.edge.wire.socket_folders import sweep_sockets
from steerio.errors import UsageError
from steerio.launch.listening import Listening

OLD_S = 2 * socket_folders.JUST_MADE_S


def make_old(folder: Path) -> None:
    """Have a folder look as if it had been made a while ago."""
    then = time.time() - OLD_S
    os.utime(folder, (then, then))


@pytest.mark.parametrize("name", ["broker", "workers"])
def test_sockets_are_removed_when_nobody_listens_any_more(name: str) -> None:
    folder = socket_folders.make_folder()
    try:
        with closing(socket.socket(socket.AF_UNIX)) as broker:
            broker.bind(str(folder / name))
            broker.listen()
            make_old(folder)
            assert folder not in sweep_sockets()
        folder.touch()
        assert folder not in sweep_sockets(), "it may just be being made"
        make_old(folder)
        assert folder in sweep_sockets(dry_run=True)
        assert folder.exists()
        assert folder in sweep_sockets()
        assert not folder.exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_broker_that_is_slow_to_answer_keeps_its_sockets(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as deaf:
        deaf.bind(str(place))
        deaf.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(str(place))
        assert not socket_folders.nobody_listens(place)
        for each in waiting:
            each.close()
    assert socket_folders.nobody_listens(place)


@pytest.mark.parametrize("what", ["a file", "a folder of files"])
def test_what_only_looks_like_sockets_stays(what: str) -> None:
    folder = socket_folders.make_folder()
    try:
        if what == "a file":
            folder.rmdir()
            folder.touch()
        else:
            (folder / "notes").touch()
        make_old(folder)
        assert folder not in sweep_sockets()
        assert folder.exists()
    finally:
        folder.unlink() if what == "a file" else shutil.rmtree(folder)


def test_an_empty_folder_of_a_process_killed_as_it_ended_is_removed() -> None:
    folder = socket_folders.make_folder()
    assert folder not in sweep_sockets(), "it may just be being made"
    make_old(folder)
    assert folder in sweep_sockets()
    assert not folder.exists()


@pytest.mark.borders
def test_where_no_sockets_can_be_made_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:  # a long one would not be for sockets
        (Path(short) / "file").touch()
        for folder in (Path(short) / "gone", Path(short) / "file"):
            monkeypatch.setattr(tempfile, "tempdir", str(folder))
            with pytest.raises(UsageError, match=r"no folder for sockets .*TMPDIR"):
                Listening(None, None, encrypted=True).open()


@pytest.mark.borders
def test_a_temporary_folder_of_a_long_name_is_not_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for length in (socket_folders.LONGEST_SOCKET, 200):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * length)))
        folder = socket_folders.make_folder()
        folder.rmdir()
        assert folder.parent == Path("/tmp")


def test_nothing_of_zeromq_is_loaded_to_serve_one_host(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, sys, steerio\n"
        "def loaded():\n"
        "    return [name for name in sys.modules if name.partition('.')[0] == 'zmq']\n"
        "async def main():\n"
        "    async with steerio.open_session(workers=1) as session:\n"
        "        print(loaded(), await session.run(loaded))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]
