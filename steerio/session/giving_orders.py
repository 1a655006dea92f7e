"""Orders of a session to a campaign: put into their envelopes, and their answers read."""

from __future__ import annotations

import typing
import uuid

import msgspec

from steerio.errors import OrderRefused, UsageError
from steerio.model.bounds import named, said
from steerio.model.campaign_orders import (
    CampaignView,
    GivenOrder,
    Look,
    Order,
    OrderAnswer,
    order_in_words,
)
from steerio.model.roles import ROLES, Budget, Role, check_budget
from steerio.model.showing import short


def given_order(
    order: Order,
    by: str,
    reason: str,
    id: str,
    based_on: int | None,
    role: Role,
    budget: Budget,
    *,
    dry_run: bool,
) -> GivenOrder:
    """Return an order in its envelope.

    Args:
        order: the order.
        by: the person or program that gives it.
        reason: why.
        id: its id; empty: a new one.
        based_on: the number of an event.
        role: of the giver.
        budget: of the giver.
        dry_run: whether it is only tried.

    Raises:
        UsageError: one of these is wrong.
    """
    given: object = order
    if not isinstance(given, typing.get_args(Order)):
        kinds = ", ".join(kind.__name__ for kind in typing.get_args(Order))
        raise UsageError(f"an order is one of {kinds}, not {short(given)}")
    _refuse_misfit(order)
    if role not in ROLES:
        raise UsageError(f"a role is one of {', '.join(ROLES)}, not {short(role)}")
    check_budget(budget)
    if based_on is not None and type(based_on) is not int:
        raise UsageError(f"based_on is the number of an event, not {short(based_on)}")
    return GivenOrder(
        order,
        named(by, "the giver of an order"),
        said(reason, "the reason"),
        named(id, "the id of an order") if id else uuid.uuid4().hex,
        based_on,
        bool(dry_run),
        role,
        budget,
    )


def _refuse_misfit(order: Order) -> None:
    """Refuse an order with a field of a wrong type, at the call that gives it.

    Raises:
        UsageError: it has one.
    """
    kind = type(order)
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{kind.__name__} cannot be given like this: {error}") from None


def accepted(order: Order, answer: OrderAnswer) -> OrderAnswer:
    """Return the answer to an order that was carried out, or put as a question.

    Raises:
        OrderRefused: it was not.
    """
    if not answer.done and not answer.question:
        raise OrderRefused(order_in_words(order), answer.words)
    return answer


def viewed(answer: OrderAnswer) -> CampaignView:
    """Return the view in an answer.

    Raises:
        OrderRefused: there is none.
    """
    view = accepted(Look(), answer).view
    if view is None:
        raise OrderRefused(order_in_words(Look()), answer.words or "it was answered without a view")
    return view
