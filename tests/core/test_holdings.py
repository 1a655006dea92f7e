"""Who needs which object: freed when the last lets go, never before, and only once."""

from __future__ import annotations

from collections import Counter

import pytest

from steerio.core.holdings import Holder, Holdings
from steerio.model.objects import Inputs, StoredObject

MODEL = StoredObject(b"model", 1_000)
MESH = StoredObject(b"mesh", 50)
FIRST: Holder = ("task", 1)
SECOND: Holder = ("task", 2)
CLIENT: Holder = ("client", 7)
NEWEST: Holder = ("version", "model")


@pytest.fixture
def holdings() -> Holdings:
    """Holdings that one client has joined."""
    holdings = Holdings()
    holdings.join(7)
    return holdings


def test_an_object_is_freed_when_the_last_of_its_holders_lets_go(holdings: Holdings) -> None:
    holders = [FIRST, SECOND, CLIENT, NEWEST]
    for holder in holders:
        holdings.hold(MODEL, holder)
    assert holdings.count(b"model") == 4
    for holder in holders[:-1]:
        assert holdings.let_go(b"model", holder)
        assert not holdings.take_freed()
    holdings.let_all_go(NEWEST)
    assert holdings.take_freed() == [b"model"]
    assert not holdings.take_freed()
    assert not holdings.sizes
    assert holdings.count(b"model") == 0


def test_who_holds_an_object_twice_has_to_let_go_twice(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MODEL, CLIENT)
    assert holdings.let_go(b"model", CLIENT)
    assert not holdings.freed
    assert holdings.let_go(b"model", CLIENT)
    assert holdings.take_freed() == [b"model"]


def test_who_lets_go_of_what_he_does_not_hold_changes_nothing(holdings: Holdings) -> None:
    holdings.hold(MODEL, FIRST)
    holdings.hold(MESH, SECOND)
    assert not holdings.let_go(b"model", CLIENT)
    assert not holdings.let_go(b"model", SECOND)
    assert not holdings.let_go(b"unheard of", FIRST)
    holdings.let_all_go(CLIENT)
    assert not holdings.freed
    assert (holdings.count(b"model"), holdings.count(b"mesh")) == (1, 1)


def test_all_that_a_task_holds_is_let_go_at_once(holdings: Holdings) -> None:
    for stored in Inputs(MESH, (MODEL, MODEL)).all:
        holdings.hold(stored, FIRST)
    holdings.hold(MESH, SECOND)
    assert set(holdings.held(FIRST)) == {b"model", b"mesh"}
    holdings.let_all_go(FIRST)
    assert holdings.take_freed() == [b"model"]
    assert not holdings.held(FIRST)
    assert holdings.held(SECOND)


def test_a_client_that_is_gone_needs_nothing(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MESH, CLIENT)
    holdings.hold(MESH, FIRST)
    holdings.leave(7)
    assert holdings.take_freed() == [b"model"]
    late = StoredObject(b"late", 3)
    holdings.hold(late, CLIENT)
    holdings.hold(MESH, CLIENT)
    assert holdings.take_freed() == [b"late"]
    assert holdings.sizes == {b"mesh": 50}
    holdings.leave(7)
    assert not holdings.freed


def test_what_comes_with_something_that_is_dropped_is_freed_unless_it_is_held(
    holdings: Holdings,
) -> None:
    holdings.hold(MODEL, FIRST)
    holdings.refuse(MODEL)
    assert not holdings.freed
    holdings.refuse(MESH)
    holdings.refuse(MESH)
    assert holdings.take_freed() == [b"mesh"]


def test_what_is_held_again_before_it_was_removed_stays(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.let_go(b"model", CLIENT)
    holdings.hold(MODEL, FIRST)
    holdings.refuse(MESH)
    holdings.hold(MESH, FIRST)
    assert not holdings.take_freed()
    holdings.let_all_go(FIRST)
    assert set(holdings.take_freed()) == {b"model", b"mesh"}


def test_at_the_end_all_is_freed_and_nobody_can_hold_any_more(holdings: Holdings) -> None:
    for holder in (FIRST, CLIENT, NEWEST):
        holdings.hold(MODEL, holder)
    holdings.hold(MESH, CLIENT)
    holdings.free_all()
    assert not holdings.sizes
    holdings.hold(StoredObject(b"late", 1), CLIENT)
    assert set(holdings.take_freed()) == {b"model", b"mesh", b"late"}


def test_bytes_are_counted_for_each_holder_and_once_in_all(holdings: Holdings) -> None:
    for holder in (FIRST, CLIENT, CLIENT):
        holdings.hold(MODEL, holder)
    holdings.hold(MESH, FIRST)
    assert holdings.bytes_by_holder() == Counter({FIRST: 1_050, CLIENT: 1_000})
    assert holdings.sizes == {b"model": 1_000, b"mesh": 50}


def test_an_object_has_the_size_that_was_first_told(holdings: Holdings) -> None:
    holdings.hold(MODEL, FIRST)
    holdings.hold(StoredObject(b"model", 1), SECOND)
    assert holdings.sizes == {b"model": 1_000}
    holdings.let_all_go(FIRST)
    holdings.let_all_go(SECOND)
    holdings.hold(StoredObject(b"model", 1), SECOND)
    assert holdings.sizes == {b"model": 1}
