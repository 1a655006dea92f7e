"""All places of a simulated cluster where messages wait: their bounds, and that they become empty.

A message that stays in one of them for ever is lost, or is memory that grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steerio.edge.wire.wire_session import PACKET_COST, WireSession
from steerio.model import messages as ms
from steerio.testing import SimulatedCluster
from steerio.testing.network import BATCH_BYTES, WINDOW_BYTES, SimulatedLink

MOST_UNDER_WAY = WINDOW_BYTES // (BATCH_BYTES + PACKET_COST) + 1
"""Most packets of a session that are kept because they are not acknowledged."""
ALWAYS_UNDER_WAY = (ms.Beat, ms.BeatAnswer, ms.PoolStatus)
"""Kinds of which the last is acknowledged with the next, however quiet it is."""
QUIET_PACKETS = 4


def links_of(cluster: SimulatedCluster) -> list[SimulatedLink]:
    """Return the links that cross the network."""
    return list(cluster.router._on_network.values())


def sessions_of(cluster: SimulatedCluster) -> Iterator[WireSession]:
    """Yield both ends of each link."""
    for link in links_of(cluster):
        yield link._near
        yield link._far


def assert_bounded(cluster: SimulatedCluster) -> None:
    """Assert what holds at each moment, whatever is broken."""
    for session in sessions_of(cluster):
        assert len(session._unsent) <= len(session._tail) <= MOST_UNDER_WAY, session
        under_way = session._bytes - session._others_taken
        assert under_way < WINDOW_BYTES + BATCH_BYTES + PACKET_COST, session
        assert not len(session._waiting) or under_way >= WINDOW_BYTES, session
    for peer in cluster.broker._peers:
        if peer.relay is not None:
            assert len(peer.relay._lines) <= len(cluster.broker.core.workers), peer.relay


def assert_nothing_waits(cluster: SimulatedCluster) -> None:
    """Assert that every message has been taken in, and that nothing is kept of those who left."""
    assert_bounded(cluster)
    for session in sessions_of(cluster):
        assert len(session._waiting) == 0, session
        assert len(session._tail) <= QUIET_PACKETS, session
        for _, payload, _ in session._tail:
            assert all(isinstance(m, ALWAYS_UNDER_WAY) for m in _messages(payload)), payload
    for link in links_of(cluster):
        assert len(link._to_broker) + len(link._to_peer) <= 2 * QUIET_PACKETS, link
        assert all(isinstance(m, ALWAYS_UNDER_WAY) for m, _ in link.arrived), link.arrived
    broker = cluster.broker
    for router in (cluster.router, cluster._local):
        assert all(isinstance(m, ALWAYS_UNDER_WAY) for _, m, _ in router._arrived), router._arrived
        assert not router._outgoing
    assert len(broker._inbox) == 0
    assert not broker._peers.relays._waiting
    for peer in broker._peers:
        if peer.relay is not None:
            assert not peer.relay._due
            behind = {
                name.encode()
                for name, w in broker.core.workers.items()
                if w.node.peer == peer.number
            }
            assert set(peer.relay._lines) <= behind, peer.relay
            assert not any(line.messages or line.frames for line in peer.relay._lines.values())
    for node in cluster.nodes.values():
        assert not node.forker.streams._arrived
        relay = node._node._words._relay
        assert relay is not None
        assert set(relay._lines) == set(relay._names.values()) <= set(node.workers), relay
        for name, line in relay._lines.items():
            assert all(run <= node.forker.reported(name) for run in line.runs), line.runs
    assert {peer.name for peer in broker._peers if peer.role.name == "NODE"} == set(cluster.nodes)


def _messages(payload: Any) -> list[Any]:
    """Return the messages of a payload of either direction."""
    return [message for message, _ in payload] if isinstance(payload, list) else [payload[0]]
