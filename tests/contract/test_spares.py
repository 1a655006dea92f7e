"""Memory of long frames is used again, and never while anybody can see into it."""

from __future__ import annotations

import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steerio.edge.wire.batches import LIMIT_BATCH_BYTES, LIMIT_FRAMES, Incoming
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


def resident_kb() -> int:
    """Return how much memory this process has that is its own."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("frames", [1, 2, 600, LIMIT_FRAMES - 1])
def test_a_batch_that_is_only_announced_takes_no_memory(frames: int) -> None:
    room = memoryview(bytearray(1 << 20))
    incoming = Incoming(room, Spares())
    lengths = [10, *[(LIMIT_BATCH_BYTES - 10) // frames] * frames]
    announced = struct.pack(f"=I{len(lengths)}Q", len(lengths), *lengths) + b"x" * 15
    room[: len(announced)] = announced
    before = resident_kb()
    assert list(incoming.feed(len(announced))) == []
    assert resident_kb() < before + (40 << 10)
    assert len(incoming.room) == lengths[1] - 5


def test_long_memory_is_a_process_own_and_may_be_written() -> None:
    view = Spares(most_bytes=LENGTH).take(LENGTH + 1)
    view[:] = b"\7" * (LENGTH + 1)
    kept = np.frombuffer(view, "u1")
    del view
    assert (kept == 7).all()
    assert kept.flags.writeable
