"""Every message is taken in by each peer that it is for, and by no other."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from steerio.broker.broker import Broker
from steerio.broker.performer import PROGRESS
from steerio.core.lifecycle import MoveState
from steerio.edge.wire.headers import (
    UNIONS,
    Receiver,
    decode_from_broker,
    decode_to_broker,
    encode_headers,
)
from steerio.edge.wire.memory import MemoryRouter
from steerio.errors import ProtocolError
from steerio.model import messages as ms
from steerio.model.moving import MoveProgress

SENDERS = {
    "client": ms.FromClient,
    "observer": ms.FromObserver,
    "node": ms.FromNode,
    "worker": ms.FromWorker,
}
EXAMPLES: list[Any] = [
    ms.RunTask(1, 1, 1, 1, b"", 0),
    ms.StartWorker("w", "p"),
    ms.TaskStates([1], [2]),
]
"""One for each receiver, and for no other."""


@pytest.mark.parametrize("sender", SENDERS)
def test_the_broker_has_a_way_to_take_in_each_message_of_a_sender_and_no_other(sender: str) -> None:
    broker = Broker([MemoryRouter()])
    ways = broker._intake._by_kind
    assert {kind for role, kind in ways if role == sender} == set(get_args(SENDERS[sender]))
    assert {role for role, _ in ways} == set(SENDERS)


@pytest.mark.parametrize("receiver", ["client", "node", "worker"])
def test_a_peer_decodes_what_is_for_its_like_and_nothing_else(receiver: Receiver) -> None:
    for message in EXAMPLES:
        header = encode_headers([message])
        if isinstance(message, UNIONS[receiver]):
            assert decode_from_broker(header, receiver) == [message]
        else:
            with pytest.raises(ProtocolError, match="does not decode"):
                decode_from_broker(header, receiver)


@pytest.mark.borders
def test_an_end_or_a_signal_that_no_list_has_is_not_taken_for_another() -> None:
    of_a_task = ms.TaskSettled.unknown(1, "burnt", 0.0, "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    signal = ms.SignalWorker("w", 1, "hup")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_an_attempt = ms.Report(1, "lost", 0.0, 1.0, b"", 0, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProtocolError, match="'burnt'"):
        decode_from_broker(encode_headers([of_a_task]), "client")
    with pytest.raises(ProtocolError, match="'hup'"):
        decode_from_broker(encode_headers([signal]), "node")
    with pytest.raises(ProtocolError, match="'lost'"):
        decode_to_broker(encode_headers([of_an_attempt]))


@pytest.mark.borders
def test_a_word_on_a_move_or_a_node_that_no_list_has_is_not_taken_for_another() -> None:
    asked: Any = ms.AskMove(1, "a", "b", 1, False, False, "gently", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ended: Any = ms.EndMove(1, "gently")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_a_move: Any = ms.MoveNews(1, "lost", [], [], "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_a_node: Any = ms.NodeNews(1, "lost", "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for message in (asked, ended):
        with pytest.raises(ProtocolError, match="'gently'"):
            decode_to_broker(encode_headers([message]))
    for message in (of_a_move, of_a_node):
        with pytest.raises(ProtocolError, match="'lost'"):
            decode_from_broker(encode_headers([message]), "client")


def test_a_client_has_a_word_for_each_state_of_its_move() -> None:
    assert set(PROGRESS) == {*MoveState, "deadlocked"}
    assert set(PROGRESS.values()) | {"refused"} == set(get_args(MoveProgress))
    assert all(state == word for state, word in PROGRESS.items())


def test_the_unions_are_the_sums_of_their_parts() -> None:
    to_broker = [ms.Introduction, *SENDERS.values()]
    assert {kind for part in to_broker for kind in get_args(part)} == set(get_args(ms.ToBroker))
    from_broker = [ms.ToClient, ms.ToNode, ms.ToWorker]
    assert {kind for part in from_broker for kind in get_args(part)} == set(get_args(ms.FromBroker))
    tags = [kind.__struct_config__.tag for kind in get_args(ms.ToBroker | ms.FromBroker)]
    assert len(set(tags)) == len(tags)
