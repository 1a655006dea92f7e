"""CURVE keys, by which a process may talk to a broker over TCP, and which tell what it may do.

A broker makes four key pairs when it starts listening on TCP: its own, and one for each kind of
peer: clients, nodes and observers.  Peers read theirs from a connection file (mode 0600).  ZeroMQ
asks a *ZAP* handler, over an inproc socket, whether to let a connection in; ours looks the
presented key up, and names the role that goes with it.  ZeroMQ hands that name on with each message
of the connection.  (ZeroMQ RFC 26, CurveZMQ; RFC 27, ZAP.)
"""

from __future__ import annotations

import threading

import zmq
import zmq.utils.z85
from msgspec import Struct

from steerio.edge.wire.contexts import Context

ZAP_ADDRESS = "inproc://zeromq.zap.01"
CLIENT, NODE, OBSERVER = "client", "node", "observer"
ROLES = (CLIENT, NODE, OBSERVER)
"""The kinds of peers that have keys of their own."""


class ClientKeys(Struct, frozen=True):
    """The keys that a peer needs: the broker's public key and the pair of its own role."""

    server_public: str
    public: str
    secret: str

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak CURVE as a client."""
        socket.set(zmq.CURVE_SERVERKEY, self.server_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())


class ServerKeys(Struct, frozen=True):
    """The keys that the broker needs: its own secret, and those of its peers by role."""

    secret: str
    peers: dict[str, ClientKeys]

    @property
    def client(self) -> ClientKeys:
        """The keys of clients."""
        return self.peers[CLIENT]

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
    peers: dict[str, ClientKeys] = {}
    for role in ROLES:
        public, secret = zmq.curve_keypair()
        peers[role] = ClientKeys(server_public.decode(), public.decode(), secret.decode())
    return ServerKeys(server_secret.decode(), peers)


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
