"""CURVE keys, by which a process may talk to a broker over TCP, and which tell what it may do.

A broker makes four key pairs when it starts listening on TCP: its own, and one for each kind of
peer: clients, nodes and observers.  Peers read theirs from a connection file (mode 0600).  (ZeroMQ
RFC 26, CurveZMQ.)

ZeroMQ is loaded only to use or to make keys: processes that speak to none but their own host do
without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import zmq

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
        import zmq

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
        import zmq

        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())
        socket.set(zmq.ZAP_DOMAIN, b"steerio")
        # Without it, ZeroMQ lets every peer in if there is no handler to ask.
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)


def make_pair(server_public: str) -> ClientKeys:
    """Return a fresh pair of keys for peers of the broker that has this public key."""
    import zmq

    public, secret = zmq.curve_keypair()
    return ClientKeys(server_public, public.decode(), secret.decode())


def make_keys() -> ServerKeys:
    """Return fresh keys."""
    import zmq

    server_public, server_secret = zmq.curve_keypair()
    peers = {role: make_pair(server_public.decode()) for role in ROLES}
    return ServerKeys(server_secret.decode(), peers)
