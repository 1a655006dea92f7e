"""The handler of keys: whether a key may connect to a broker's TCP address, and in which role.

ZeroMQ asks a *ZAP* handler, over an inproc socket, whether to let a connection in; ours looks the
presented key up, and names the role that goes with it.  ZeroMQ hands that name on with each message
of the connection.  (ZeroMQ RFC 27, ZAP.)
"""

from __future__ import annotations

import threading

import zmq
import zmq.utils.z85

from steerio.edge.wire.contexts import Context
from steerio.edge.wire.keys import ServerKeys

ZAP_ADDRESS = "inproc://zeromq.zap.01"


class Gatekeeper:
    """The handler that tells ZeroMQ whether a key may connect, and in which role.

    Call `serve` now and then, from any thread.
    """

    def __init__(self, context: Context, keys: ServerKeys) -> None:
        self._lock = threading.Lock()
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ZAP_ADDRESS)
        self._roles = {
            zmq.utils.z85.decode(its.public.encode()): role for role, its in keys.peers.items()
        }
        self.refused = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket of the questions, to wait for one."""
        return self._socket

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return int(self._socket.get(zmq.FD))

    def serve(self) -> None:
        """Answer all questions that were asked."""
        with self._lock:
            while True:
                try:
                    frames = self._socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                # version, request id, domain, address, identity, mechanism, credentials...
                request = frames[1] if len(frames) > 1 else b""
                asked = len(frames) > 6 and frames[5] == b"CURVE"
                role = self._roles.get(frames[6]) if asked else None
                self.refused += role is None
                status = (b"400", b"unknown key") if role is None else (b"200", b"OK")
                user = b"" if role is None else role.encode()
                self._socket.send_multipart([b"1.0", request, *status, user, b""])

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            self._socket.close()
