"""Hosts by name and number, of IPv4 and IPv6: where a broker listens, and how it is reached."""

from __future__ import annotations

import contextlib
import re
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio.edge.wire.addresses import join_address, resolve_address, resolve_host, split_address
from steerio.edge.wire.connection import Connection, listens
from steerio.edge.wire.keys import ClientKeys
from steerio.errors import UsageError
from steerio.launch.listening import ANY_HOST, Listening, bind_address

pytestmark = pytest.mark.borders


def _has_ipv6() -> bool:
    """Whether this machine has IPv6 for itself; containers often have not."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


over_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")

KNOWN = {
    "node7": [(socket.AF_INET6, "2001:db8::7"), (socket.AF_INET, "10.0.0.7")],
    "six": [(socket.AF_INET6, "::1")],
    "link": [(socket.AF_INET6, "fe80::1%lo")],
    "own": [(socket.AF_INET, "127.0.1.1")],
    "away": [(socket.AF_INET, "192.0.2.1")],
}


@pytest.fixture(autouse=True)
def _hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system know these hosts, and no others."""

    system = socket.getaddrinfo

    def known(host: str, *more: Any, **by_name: Any) -> list[Any]:
        if re.fullmatch(r"[0-9a-f.:]+", host):
            return system(host, *more, **by_name)
        if host not in KNOWN:
            raise socket.gaierror(-2, "Name or service not known")
        return [(family, 1, 6, "", (number, 0)) for family, number in KNOWN[host]]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    monkeypatch.setattr(socket, "gethostname", lambda: "own")


def test_addresses_of_either_kind_are_put_together_and_taken_apart() -> None:
    for host in ("10.0.0.1", "::1", "fe80::1%eth0", "node7"):
        assert split_address(join_address(host, 5555)) == (host, 5555)
    assert join_address("::1", "*") == "tcp://[::1]:*"
    assert join_address("1.2.3.4", "*") == "tcp://1.2.3.4:*"


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("node7", "10.0.0.7"),
        ("six", "::1"),
        ("link", "fe80::1%lo"),
        ("nobody", None),
        ("", None),
        ("a b\n", None),
        ("x" * 300, None),
        ("\udce9", None),
    ],
)
def test_a_host_has_one_number_whoever_asks(host: str, number: str | None) -> None:
    assert resolve_host(host) == number
    if number is not None:
        assert bind_address(host) == number
        assert resolve_address(join_address(host, 1)) == join_address(number, 1)
        return
    with pytest.raises(UsageError, match="is not an address or name of this machine"):
        bind_address(host)
    with pytest.raises(UsageError, match="this machine knows no host"):
        resolve_address(f"tcp://{host}:1")


def test_what_is_no_tcp_address_stays_as_it_is_or_is_refused() -> None:
    assert resolve_address("unix:///tmp/a:b") == "unix:///tmp/a:b"
    with pytest.raises(UsageError, match="has no port"):
        resolve_address("tcp://node7")
    with pytest.raises(UsageError, match="the port goes into --port"):
        bind_address("10.0.0.1:5555")


def test_a_machines_own_name_stands_for_all_its_addresses_where_others_would_not_reach_it() -> None:
    assert bind_address("own") == ANY_HOST
    KNOWN["own"] = [(socket.AF_INET6, "::1")]
    try:
        assert bind_address("own") == ANY_HOST
        del KNOWN["own"]
        assert bind_address("own") == ANY_HOST
    finally:
        KNOWN["own"] = [(socket.AF_INET, "127.0.1.1")]


@pytest.mark.parametrize(
    ("host", "begins"),
    [
        pytest.param("::1", "tcp://[::1]:", marks=over_ipv6),
        pytest.param("[::1]", "tcp://[::1]:", marks=over_ipv6),
        pytest.param("six", "tcp://six:", marks=over_ipv6),
        pytest.param("::", "tcp://own:", marks=over_ipv6),
        ("127.0.0.1", "tcp://127.0.0.1:"),
        ("0.0.0.0", "tcp://own:"),
        ("*", "tcp://own:"),
        ("own", "tcp://own:"),
    ],
)
@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_broker_listens_where_it_says(host: str, begins: str, encrypted: bool) -> None:
    listening = Listening(host, None, encrypted)
    try:
        listening.open()
        assert listening.remote.startswith(begins)
        bound: Any = listening.routers[-1]
        assert listens(bound.address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"))
    finally:
        for router in listening.routers:
            router.close()
        listening.close()
        listening.remove_folder()


@over_ipv6
def test_nobody_listens_where_there_is_no_host() -> None:
    with closing(socket.socket(socket.AF_INET6)) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        assert listens(join_address("::1", listener.getsockname()[1]))
    for address in (
        "tcp://nobody:1",
        "tcp://[::1]:1",
        "tcp://\udce9:1",
        "tcp://" + "x" * 300 + ":1",
    ):
        assert not listens(address)


BROKEN = {
    "no address": ("elsewhere", "nonsense", None, "cannot connect to a broker at nonsense"),
    "no scheme": ("elsewhere", "10.0.0.1:5", None, "cannot connect to a broker at 10.0.0.1:5"),
    "no port": ("elsewhere", "tcp://10.0.0.1", None, "has no port"),
    "an unknown host": ("elsewhere", "tcp://nobody:5", None, "knows no host 'nobody'"),
    "keys that are none": (
        "elsewhere",
        "tcp://127.0.0.1:5",
        {"client": ClientKeys("x", "y", "z")},
        "cannot connect to a broker at tcp://127.0.0.1:5",
    ),
    "keys of no text": (
        "elsewhere",
        "tcp://127.0.0.1:5",
        {"client": ClientKeys("\udce9" * 40, "y", "z")},
        "cannot connect to a broker at tcp://127.0.0.1:5",
    ),
    "another's key": (
        "elsewhere",
        "tcp://127.0.0.1:5",
        {"node": ClientKeys("x", "y", "z")},
        "has no key for a client",
    ),
}


@pytest.mark.parametrize(("host", "remote", "keys", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_connection_file_with_an_address_that_is_none_is_said_at_once(
    tmp_path: Path, host: str, remote: str, keys: dict[str, ClientKeys] | None, why: str
) -> None:
    Connection(host, 1, "unix:///nowhere", remote, keys).write(tmp_path)
    with pytest.raises(UsageError, match=re.escape(why)):
        async with steerio.connect(tmp_path):
            pass
