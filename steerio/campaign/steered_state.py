"""The part of a snapshot that orders have made: parameters, pauses, questions, accounts."""

from __future__ import annotations

from msgspec import Struct

from steerio.campaign.asked_questions import KnownQuestion
from steerio.campaign.budgets import GiverAccount
from steerio.model.campaign_orders import Plain


class SteeredState(Struct):
    """The part of a snapshot that orders have made.

    Attributes:
        parameters: the values of all, by name.
        paused: the names of paused agents.
        asked: how many questions were asked.
        questions: those that a later incarnation may ask again, and open proposals.
        accounts: of those that have submitted tasks by orders, by name.
        submitted: the latest orders by which tasks were submitted, by giver and id.
    """

    parameters: dict[str, Plain] = {}
    paused: list[str] = []
    asked: int = 0
    questions: list[KnownQuestion] = []
    accounts: dict[str, GiverAccount] = {}
    submitted: list[tuple[str, str]] = []
