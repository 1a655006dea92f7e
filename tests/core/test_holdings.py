"""Who needs which object: freed when the last lets go, never before, and only once."""

from __future__ import annotations

import pytest

from steerio.core.holdings import Holder, Holdings
from steerio.model.objects import StoredObject

MODEL = StoredObject(b"model", 1_000)
MESH = StoredObject(b"mesh", 50)
CLIENT: Holder = ("client", 7)
NEWEST: Holder = ("version", "model")


@pytest.fixture
def holdings() -> Holdings:
    """Holdings that one client has joined."""
    holdings = Holdings()
    holdings.join(7)
    return holdings


def test_an_object_is_freed_when_the_last_of_its_holders_lets_go(holdings: Holdings) -> None:
    for _ in range(2):
        holdings.hold_for_task(MODEL)
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MODEL, NEWEST)
    for _ in range(2):
        holdings.task_lets_go(b"model")
        assert not holdings.freed
    assert holdings.let_go(b"model", CLIENT)
    assert not holdings.freed
    assert holdings.let_go(b"model", NEWEST)
    assert holdings.take_freed() == [b"model"]
    assert not holdings.take_freed()
    assert not holdings.sizes


def test_tasks_may_be_the_last_to_let_go(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.hold_for_task(MODEL)
    assert holdings.let_go(b"model", CLIENT)
    assert not holdings.freed
    assert holdings.tasks(b"model") == 1
    holdings.task_lets_go(b"model")
    assert holdings.take_freed() == [b"model"]
    assert holdings.tasks(b"model") == 0


def test_who_holds_an_object_twice_has_to_let_go_twice(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MODEL, CLIENT)
    assert holdings.let_go(b"model", CLIENT)
    assert not holdings.freed
    assert holdings.let_go(b"model", CLIENT)
    assert holdings.take_freed() == [b"model"]


def test_who_lets_go_of_what_he_does_not_hold_changes_nothing(holdings: Holdings) -> None:
    holdings.hold(MODEL, NEWEST)
    holdings.hold_for_task(MESH)
    assert not holdings.let_go(b"model", CLIENT)
    assert not holdings.let_go(b"mesh", NEWEST)
    assert not holdings.let_go(b"unheard of", NEWEST)
    holdings.task_lets_go(b"model")
    assert not holdings.freed
    assert holdings.sizes == {b"model": 1_000, b"mesh": 50}


def test_a_client_that_is_gone_needs_nothing(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MODEL, CLIENT)
    holdings.hold(MESH, CLIENT)
    holdings.hold_for_task(MESH)
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
    holdings.hold_for_task(MODEL)
    holdings.refuse(b"model")
    assert not holdings.freed
    holdings.refuse(b"mesh")
    holdings.refuse(b"mesh")
    assert holdings.take_freed() == [b"mesh"]


def test_what_is_held_again_before_it_was_removed_stays(holdings: Holdings) -> None:
    holdings.hold(MODEL, CLIENT)
    holdings.let_go(b"model", CLIENT)
    holdings.hold_for_task(MODEL)
    holdings.refuse(b"mesh")
    holdings.hold(MESH, CLIENT)
    assert not holdings.take_freed()
    holdings.task_lets_go(b"model")
    holdings.let_go(b"mesh", CLIENT)
    assert holdings.take_freed() == [b"model", b"mesh"]


def test_at_the_end_all_is_freed_and_nobody_can_hold_any_more(holdings: Holdings) -> None:
    for holder in (CLIENT, NEWEST):
        holdings.hold(MODEL, holder)
    holdings.hold(MESH, CLIENT)
    holdings.hold_for_task(MESH)
    holdings.free_all()
    assert not holdings.sizes
    holdings.hold(StoredObject(b"late", 1), CLIENT)
    holdings.task_lets_go(b"mesh")
    assert set(holdings.take_freed()) == {b"model", b"mesh", b"late"}


def test_bytes_are_counted_for_each_holder_and_once_in_all(holdings: Holdings) -> None:
    for _ in range(2):
        holdings.hold(MODEL, CLIENT)
        holdings.hold_for_task(MODEL)
    holdings.hold_for_task(MESH)
    assert holdings.bytes_by_holder() == {CLIENT: 1_000}
    assert holdings.bytes_by_tasks() == 2_050
    assert holdings.sizes == {b"model": 1_000, b"mesh": 50}


def test_an_object_has_the_size_that_was_first_told(holdings: Holdings) -> None:
    holdings.hold_for_task(MODEL)
    holdings.hold(StoredObject(b"model", 1), CLIENT)
    assert holdings.sizes == {b"model": 1_000}
    holdings.task_lets_go(b"model")
    holdings.let_go(b"model", CLIENT)
    holdings.hold(StoredObject(b"model", 1), CLIENT)
    assert holdings.sizes == {b"model": 1}
