"""Keys of single holders: made, shown at the door, revoked, and refused from then on."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from steerio.edge.wire.gate import Gate
from steerio.edge.wire.keyring import KEYS_FILE, MOST_KEYS, KeyList, Keyring, NamedKey
from steerio.edge.wire.keys import ClientKeys, ServerKeys, make_keys, make_pair
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.errors import UsageError
from tests.contract.wires import LinkEar, RouterEar, to_broker, zmq_context


def listed(keys: ServerKeys, listing: KeyList, name: str, role: str = "client") -> ClientKeys:
    """Make a key for a holder, and list it."""
    made = make_pair(keys.client.server_public)
    listing.add(NamedKey(name, role, made.public, 1.0))
    return made


def test_a_key_opens_until_it_is_revoked_and_each_refusal_is_counted(tmp_path: Path) -> None:
    keys, listing = make_keys(), KeyList(tmp_path)
    ring = Keyring(keys, listing)
    bob = listed(keys, listing, "bob")
    assert ring.label(keys.client.public, "here") == "client"
    assert ring.label(bob.public, "here") == "client:bob"
    assert ring.look() == frozenset()
    listing.revoke("bob")
    assert ring.label(bob.public, "here") == ""
    assert ring.look() == {"client:bob"}
    assert ring.label("x" * 40, "here") == ""
    assert ring.label("", "here") == ""
    assert ring.refused == {"revoked key": 1, "unknown key": 2}
    assert [key.revoked is None for key in listing.all()] == [False]


def test_the_keys_of_the_run_are_revoked_by_their_roles(tmp_path: Path) -> None:
    keys, listing = make_keys(), KeyList(tmp_path)
    ring = Keyring(keys, listing)
    listed(keys, listing, "b", "node")
    listing.revoke("node")
    assert ring.label(keys.peers["node"].public, "here") == ""
    assert ring.label(keys.client.public, "here") == "client"
    assert ring.revoked == {"node"}, "and that of its holder's own is good"


def test_a_key_that_left_the_list_is_revoked_and_a_broken_list_counts_as_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys, listing = make_keys(), KeyList(tmp_path)
    ring = Keyring(keys, listing)
    bob = listed(keys, listing, "bob")
    assert ring.look() == frozenset()
    path = tmp_path / KEYS_FILE
    good = path.read_bytes()
    path.write_bytes(b"no list")
    assert ring.label(bob.public, "here") == "client:bob"
    assert "counts as it was" in caplog.text
    path.write_bytes(good)
    path.chmod(0o622)
    assert ring.look() == frozenset(), "others could have written it"
    listing.remove()
    assert ring.label(bob.public, "here") == ""
    assert ring.look() == {"client:bob"}
    assert list(tmp_path.iterdir()) == []


def test_what_is_revoked_stays_so_if_the_list_is_gone_or_another_brokers(tmp_path: Path) -> None:
    keys, listing = make_keys(), KeyList(tmp_path)
    ring = Keyring(keys, listing)
    listing.revoke("client")
    assert ring.look() == {"client"}
    listing.remove()
    assert ring.label(keys.client.public, "here") == ""
    listed(keys, listing, "bob")
    assert ring.look() == {"client"}
    assert ring.label(keys.client.public, "here") == ""


def test_the_count_of_refusals_is_as_it_was_when_it_was_asked_for() -> None:
    ring = Keyring(make_keys())
    before = ring.refused
    ring.refuse("no key", "here")  # as the gate's thread may, while the broker's goes through it
    assert (before, ring.refused) == ({}, {"no key": 1})


def test_a_name_is_used_once_and_what_is_no_name_is_refused(tmp_path: Path) -> None:
    listing = KeyList(tmp_path)
    listing.add(NamedKey("bob", "client", "x", 1.0))
    assert (tmp_path / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    for name, why in (
        ("bob", "already"),
        ("client", "none of"),
        ("../x", "no name"),
        ("", "no name"),
    ):
        with pytest.raises(UsageError, match=why):
            listing.add(NamedKey(name, "client", "x", 1.0))
    with pytest.raises(UsageError, match=r"no key of the name 'eve'.*client, node, observer, bob"):
        listing.revoke("eve")
    listing.revoke("bob")
    with pytest.raises(UsageError, match="already"):
        listing.revoke("bob")
    with pytest.raises(UsageError, match="already"):
        listing.add(NamedKey("bob", "client", "y", 1.0))
    with pytest.raises(UsageError, match="cannot be written"):
        KeyList(tmp_path / "none").revoke("client")


def test_there_is_a_bound_on_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steerio.edge.wire.keyring.MOST_KEYS", 1)
    assert MOST_KEYS > 1
    listing = KeyList(tmp_path)
    listing.add(NamedKey("one", "client", "x", 1.0))
    with pytest.raises(UsageError, match="keys already"):
        listing.add(NamedKey("two", "client", "x", 1.0))


async def test_a_gate_counts_who_has_no_key_and_cuts_who_has_a_revoked_one(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    keys, listing = make_keys(), KeyList(tmp_path)
    ring = Keyring(keys, listing)
    bob = listed(keys, listing, "bob")
    with zmq_context() as context, closing(Gate(context, ring)) as gate:
        router = ZmqRouter(context, "tcp://127.0.0.1:*", keys, gate)
        ear = RouterEar(router, loop)
        links = [
            ZmqLink(context, router.address, b"%d" % number, its)
            for number, its in enumerate((keys.client, bob, None))
        ]
        try:
            friend, other, stranger = links
            LinkEar(friend, loop).say(1)
            LinkEar(other, loop).say(2)
            stranger.send(to_broker(3))
            stranger.flush()
            await ear.until(lambda: len(ear.heard) == 2 and ring.refused["no key"], quietly=True)
            assert sorted(ear.numbers()) == [1, 2]
            listing.revoke("bob")
            assert ring.look() == {"client:bob"}
            router.cut({"client:bob"})
            await ear.until(lambda: ring.refused["revoked key"], quietly=True)
            friend.send(to_broker(4))
            friend.flush()
            await ear.until(lambda: 4 in ear.numbers(), quietly=True)
        finally:
            for link in links:
                link.close()
            router.close()
