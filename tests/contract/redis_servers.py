"""A real Redis server for a test, on a free port of this machine's loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

TRIES = 5
"""Somebody else may take a free port before the server does."""


@contextmanager
def redis_server() -> Iterator[int]:
    """Start a server and yield its port."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TRIES):
            port = _free_port()
            server = subprocess.Popen(
                [
                    command,
                    "--port",
                    str(port),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--dir",
                    folder,
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            with server:
                try:
                    if _is_ready(server):
                        yield port
                        return
                finally:
                    server.kill()
    raise RuntimeError(f"redis-server found no free port in {TRIES} tries")


def connected(port: int) -> redis.Redis:
    """Return a client of it."""
    return redis.Redis(port=port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(server: subprocess.Popen[str]) -> bool:
    """Read what it says until it takes connections, or ends."""
    assert server.stdout is not None
    return any("Ready to accept connections" in line for line in server.stdout)
