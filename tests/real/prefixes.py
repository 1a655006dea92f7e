"""A small proxy that puts a prefix before the paths of a server, as JupyterHub's does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator


@contextlib.contextmanager
def behind_prefix(port: int, prefix: str, *, leaves: bool) -> Generator[int]:
    """Pass connections on to a port, whose requests begin with a prefix; give the proxy's port.

    Args:
        port: of the server on this machine.
        prefix: what is before its paths here; other paths are refused.
        leaves: whether the server is told the prefix, or the path behind it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []
        sockets: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                sockets.extend((near, far))
                head = prefix.encode() if not leaves else b""
                for one, other, taken in ((near, far, head), (far, near, b"")):
                    thread = threading.Thread(target=_pass_on, args=(one, other, taken))
                    thread.start()
                    threads.append(thread)

        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for each in sockets:
                each.close()


def _pass_on(one: socket.socket, other: socket.socket, taken: bytes) -> None:
    """Pass bytes on until the end; requests lose what is taken (a browser sends each at once)."""
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            if taken:
                for method in (b"GET ", b"POST "):
                    data = data.replace(method + taken + b"/", method + b"/", 1)
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
