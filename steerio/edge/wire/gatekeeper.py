"""The handler of keys: whether a key may connect to a broker's TCP address, and in which role.

ZeroMQ asks a *ZAP* handler, over an inproc socket, whether to let a connection in; ours looks the
presented key up, and names the label that goes with it: its role, and its holder if it was made for
one.  ZeroMQ hands that label on with each message of the connection.  (ZeroMQ RFC 27, ZAP.)
"""

from __future__ import annotations

import threading

import zmq
import zmq.utils.z85

from steerio.edge.wire.contexts import Context
from steerio.edge.wire.keyring import Keyring

KEY_BYTES = 32
ZAP_ADDRESS = "inproc://zeromq.zap.01"


class Gatekeeper:
    """The handler that tells ZeroMQ whether a key may connect, and in which role.

    Call `serve` now and then, from any thread.

    Args:
        context: where its socket belongs.
        keyring: knows the keys.
    """

    def __init__(self, context: Context, keyring: Keyring) -> None:
        self._lock = threading.Lock()
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ZAP_ADDRESS)
        self._keyring = keyring

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
                public = frames[6] if asked and len(frames[6]) == KEY_BYTES else b""
                where = frames[3].decode(errors="replace")[:64] if len(frames) > 3 else "?"
                shown = zmq.utils.z85.encode(public).decode()
                label = self._keyring.label(shown, where)
                status = (b"200", b"OK") if label else (b"400", b"unknown key")
                user = label.encode()
                self._socket.send_multipart([b"1.0", request, *status, user, b""])

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            self._socket.close()
