"""A real Redis server for a test, on a free port of this machine's loopback or another address."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import redis

TRIES = 5
"""Somebody else may take a free port before the server does."""


@contextmanager
def redis_server(host: str = "127.0.0.1") -> Generator[int]:
    """Start a server at this address of the machine, and yield its port."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TRIES):
            port = free_port()
            words = f"--port {port} --bind {host} --dir {folder} --protected-mode no --save".split()
            server = subprocess.Popen([command, *words, ""], stdout=subprocess.PIPE, text=True)
            with server:
                try:
                    if says(server, "Ready to accept connections"):
                        yield port
                        return
                finally:
                    server.kill()
    raise RuntimeError(f"redis-server found no free port in {TRIES} tries")


def connected(port: int, host: str = "127.0.0.1") -> redis.Redis:
    """Return a client of it."""
    return redis.Redis(host=host, port=port)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def refusing_port() -> Generator[int]:
    """Hold a port at which nobody listens, and which nobody else gets."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def says(server: subprocess.Popen[str], words: str) -> bool:
    """Read what a server says until it says this; ``False``: it ended without."""
    assert server.stdout is not None
    return any(words in line for line in server.stdout)
