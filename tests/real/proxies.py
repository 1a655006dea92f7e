"""A proxy between a broker and its peers, which breaks their connections as networks do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK_BYTES = 1 << 16
LOOK_S = 0.05


class _Pair:
    """One connection through the proxy."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)

    def reset(self) -> None:
        """Break it: what is under way is lost, and both ends are told by a reset."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


class Proxy:
    """Forwards TCP connections to an address, as long as it may.

    All of it is done by one thread, which copies bytes; what is told to it counts at once.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """Connections that were made through it."""
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._refuses = self._frozen = self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def reset(self) -> None:
        """Break all connections; peers may connect again at once."""
        with self._lock:
            for pair in self._pairs:
                pair.reset()
            self._pairs.clear()

    def cut(self) -> None:
        """Break all connections, and let none be made until `mend`."""
        self._refuses = True
        self.reset()

    def freeze(self) -> None:
        """Let nothing through, while all connections stand, until `mend`."""
        self._frozen = True

    def mend(self) -> None:
        """Let everything through again."""
        self._refuses = self._frozen = False

    def close(self) -> None:
        """End all of it."""
        self._closing = True
        self._thread.join()
        self.reset()
        self._listener.close()

    def _run(self) -> None:
        while not self._closing:
            with self._lock:
                ends = {a: b for p in self._pairs for a, b in (p.ends, p.ends[::-1])}
            reads = [self._listener] + ([] if self._frozen else list(ends))
            try:
                ready, _, _ = select.select(reads, [], [], LOOK_S)
            except (OSError, ValueError):  # one was just reset
                continue
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif not self._frozen:
                    self._forward(source, ends[source])

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._refuses:
            near.close()
            return
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with self._lock:
            self.accepted += 1
            self._pairs.append(_Pair(near, far))

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data = source.recv(CHUNK_BYTES)
            if data:
                target.sendall(data)
        except OSError:
            data = b""
        if not data:
            with self._lock:
                for pair in [p for p in self._pairs if source in p.ends]:
                    self._pairs.remove(pair)
                    for end in pair.ends:
                        end.close()


@contextmanager
def proxy_to(address: str) -> Iterator[Proxy]:
    """Run a proxy to a ``tcp://`` address."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    proxy = Proxy(host, int(port))
    try:
        yield proxy
    finally:
        proxy.close()
