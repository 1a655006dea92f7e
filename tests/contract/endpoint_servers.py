"""A real ProxyStore endpoint for a test, on this machine's loopback and without a relay."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.redis_servers import free_port, says

TRIES = 3
"""Somebody else may take a free port before the endpoint does."""
CONFIG = """
name = "one"
uuid = "{uuid}"
port = {port}
host = "127.0.0.1"
host_type = "static"

[relay]
"""


@contextmanager
def proxystore_endpoint(folder: Path) -> Generator[dict[str, Any]]:
    """Start an endpoint and yield the options of a store that uses it."""
    command = [str(Path(sys.executable).with_name("proxystore-endpoint")), "start", "one"]
    own = folder / "one"
    own.mkdir()
    for _ in range(TRIES):
        name = str(uuid.uuid4())
        (own / "config.toml").write_text(CONFIG.format(uuid=name, port=free_port()))
        server = subprocess.Popen(
            [*command, "--no-detach"],
            env={**os.environ, "PROXYSTORE_HOME": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with server:
            try:
                if says(server, "Uvicorn running"):
                    yield {"endpoints": [name], "proxystore_dir": str(folder)}
                    return
            finally:
                server.kill()
    raise RuntimeError(f"an endpoint found no free port in {TRIES} tries")
