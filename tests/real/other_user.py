"""A process of another user of the same machine, which tries to get at a broker of root.

It is started by root, imports all that it needs, becomes user 65534, and prints as JSON how each of
its tries ended: ``PermissionError`` and such, or ``in``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from steerio.edge.wire.addresses import split_address
from steerio.edge.wire.connection import read_connection
from steerio.edge.wire.keys import ClientKeys, make_pair

NOBODY = 65534


def tried(act: Callable[[], Any]) -> str:
    try:
        act()
    except (OSError, UnicodeError) as error:
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 - the test tells by the name
        return type(error).__name__
    return "in"


def connect_to(path: str) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.connect(path)


def greet_without_key(address: str) -> str:
    """Greet a TCP address as a ZeroMQ peer without keys does; ``refused``: it ends that."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
    with socket.socket() as other:  # a look-up of the name would load modules
        other.settimeout(20)
        other.connect(split_address(address))
        other.sendall(greeting)
        try:
            while other.recv(1_000):
                pass
        except TimeoutError:
            return "no answer"
        except ConnectionError:
            pass
    return "refused"


def handshake(address: str, keys: ClientKeys) -> str:
    """Try to talk to a TCP address; return ``refused`` once the broker has ended the connection."""
    context = zmq.Context()
    link = context.socket(zmq.DEALER)
    link.set(zmq.LINGER, 0)
    link.set(zmq.HANDSHAKE_IVL, 20_000)
    keys.secure(link)
    failed = (
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_DISCONNECTED
    )
    monitor = link.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    link.connect(address)
    try:
        if not monitor.poll(20_000):
            return "no answer"
        event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
        return "refused" if event & failed else "in"
    finally:
        link.disable_monitor()
        monitor.close()
        link.close()
        context.term()


def main() -> None:
    run_dir, pid = Path(sys.argv[1]), int(sys.argv[2])
    connection = read_connection(run_dir)
    assert connection.keys is not None
    stranger = make_pair(connection.keys["client"].server_public)
    given = Path(sys.argv[3])
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    local = connection.local.removeprefix("unix://")
    number = split_address(connection.remote)[1]
    address = f"tcp://127.0.0.1:{number}"
    outcomes = {
        "run directory": tried(lambda: list(run_dir.iterdir())),
        "connection file": tried((run_dir / "connection.json").read_bytes),
        "keys": tried((run_dir / "keys.json").read_bytes),
        "record": tried((run_dir / "tasks.jsonl").read_bytes),
        "journal": tried(lambda: list((run_dir / "journal").iterdir())),
        "objects": tried(lambda: list(Path(connection.objects).iterdir())),
        "socket": tried(lambda: connect_to(local)),
        "workers' socket": tried(lambda: connect_to(local.replace("/broker", "/workers"))),
        "environment": tried(Path(f"/proc/{pid}/environ").read_bytes),
        "memory": tried(Path(f"/proc/{pid}/mem").read_bytes),
        "a file of another": tried(lambda: read_connection(given)),
        "no key": greet_without_key(address),
        "another key": handshake(address, stranger),
        "command line has keys": str(
            any(
                key.secret.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
                for key in connection.keys.values()
            )
        ),
    }
    sys.stdout.write(json.dumps(outcomes))


assert msgspec  # loaded before this process may read no more
if __name__ == "__main__":
    main()
