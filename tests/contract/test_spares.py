"""Memory of long frames is used again, and never while anybody can see into it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from steerio.edge.wire.receive_buffers import LONG_BYTES, Spares

LENGTH = 2 * LONG_BYTES


def where(view: memoryview) -> int:
    """Return the address of memory."""
    return int(np.frombuffer(view, "u1").__array_interface__["data"][0])


def test_memory_is_used_again_when_nobody_has_it_any_more() -> None:
    spares = Spares()
    view = spares.take(LENGTH)
    assert len(view) == LENGTH
    assert not view.readonly
    first = where(view)
    del view
    shorter = spares.take(LENGTH - 5)
    assert len(shorter) == LENGTH - 5
    assert where(shorter) == first


def test_whoever_keeps_a_part_keeps_all_of_it() -> None:
    spares = Spares()
    kept = np.frombuffer(spares.take(LENGTH), "u1")[-10:]
    kept[:] = 7
    for _ in range(3):
        spares.take(LENGTH)[:] = bytes(LENGTH)
    assert (kept == 7).all()


def test_an_array_that_keeps_what_the_view_is_of_keeps_it() -> None:
    spares = Spares()
    view = spares.take(LENGTH)
    kept: list[Any] = [np.ndarray((LENGTH,), "u1", buffer=view), view.obj]
    assert isinstance(kept[0].base, bytearray)  # it has no view of it
    kept[0][:] = 5
    del view
    for _ in range(3):
        spares.take(LENGTH)[:] = bytes(LENGTH)
    assert (kept[0] == 5).all()
    assert kept[1] == b"\5" * LENGTH
    del kept[0]
    spares.take(LENGTH)[:] = bytes(LENGTH)
    assert kept[0] == b"\5" * LENGTH


def test_a_short_frame_keeps_no_long_memory() -> None:
    spares = Spares()
    spares.take(10 * LENGTH)
    short = spares.take(LENGTH)
    assert isinstance(short.obj, bytearray)
    assert len(short.obj) < 3 * LENGTH


def test_a_value_that_was_unpickled_from_it_keeps_it() -> None:
    spares = Spares()
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(np.full(LENGTH, 3, "u1"), 5, buffer_callback=buffers.append)
    view = spares.take(LENGTH)
    view[:] = buffers[0].raw()
    value = pickle.loads(pickled, buffers=[view])
    del view
    spares.take(LENGTH)[:] = bytes(LENGTH)
    assert (value == 3).all()


def test_what_is_kept_has_a_bound() -> None:
    spares = Spares(most_bytes=2 * LENGTH)
    views = [spares.take(LENGTH) for _ in range(3)]
    places = [where(view) for view in views]
    assert len(set(places)) == 3
    others = [bytearray(LENGTH) for _ in range(20)]  # so that nothing comes back by chance
    del views
    again = [spares.take(LENGTH), spares.take(LENGTH)]
    assert [where(view) for view in again] == places[1:]
    assert len(spares.take(3 * LENGTH)) == 3 * LENGTH
    assert len(spares.take(10)) == 10
    del others
