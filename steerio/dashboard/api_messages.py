"""The messages of the dashboard's API, as programs send and get them in JSON."""

from __future__ import annotations

import typing
from typing import Any, cast

import msgspec
from msgspec import Struct

from steerio.model.campaign_orders import CampaignView, Order, QuestionView
from steerio.model.roles import NO_BUDGET, Budget, Role
from steerio.model.status import PoolLoad

MOST_DEEP = 64
"""Levels of lists and objects in an order at most."""


class OrderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to the campaign, with its reason.

    Attributes:
        order: the order; its ``type`` says which one.
        reason: why, in words.
        id: of the order: one that is repeated has no effect, and gets the same answer.
        based_on: the number of the last event that its giver knew (``at_event`` of a look): the
            order is refused if its subject has changed since.
        dry_run: whether to say only which effect it would have.
        campaign: its name, if several take orders at this broker.
    """

    order: Order
    reason: str = ""
    id: str = ""
    based_on: int | None = None
    dry_run: bool = False
    campaign: str = ""


class PoolNow(Struct, frozen=True):
    """A pool as it is now.

    Attributes:
        workers: all that are in it; ``busy``, ``idle`` and ``starting`` of them.
        at_home: those that belong to it, wherever they are.
        queued: tasks in its queue; ``running``: tasks that its workers run.
        paused: by whose order none of its queued tasks is handed out, and why; empty: they are.
        stalled: why its tasks wait in vain; ``failed``: why it was given up; empty: it is not so.
    """

    workers: int
    busy: int
    idle: int
    starting: int
    at_home: int
    queued: int
    running: int
    paused: str
    stalled: str
    failed: str


class SteeringView(Struct, frozen=True):
    """The campaign at a glance, and its pools by name."""

    campaign: CampaignView
    pools: dict[str, PoolNow]


class OpenQuestions(Struct, frozen=True):
    """The open questions of a campaign, and the last event that an answer may be based on."""

    campaign: str
    questions: list[QuestionView]
    at_event: int


class GiverView(Struct, frozen=True):
    """The giver of a request, as orders name it, its role, and its budget."""

    name: str
    role: Role
    budget: Budget = NO_BUDGET


class ApiError(Struct, frozen=True):
    """The reason for which a request was not answered otherwise."""

    error: str


def pool_now(load: PoolLoad) -> PoolNow:
    """Return a pool as the API shows it: as long for many workers as for few."""
    return PoolNow(
        workers=load.workers,
        busy=load.busy,
        idle=load.idle,
        starting=load.starting,
        at_home=load.at_home,
        queued=load.queued,
        running=load.running,
        paused=load.paused,
        stalled=load.stalled,
        failed=load.failure,
    )


_decode = msgspec.json.Decoder(OrderRequest).decode


def order_request(body: bytes) -> OrderRequest:
    """Return the order in the body of a request.

    Raises:
        ValueError: it is none; the message names the fault and its place.
    """
    try:
        request = _decode(body)
        plain: Any = msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("the JSON is not in UTF-8") from None
    if _depth(plain) > MOST_DEEP:
        raise ValueError(f"it has more than {MOST_DEEP} levels of lists and objects")
    # the journal and the wire take later versions' fields in silence, and a person's typing error
    # would be no error
    known = {"type", *request.order.__struct_fields__}
    unknown = sorted(set(cast("dict[str, Any]", plain["order"])) - known)
    if unknown:
        kind = type(request.order).__name__
        raise ValueError(
            f"{kind} has no field {unknown[0]!r} - at `$.order` "
            f"(it has: {', '.join(request.order.__struct_fields__) or 'none'})"
        )
    return request


def _depth(value: Any) -> int:
    """Return how many lists and objects are within one another."""
    depth, level = 0, _inner([value])
    while level:
        depth, level = depth + 1, _inner(level)
    return depth


def _inner(level: list[Any]) -> list[Any]:
    """Return the values in those values that are lists or objects."""
    inner: list[Any] = []
    for value in level:
        if isinstance(value, dict):
            inner += cast("dict[str, Any]", value).values()
        elif isinstance(value, list):
            inner += value
    return inner


ORDERS: tuple[type[Struct], ...] = typing.get_args(Order)
"""The types of orders."""
