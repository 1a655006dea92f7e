"""Orders on their way: each is passed to the campaign that takes it, and its answer back.

Theory. A campaign says that it takes orders. An order names the campaign by its client's name, or
none if there is only one; of several with one name each is ``NAME#NUMBER``, with the number of its
client. It is *under way* until the campaign answers; then, or when the campaign
leaves before, its giver is told. If the giver leaves the order stands, and its answer is dropped.

Invariant: each order under way has a giver and a campaign that are both there.
"""

from __future__ import annotations

from collections import Counter

from steerio.core.cluster import Cluster
from steerio.core.effects import SendOrder, TellOrder
from steerio.core.records import OrderUnderWay
from steerio.model.campaign_orders import NO_CAMPAIGN, GivenOrder, OrderAnswer

MOST_UNDER_WAY = 1_000
"""Most orders that one campaign has not answered yet."""


def take(cluster: Cluster, client: int, *, takes: bool) -> None:
    """Note whether a client is a campaign that takes orders."""
    if client not in cluster.clients:
        return
    if takes:
        cluster.taking[client] = None
    elif client in cluster.taking:
        _stop_taking(cluster, client, "it has ended")


def give(cluster: Cluster, giver: int, request: int, to: str, given: GivenOrder) -> str:
    """Pass an order to a campaign; returns why that cannot be, or nothing.

    Args:
        cluster: all state.
        giver: the peer that gives it.
        request: its own number for that.
        to: the name of the campaign; empty: the only one.
        given: the order.
    """
    found = [peer for peer in cluster.taking if to in ("", *_names_of(cluster, peer))]
    if len(found) != 1:
        return _not_one(cluster, to, len(found))
    (taker,) = found
    if sum(order.taker == taker for order in cluster.orders.values()) >= MOST_UNDER_WAY:
        return f"{MOST_UNDER_WAY} orders to {cluster.clients[taker].name} wait for its answer"
    cluster.order_numbers += 1
    cluster.orders[cluster.order_numbers] = OrderUnderWay(giver, request, taker)
    cluster.effects.append(SendOrder(taker, cluster.order_numbers, given, cluster.log.count))
    return ""


def answered(cluster: Cluster, taker: int, number: int, answer: OrderAnswer) -> bool:
    """Tell an order's giver its answer; ``False``: this campaign has no such order."""
    order = cluster.orders.get(number)
    if order is None or order.taker != taker:
        return False
    del cluster.orders[number]
    cluster.effects.append(TellOrder(order.giver, order.request, answer))
    return True


def client_left(cluster: Cluster, client: int) -> None:
    """Forget the orders that a client gave, and refuse those that it has not answered."""
    if client in cluster.taking:
        _stop_taking(cluster, client, "it left before it had answered")
    for number, order in list(cluster.orders.items()):
        if order.giver == client:
            del cluster.orders[number]


def _stop_taking(cluster: Cluster, taker: int, why: str) -> None:
    del cluster.taking[taker]
    for number, order in list(cluster.orders.items()):
        if order.taker == taker:
            del cluster.orders[number]
            answer = OrderAnswer(False, f"the campaign did not answer: {why}")
            cluster.effects.append(TellOrder(order.giver, order.request, answer))


def _names_of(cluster: Cluster, peer: int) -> tuple[str, str]:
    """Return the name of a campaign, and the one that no other has."""
    name = cluster.clients[peer].name
    return name, f"{name}#{peer}"


def _not_one(cluster: Cluster, to: str, found: int) -> str:
    named = Counter(cluster.clients[peer].name for peer in cluster.taking)
    names = (_names_of(cluster, peer) for peer in cluster.taking)
    there = ", ".join(sorted(full if named[name] > 1 else name for name, full in names)) or "none"
    if found:
        several = (
            f"{found} campaigns are named {to}" if to else "several campaigns take orders here"
        )
        return f"{several}: say which one, of {there}"
    none = f"no campaign named {to} takes orders here" if to else NO_CAMPAIGN
    return f"{none} (there are: {there})"
