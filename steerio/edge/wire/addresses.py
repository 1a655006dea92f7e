"""Addresses of brokers: paths of Unix sockets, and names and numbers of hosts.

Addresses are written as URLs have them: ``unix:///tmp/steerio-ab/broker`` on the broker's own host,
``tcp://10.0.0.1:5555``, ``tcp://[fe80::1%eth0]:5555``, ``tcp://node7:5555`` on others.  A name that
has addresses of IPv4 and IPv6 stands for those of IPv4, at either end; ZeroMQ would take one of
them and never try another.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from pathlib import Path

from steerio.errors import UsageError

TCP = "tcp://"
UNIX = "unix://"


def is_local(address: str) -> bool:
    """Say whether an address is of a socket on this host."""
    return address.startswith(UNIX)


def socket_path(address: str) -> Path:
    """Return the path of the socket of a local address."""
    return Path(address.removeprefix(UNIX))


def join_address(host: str, port: int | str) -> str:
    """Return the address of a host (a name or number) and port."""
    return f"{TCP}[{host}]:{port}" if ":" in host else f"{TCP}{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address that `join_address` made.

    Raises:
        ValueError: it has no port.
    """
    host, _, port = address.removeprefix(TCP).rpartition(":")
    return host.strip("[]"), int(port)


def resolve_address(address: str) -> str:
    """Return an address whose host is a number; other addresses are returned as they are.

    Raises:
        UsageError: this machine does not know the host.
    """
    if not address.startswith(TCP):
        return address
    try:
        host, port = split_address(address)
    except ValueError:
        raise UsageError(f"the broker's address {address} has no port") from None
    found = resolve_host(host)
    if found is None:
        raise UsageError(
            f"the broker listens on {address}, and this machine knows no host {host!r}: give the "
            "broker an address that all know (--host)"
        )
    return join_address(found, port)


def resolve_host(host: str) -> str | None:
    """Return the number of a host, of IPv4 if it has one; ``None``: it is not known here."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # no name at all, of which IDNA says so
        return None
    numbers = [
        str(place[0])
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind, _, _, _, place in found
        if kind == family
    ]
    return numbers[0] if numbers else None
