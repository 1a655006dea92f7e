"""The connection files: the addresses of a broker, and the keys to be let in.

The broker writes each at once and complete (a rename), readable by its owner alone, and removes
them when it ends.  One has all keys; the others are for peers of one role, and can be handed on.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from steerio.edge.system.machine import boot_id, process_space
from steerio.edge.system.own_files import from_json, read_own, to_json, write_own
from steerio.edge.wire.addresses import UNIX, is_local, socket_path, split_address
from steerio.edge.wire.keys import CLIENT, NODE, OBSERVER, ClientKeys
from steerio.errors import UsageError
from steerio.model.messages import PROTOCOL
from steerio.model.objects import StoreSetting

FILE_NAME = "connection.json"
WORKERS = "workers"
"""The name of the socket for workers, beside the one for nodes and clients."""
NAMES = {"": FILE_NAME, NODE: "node.json", OBSERVER: "observer.json"}
"""The names of the connection files, by the only role that peers which read them have."""
LISTEN_S = 1.0
"""Longest wait for a socket to accept a connection."""


class Connection(Struct, frozen=True):
    """The addresses, keys and store of a broker.

    Attributes:
        host, pid: the machine and process of the broker.
        local: address for nodes and clients on the same machine (a Unix socket); empty in the file
            of a key of its own, which opens the network address alone.
        remote: TCP address for others, or empty if the broker does not listen on one.
        keys: CURVE keys for ``remote`` by role, or ``None`` if it is not encrypted.
        protocol: version of the messages it speaks.
        store: the store of its large values, if they go by reference.
        objects: the folder of them on its machine.
        random_seed: the seed from which its workers' random numbers follow.
        space: the space of process numbers in which ``pid`` counts, if known (`process_space`).
        role: the only role in which its readers join, or empty for any.
        rejoin_s: for how many seconds its nodes wait for another broker, if it ends without a word.
        allow: the functions that workers may run, which then read no pickle; ``None``: any.
    """

    host: str
    pid: int
    local: str
    remote: str = ""
    keys: dict[str, ClientKeys] | None = None
    protocol: int = PROTOCOL
    store: StoreSetting | None = None
    objects: str = ""
    random_seed: int = 0
    space: str = ""
    role: str = ""
    rejoin_s: float = 300.0
    allow: tuple[str, ...] | None = None

    @property
    def observes(self) -> bool:
        """Whether a client that reads this may only look on."""
        return self.role == OBSERVER

    @property
    def address(self) -> tuple[str, ClientKeys | None]:
        """The address to use from this machine as a client, and its keys.

        Raises:
            UsageError: as from `reach`.
        """
        return self.reach(OBSERVER if self.observes else CLIENT)

    def reach(self, role: str) -> tuple[str, ClientKeys | None]:
        """Return the address to use from this machine as a peer of this role, and its keys.

        Raises:
            UsageError: the broker is on another machine and listens on no network, or it has
                ended, or this lets no such peer in.
        """
        better = f"use the broker's {NAMES.get(role, FILE_NAME)}"
        if self.role not in ("", role):
            raise UsageError(
                f"this is the connection file of {self.role}s, which lets no {role} in: {better}"
            )
        if self.local and self.here and _can_reach(socket_path(self.local)):
            return self.local, None
        if self.remote:
            if self.keys is not None and role not in self.keys:
                raise UsageError(f"this connection file has no key for a {role}: {better}")
            return self.remote, self.keys[role] if self.keys is not None else None
        if self.counted_here:
            raise UsageError(
                f"the broker (process {self.pid}) has ended without taking its connection file "
                "away: start another"
            )
        if self.host == socket.gethostname():
            raise UsageError(
                f"the broker (process {self.pid}) listens for processes of its own machine only, "
                f"which is another {self.host} than this: a container, a clone, or this one before "
                "it was started anew; start it with 'steerio broker --host ADDRESS', or another"
            )
        raise UsageError(
            f"the broker on {self.host} listens for processes of that machine only; "
            "start it with 'steerio broker --host ADDRESS'"
        )

    @property
    def here(self) -> bool:
        """Whether the broker is on this machine, as far as can be told."""
        kernel = self.space.partition(" ")[0]
        return self.host == socket.gethostname() and kernel in ("", boot_id())

    @property
    def counted_here(self) -> bool:
        """Whether process numbers mean the same to it as here: not in another container."""
        return self.here and self.space in ("", process_space())

    @property
    def folder(self) -> str:
        """The folder of its sockets on its machine, which it removes as it ends."""
        return str(socket_path(self.local).parent)

    @property
    def workers(self) -> str:
        """The address for workers on its machine: a socket beside the other."""
        return f"{UNIX}{socket_path(self.local).with_name(WORKERS)}"

    def only(self, role: str) -> Connection:
        """Return the connection for peers of one role: it has no other's key.

        An observer needs no store, whose setting may have a password.
        """
        keys = None if self.keys is None else {role: self.keys[role]}
        connection = structs.replace(self, keys=keys, role=role)
        if role == OBSERVER:
            connection = structs.replace(connection, store=None, objects="")
        return connection

    def with_own_key(self, role: str, keys: ClientKeys) -> Connection:
        """Return the connection for one holder of a key, which goes over the network also here.

        A local peer shows no key, so that its key could not be revoked.
        """
        held = structs.replace(self, keys={**(self.keys or {}), role: keys})
        return structs.replace(held.only(role), local="")

    def write(self, folder: Path) -> Path:
        """Write the connection file into a run directory.

        Raises:
            OSError: it cannot be written; an earlier file is left as it was.
        """
        path = folder / NAMES[self.role]
        write_own(path, to_json(self))
        return path


def read_connection(place: Path | str, *, secret: bool = True) -> Connection:
    """Read the connection file of a run directory (or the file itself).

    Args:
        place: the run directory, or the file.
        secret: whether to refuse one that others can read; its writer may find its own again.

    Raises:
        UsageError: there is none, or it is not one, or others can read or write it.
    """
    path = Path(place)
    try:
        if path.is_dir():
            path = path / FILE_NAME
        data, _ = read_own(path, secret=secret)
    except FileNotFoundError:
        raise UsageError(
            f"no broker is running in {path.parent} (there is no {path.name} in it): "
            "a run has one while it goes on; if it joined a broker, name that one's folder"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} is not a connection file: {error.strerror}") from error
    try:
        return from_json(data, Connection)
    except msgspec.DecodeError as error:
        raise UsageError(_why_unread(path, data, error)) from error


def _can_reach(place: Path) -> bool:
    """Say whether a socket is there that this user may use: another user's is out of reach."""
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


class _OfAnyVersion(Struct):
    protocol: int


def _why_unread(path: Path, data: bytes, error: Exception) -> str:
    """Say why the content of a file is not a connection."""
    if not data:
        return f"{path} is not a connection file: it is empty"
    try:
        protocol = from_json(data, _OfAnyVersion).protocol
    except msgspec.DecodeError:
        protocol = PROTOCOL
    if protocol == PROTOCOL:
        return f"{path} is not a connection file: {error}"
    return (
        f"the broker of {path} speaks protocol {protocol} and this steerio {PROTOCOL}: use the "
        "same version of steerio on both sides"
    )


def listens(address: str) -> bool:
    """Say whether a process listens on a ``unix://`` or ``tcp://`` address."""
    try:
        if is_local(address):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(LISTEN_S)
                probe.connect(str(socket_path(address)))
        else:
            socket.create_connection(split_address(address), LISTEN_S).close()
    except (TimeoutError, BlockingIOError):
        return is_local(address)  # it is there, and slow to answer
    except (OSError, UnicodeError, ValueError):
        return False
    return True
