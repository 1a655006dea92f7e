"""Every effect that the core can want is performed: the table's keys are the union."""

from __future__ import annotations

from typing import get_args

from steerio.broker.peers import Peers
from steerio.broker.performer import Performer
from steerio.core.effects import Effect


def test_the_performer_has_something_to_do_for_each_effect_and_for_nothing_else() -> None:
    performer = Performer(Peers(), 0.0, incarnation=0, sweeper=None, held=())
    assert performer._by_kind.keys() == set(get_args(Effect))
