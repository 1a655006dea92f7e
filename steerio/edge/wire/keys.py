"""CURVE keys, by which a process may talk to a broker over TCP.

A broker makes two key pairs when it starts listening on TCP: its own, and one that all
its peers share.  Peers read theirs from the connection file (mode 0600).  ZeroMQ asks a
*ZAP* handler, over an inproc socket, whether to let a connection in; ours compares the
presented key with the shared one.  (ZeroMQ RFC 26, CurveZMQ; RFC 27, ZAP.)
"""

from __future__ import annotations

import zmq
import zmq.utils.z85
from msgspec import Struct

from steerio.edge.wire.contexts import Context

ZAP_ADDRESS = "inproc://zeromq.zap.01"


class ClientKeys(Struct, frozen=True):
    """The keys that a peer needs: the broker's public key and the shared pair."""

    server_public: str
    public: str
    secret: str

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak CURVE as a client."""
        socket.set(zmq.CURVE_SERVERKEY, self.server_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())


class ServerKeys(Struct, frozen=True):
    """The keys that the broker needs: its own secret, and those for its peers."""

    secret: str
    client: ClientKeys

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak CURVE as a server."""
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())
        socket.set(zmq.ZAP_DOMAIN, b"steerio")
        # Without it, ZeroMQ lets every peer in if there is no handler to ask.
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)


def make_keys() -> ServerKeys:
    """Return fresh keys."""
    server_public, server_secret = zmq.curve_keypair()
    public, secret = zmq.curve_keypair()
    client = ClientKeys(server_public.decode(), public.decode(), secret.decode())
    return ServerKeys(server_secret.decode(), client)


class Gatekeeper:
    """The handler that tells ZeroMQ whether a key may connect; call `serve` now and then."""

    def __init__(self, context: Context, keys: ServerKeys) -> None:
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ZAP_ADDRESS)
        self._allowed = zmq.utils.z85.decode(keys.client.public.encode())
        self.refused = 0

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return int(self._socket.get(zmq.FD))

    def serve(self) -> None:
        """Answer all questions that were asked."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # version, request id, domain, address, identity, mechanism, credentials...
            request = frames[1] if len(frames) > 1 else b""
            welcome = len(frames) > 6 and frames[5] == b"CURVE" and frames[6] == self._allowed
            self.refused += not welcome
            status = (b"200", b"OK") if welcome else (b"400", b"unknown key")
            self._socket.send_multipart([b"1.0", request, *status, b"peer", b""])

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
