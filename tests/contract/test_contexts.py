"""Contexts end, whatever was raised, and where, while their sockets were opened or closed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from steerio.edge.wire.contexts import Context
from steerio.edge.wire.unix import StreamRouter
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from tests.contract import interrupted
from tests.contract.interrupted import ends

pytestmark = pytest.mark.borders


def test_a_context_ends_wherever_it_was_interrupted() -> None:
    program = [sys.executable, "-W", "ignore", "-m", interrupted.__name__]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 100, "it went through all lines"


@pytest.mark.parametrize(
    "address",
    ["nonsense", "ipc:///no/such/folder/broker", "tcp://no.such.host.invalid:1", "tcp://\udce9:1"],
)
def test_what_cannot_be_opened_is_an_os_error_and_leaves_nothing_open(address: str) -> None:
    context = Context()
    with pytest.raises(OSError, match=r".") as caught:
        ZmqRouter(context, address)
    assert ends(context), caught
    context = Context()
    with pytest.raises(OSError, match="nonsense") as told:
        ZmqLink(context, "nonsense", b"name")
    assert ends(context), told


def test_a_folder_of_any_name_takes_sockets() -> None:
    for name in (b"caf\xe9", "zürich-東".encode(), b"a b\nc", b"%s%20:*?#[x]", b"'\"\\"):
        with tempfile.TemporaryDirectory() as top:
            folder = os.path.join(top, os.fsdecode(name))  # noqa: PTH118 - it is a name, not a path
            Path(folder).mkdir()
            context = Context()
            router = ZmqRouter(context, f"ipc://{folder}/broker")
            assert router.address == f"ipc://{folder}/broker"
            link = ZmqLink(context, router.address, b"peer")
            assert Path(folder, "broker").is_socket()
            stream = StreamRouter(f"{folder}/workers")
            for end in (link, router, stream):
                end.close()
            context.end()


def test_a_stream_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        StreamRouter(str(tmp_path / ("x" * 120)))
    with pytest.raises(FileNotFoundError):
        StreamRouter(str(tmp_path / "no/such/folder"))
