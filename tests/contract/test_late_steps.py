"""A broker that stood still, as if its process was stopped, loses no node for that."""

from __future__ import annotations

import pytest

from steerio.broker.broker import Broker
from steerio.edge.wire.memory import MemoryRouter
from steerio.model import messages as ms

pytestmark = pytest.mark.borders


class Stopping:
    """A broker with a node, and a clock that goes on while nothing steps."""

    def __init__(self) -> None:
        self.now = 0.0
        router = MemoryRouter()
        self.broker = Broker([router], clock=lambda: self.now, epoch=0.0)
        self.node = router.link()
        self.node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.goes_on(1.0)

    def goes_on(self, seconds: float) -> None:
        """Step whenever the broker has asked for it, as its driver does."""
        until = self.now + seconds
        asked = self.broker.step()
        while asked is not None and asked <= until:
            self.now = max(self.now, asked)
            asked = self.broker.step()
        self.now = until

    @property
    def nodes(self) -> int:
        """How many nodes the broker has."""
        return len(self.broker.core.nodes)


def test_a_node_is_heard_out_after_a_stop_though_nothing_has_arrived_yet() -> None:
    here = Stopping()
    here.now += 70.0
    here.broker.step()  # the thread that reads the sockets was stopped, too, and is not as quick
    assert here.nodes == 1
    here.node.send(ms.Beat(here.now, 0.0))
    here.goes_on(10.0)
    assert here.nodes == 1


def test_a_node_that_says_nothing_after_a_stop_is_lost_a_beat_later() -> None:
    here = Stopping()
    here.now += 70.0
    here.goes_on(0.5 * here.broker.settings.beat_s)
    assert here.nodes == 1
    here.goes_on(here.broker.settings.beat_s)
    assert here.nodes == 0


def test_a_broker_that_steps_in_time_loses_a_silent_node_at_its_lease() -> None:
    here = Stopping()
    here.goes_on(here.broker.settings.lease_s - 2.0)
    assert here.nodes == 1
    here.goes_on(2.0)
    assert here.nodes == 0
