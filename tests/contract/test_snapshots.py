"""What leaves a process later than it was handed over is as it was then."""

from __future__ import annotations

import array
import asyncio
from typing import Any

import numpy as np
import pytest

from steerio.edge.encoding.snapshots import (
    MOST_SHARED,
    MOST_SHARED_BYTES,
    Snapshots,
    _held,
    hold_still,
    snapshot,
    unchanging,
)
from steerio.edge.encoding.values import ANY_VALUE
from tests.contract.payloads import content
from tests.contract.wires import RouterEar, to_broker, wired

pytestmark = pytest.mark.borders

NUMBERS = 20_000


def numbers() -> np.ndarray[Any, Any]:
    return np.arange(NUMBERS, dtype="f8")


def frozen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


def read_only_view(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return frozen(array[:])


CHANGEABLE: dict[str, Any] = {
    "an array": numbers(),
    "a view of an array": numbers()[10:],
    "a read-only view of an array that is not": read_only_view(numbers()),
    "an array read-only through broadcasting": np.broadcast_to(numbers(), (2, NUMBERS)),
    "columns first": np.asfortranarray(numbers().reshape(100, -1)),
    "arrays in a list": [numbers(), numbers()],
    "an array over a bytearray": np.frombuffer(bytearray(100_000), "u1"),
    "a read-only array over a bytearray": frozen(np.frombuffer(bytearray(100_000), "u1")),
    "a bytearray": bytearray(100_000),
    "a memoryview": memoryview(bytearray(100_000)),
    "a read-only memoryview": memoryview(bytearray(100_000)).toreadonly(),
    "a memoryview of an array.array": memoryview(array.array("d", range(10_000))),
}
FIXED: dict[str, Any] = {
    "bytes": bytes(100_000),
    "bytes in a dict": {"a": bytes(100_000)},
    "an array over bytes": np.frombuffer(bytes(100_000), "u1"),
    "a view of an array over bytes": np.frombuffer(bytes(100_000), "u1")[10:],
    "an array that was made read-only": frozen(numbers()),
    "a view of an array that was made read-only": frozen(numbers())[10:],
    "a memoryview of bytes": memoryview(bytes(100_000)),
}


@pytest.mark.parametrize("name", CHANGEABLE)
def test_frames_into_which_somebody_can_write_are_copied(name: str) -> None:
    _, frames = ANY_VALUE.pack(CHANGEABLE[name])
    assert frames
    assert not any(map(unchanging, frames))
    for taken in (snapshot(frames), Snapshots().take(frames)):
        assert all(type(copy) is bytes for copy in taken)
        assert [content(copy) for copy in taken] == [content(frame) for frame in frames]


@pytest.mark.parametrize("name", FIXED)
def test_frames_into_which_nobody_can_write_are_not_copied(name: str) -> None:
    _, frames = ANY_VALUE.pack(FIXED[name])
    assert frames
    assert all(map(unchanging, frames))
    for taken in (snapshot(frames), Snapshots().take(frames)):
        assert all(map(lambda one, other: one is other, taken, frames))


def test_an_array_that_many_tasks_are_given_is_kept_once_while_it_is_the_same() -> None:
    snapshots, array = Snapshots(), numbers()
    (first,) = snapshots.take(ANY_VALUE.pack(array)[1])
    (again,) = snapshots.take(ANY_VALUE.pack(array)[1])
    assert again is first
    array[-1] = 0
    (changed,) = snapshots.take(ANY_VALUE.pack(array)[1])
    assert changed == array.tobytes()
    assert first == numbers().tobytes()


def test_copies_that_are_kept_for_others_are_bounded() -> None:
    snapshots = Snapshots()
    for size in (10_000, 200_000, MOST_SHARED_BYTES, MOST_SHARED_BYTES // 3):
        for _ in range(MOST_SHARED + 3):
            array = np.zeros(size, "u1")
            assert snapshots.take(ANY_VALUE.pack([array])[1]) == (array.tobytes(),)
            kept = snapshots._last.values()
            assert sum(map(len, kept)) == snapshots._nbytes <= MOST_SHARED_BYTES
            assert len(kept) <= MOST_SHARED


def test_arrays_that_are_held_still_cannot_be_written_into_until_they_are_released() -> None:
    array = numbers()
    view, fixed = array[5:], frozen(numbers())
    release = hold_still((view, fixed, [array], b"", *ANY_VALUE.pack(array)[1]))
    for one in (view, array):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 1
    release()
    view[0] = array[0] = 1
    assert not fixed.flags.writeable


@pytest.mark.parametrize("first", ["the base", "the view"])
def test_an_array_that_two_hold_still_is_writeable_when_both_have_let_go(first: str) -> None:
    array = numbers()
    view = array[5:]
    of_base, of_view = hold_still([array]), hold_still([view])
    sooner, later = (of_base, of_view) if first == "the base" else (of_view, of_base)
    sooner()
    sooner()  # it lets go once
    for one in (view, array):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 1
    later()
    view[0] = array[0] = 1
    assert unchanging(frozen(numbers()))
    assert not _held


def test_an_array_that_is_held_still_is_copied_all_the_same() -> None:
    array = numbers()
    release = hold_still([array])
    frames = ANY_VALUE.pack([array, array[5:]])[1]
    assert not any(map(unchanging, frames))
    taken = Snapshots().take(frames)
    release()
    array[:] = 0
    assert taken[0] == numbers().tobytes()


async def test_an_array_may_be_changed_as_soon_as_a_worker_has_flushed_it() -> None:
    async with wired("tcp") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(0)  # long messages are taken from peers that were let in
        await ear.until(lambda: ear.heard)
        wire.router.admit(ear.heard.pop()[0])
        array = np.zeros(1 << 21, "u1")
        for number in range(1, 6):
            array[:] = number
            _, frames = ANY_VALUE.pack(array)
            peer.link.send(to_broker(number, frames), frames)
            peer.flush()
        array[:] = 99
        await ear.until(lambda: len(ear.heard) == 5)
        for number, (_, message, (frame,)) in enumerate(ear.heard, 1):
            assert message.task_id == number
            assert set(content(frame)) == {number}
