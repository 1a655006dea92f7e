"""A campaign's line: the orders that its broker passes to it, and the news that it announces."""

from __future__ import annotations

from collections.abc import Callable

from steerio.client.line import Line
from steerio.errors import UsageError
from steerio.model import messages as ms
from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.events import Announcement

Answers = Callable[[OrderAnswer], None]
Carries = Callable[[GivenOrder, int, Answers], None]
"""Carries out an order, given the last event's number, and calls the function with its answer."""


class CampaignLine:
    """The orders and announcements of the campaign that runs on one client, if one does.

    Args:
        line: the way to the broker.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._carries: Carries | None = None
        self._announced: dict[int, Callable[[int], None]] = {}
        self._announcements = 0

    def __repr__(self) -> str:
        takes = "taking" if self._carries is not None else "not taking"
        return f"<CampaignLine: {takes} orders>"

    def take(self, carries: Carries | None) -> None:
        """Have orders carried out by this from now on; ``None``: take none any more."""
        if (carries is None) != (self._carries is None) and not self._line.lost:
            self._line.send(ms.TakeOrders(carries is not None))
        self._carries = carries

    def announce(self, event: Announcement, then: Callable[[int], None] | None = None) -> None:
        """Announce an event, and call ``then`` with the number that the broker gave it."""
        if self._line.lost:
            return
        self._announcements += 1
        if then is not None:
            self._announced[self._announcements] = then
        self._line.send(ms.Announce(self._announcements, event))

    def heard(self, message: ms.PassOrder | ms.Announced) -> None:
        """Take in an order, or the number of an announcement."""
        if isinstance(message, ms.PassOrder):
            self._passed(message)
            return
        then = self._announced.pop(message.request, None)
        if then is not None:
            then(message.number)

    def _passed(self, message: ms.PassOrder) -> None:
        number = message.number

        def answer(answer: OrderAnswer) -> None:
            if self._line.lost:
                return
            try:
                self._line.send(ms.OrderDone(number, answer))
            except UsageError as error:  # it is too long, and its giver waits
                words = f"it was {'' if answer.done else 'not '}carried out, but {error}"
                self._line.send(ms.OrderDone(number, OrderAnswer(answer.done, words)))

        if self._carries is None:
            answer(OrderAnswer(False, "the campaign has ended"))
        else:
            self._carries(message.given, message.at_event, answer)

    def restate(self, events: int) -> None:
        """Tell another broker that orders are taken.

        Args:
            events: the number of its last event, which announcements without one have from now on.
        """
        announced, self._announced = self._announced, {}
        for then in announced.values():
            then(events)
        if self._carries is not None:
            self._line.send(ms.TakeOrders())

    def lose(self) -> None:
        """Forget all: the broker is gone."""
        self._carries = None
        self._announced.clear()
