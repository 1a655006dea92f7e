"""Every effect that the core can want is performed: the table's keys are the union."""

from __future__ import annotations

from typing import get_args

from steerio.broker.object_removal import ObjectRemoval
from steerio.broker.peers import Peers
from steerio.broker.performer import Performer
from steerio.broker.settled_tasks import SettledTasks
from steerio.core.effects import Effect


def test_the_performer_has_something_to_do_for_each_effect_and_for_nothing_else() -> None:
    settled = SettledTasks(Peers(), 0.0, incarnation=0, ledgers={})
    performer = Performer(Peers(), settled, ObjectRemoval(sweeper=None, held=()))
    assert performer._by_kind.keys() == set(get_args(Effect))
