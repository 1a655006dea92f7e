"""ProxyStore's own connectors: `File` in shared memory, and `Redis` with a real server.

`python -m bench.rivals.proxystore CONTROL_FD file|redis`
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from functools import partial
from typing import Any

from proxystore.connectors.file import FileConnector
from proxystore.connectors.redis import RedisConnector
from proxystore.store import Store

from bench.contestant import serve
from bench.rivals.side import StoreSide, reader, timed_read

START_S = 10.0


@contextlib.contextmanager
def file_connector() -> Generator[Any, None, None]:
    """A folder in shared memory."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as folder:
        yield FileConnector(folder)


@contextlib.contextmanager
def redis_connector() -> Generator[Any, None, None]:
    """A server on loopback that writes nothing to disk."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    server = subprocess.Popen([*command, "--appendonly", "no"], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield RedisConnector("127.0.0.1", port)
    finally:
        server.terminate()
        server.wait(START_S)


def wait_for(port: int) -> None:
    """Wait until the server listens; raises OSError when it does not in time."""
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


CONNECTORS = {"file": file_connector, "redis": redis_connector}


stores: dict[Any, Store[Any]] = {}
"""The store of the process that reads."""


def read(kind: Any, config: dict[str, Any], key: Any) -> tuple[float, float]:
    """Read in the other process."""
    if kind not in stores:
        stores[kind] = Store("bench", kind.from_config(config), cache_size=0, register=False)
    return timed_read(stores[kind].get, key)


def main() -> None:
    """Obey orders until there are no more."""
    control_fd, kind = int(sys.argv[1]), sys.argv[2]
    with reader() as other, CONNECTORS[kind]() as connector:
        config = connector.config()
        store = Store("bench", connector, cache_size=0, register=False)
        reads = partial(read, type(connector), config)
        side = StoreSide(
            put=store.put,
            get=lambda key: store.proxy_from_key(key)[0],  # resolved by being looked at
            evict=store.evict,
            read=lambda key: other.submit(reads, key).result(),
        )
        serve(control_fd, side.rounds())


if __name__ == "__main__":
    main()
