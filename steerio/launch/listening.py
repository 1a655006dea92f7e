"""The addresses of a broker on this loop: in memory, on this host, and for others over TCP."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from steerio.edge.system.descriptors import spare_descriptors
from steerio.edge.system.threads import need_threads
from steerio.edge.wire.addresses import TCP, UNIX, join_address, resolve_host, split_address
from steerio.edge.wire.connection import WORKERS
from steerio.edge.wire.endpoint import RouterEndpoint
from steerio.edge.wire.keyring import KeyList, Keyring
from steerio.edge.wire.keys import ClientKeys, make_keys
from steerio.edge.wire.memory import MemoryRouter
from steerio.edge.wire.socket_folders import make_folder
from steerio.edge.wire.unix import StreamRouter
from steerio.errors import UsageError

log = logging.getLogger("steerio.launch")

BROKER = "broker"
"""The name of the socket for nodes and clients."""
ANY_HOST = "0.0.0.0"
"""All addresses of this machine."""


class Listening:
    """The endpoints of a broker.

    Open with `open`, end with `close` once the routers are closed.

    Args:
        host, port: the TCP address to listen on; ``None`` for this machine only.
        encrypted: whether TCP speaks CURVE.
        expected: how many peers of this machine will take a descriptor each.
        listed: the keys of single holders, if there may be any.
    """

    def __init__(
        self,
        host: str | None,
        port: int | None,
        encrypted: bool,
        expected: int = 0,
        listed: KeyList | None = None,
    ) -> None:
        self.door: NetworkDoor | None = None
        """The keys of the TCP address, as the broker sees them."""
        self._listed = listed
        self.memory = MemoryRouter()
        self.routers: list[RouterEndpoint] = []
        self.stream = ""
        """The address for workers of this machine."""
        self.local = ""
        """The address for nodes and clients of this machine."""
        self.remote = ""
        """The address for other machines, if it listens for them."""
        self.keys: dict[str, ClientKeys] | None = None
        """The keys that those need, by role."""
        self.folder: Path | None = None
        """The folder of the sockets."""
        self._host, self._port, self._encrypted = host, port, encrypted
        self._opened = contextlib.ExitStack()
        self._expected = expected

    def __repr__(self) -> str:
        return f"<Listening at {self.local or 'no address yet'} {self.remote}>"

    def open(self, *, for_own_loop: bool = True) -> None:
        """Listen; ``for_own_loop``: also to clients on this loop.

        Raises:
            UsageError: there is no folder for sockets, the TCP address cannot be listened on, or
                there are no descriptors or threads left.
        """
        if for_own_loop:
            self.routers.append(self.memory)
        self.folder = folder = make_folder()
        try:
            need_threads()
            for name in (WORKERS, BROKER):
                self.routers.append(StreamRouter(f"{folder}/{name}", first=name == WORKERS))
            self.stream, self.local = (f"{UNIX}{folder}/{name}" for name in (WORKERS, BROKER))
        except OSError as error:
            why = error.strerror or error
            raise UsageError(
                f"cannot listen in {folder}: {why}; see what room it has, and the bounds of this "
                "process (ulimit -n, ulimit -u)"
            ) from None
        if self._host is not None:
            self._open_network(self._host)

    def _open_network(self, given: str) -> None:
        """Listen on TCP.

        Raises:
            UsageError: the address cannot be listened on.
        """
        # loaded by those alone that speak to other hosts
        from steerio.edge.wire.contexts import Context
        from steerio.edge.wire.gate import Gate
        from steerio.edge.wire.zeromq import ZmqRouter

        server = make_keys() if self._encrypted else None
        if server is not None:
            self.keys = server.peers
        else:
            log.warning("TCP is not encrypted: anyone who reaches it can run code here")
        host = _host_of(given)
        bound = bind_address(host)
        address = join_address(bound, self._port or "*")
        asked = join_address(host, self._port or "any port")
        try:
            context = Context()
            self._opened.callback(context.end)
            keyring = None if server is None else Keyring(server, self._listed)
            gate = Gate(context, keyring, spare_descriptors(self._expected))
            self._opened.callback(gate.close)
            router = ZmqRouter(context, address, server, gate)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {asked.removeprefix(TCP)}: {error.strerror}. "
                "Choose another --port (0: any free one) or --host"
            ) from None
        self.routers.append(router)
        if keyring is not None:
            self.door = NetworkDoor(keyring, router.cut)
        # no other machine reaches this one by a number that stands for all of its own
        known = socket.gethostname() if host in (ANY_HOST, "::") else host
        self.remote = join_address(known, split_address(router.address)[1])

    def close(self) -> None:
        """Let go of the context and gate of the routers, which are closed by now."""
        self._opened.close()

    def remove_folder(self) -> None:
        """Remove the folder of the sockets."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class NetworkDoor:
    """The keys of a TCP address, and the connections that show them.

    Args:
        keyring: the keys.
        cut: ends the connections that have shown keys of these labels.
    """

    def __init__(self, keyring: Keyring, cut: Callable[[Collection[str]], None]) -> None:
        self._keyring = keyring
        self._cut = cut

    def __repr__(self) -> str:
        return f"<NetworkDoor with {self._keyring!r}>"

    def look(self) -> frozenset[str]:
        """Look which keys are revoked by now, and return their labels."""
        return self._keyring.look()

    def cut(self, labels: Collection[str]) -> None:
        """End the connections that have shown keys of these labels."""
        self._cut(labels)

    @property
    def revoked(self) -> frozenset[str]:
        """The labels of keys that were revoked, as of the last look."""
        return self._keyring.revoked

    @property
    def refused(self) -> Counter[str]:
        """How many connections were refused, by reason."""
        return self._keyring.refused


def check_host(given: str | None) -> None:
    """Refuse an address that is none of this machine, before there is a run directory.

    Raises:
        UsageError: it is none.
    """
    if given is not None:
        bind_address(_host_of(given))


def _host_of(given: str) -> str:
    """Return the host that was asked for, as an address or a name."""
    return ANY_HOST if given == "*" else given.strip("[]")


def bind_address(host: str) -> str:
    """Return the numeric address to bind for a host (ZeroMQ wants a number).

    Raises:
        UsageError: it is no address or name of this machine.
    """
    number = resolve_host(host)
    own = host == socket.gethostname() != "localhost"
    if number is None and not own:
        with_port = host.count(":") == 1 and host.rpartition(":")[2].isdecimal()
        raise UsageError(
            f"--host {host!r} is not an address or name of this machine"
            + ("; the port goes into --port" if with_port else "")
        )
    # Debian's machines know their own name as an address that others do not reach, if at all
    if number is None or (own and ipaddress.ip_address(number).is_loopback):
        return ANY_HOST
    return number
