"""Frames come out of an object as they went in; what is no object is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.store import layout
from steerio.errors import ObjectBroken

lists_of_frames = st.lists(st.binary(max_size=300), max_size=8)


def joined(frames: list[bytes]) -> bytes:
    pieces, total = layout.pieces(frames)
    whole = b"".join(pieces)
    assert len(whole) == total
    return whole


@given(lists_of_frames)
def test_frames_come_out_as_they_went_in(frames: list[bytes]) -> None:
    whole = joined(frames)
    head, offsets, total = layout.plan(frames)
    assert whole.startswith(head)
    assert total == len(whole)
    assert all(offset % layout.ALIGNMENT == 0 for offset in offsets)
    assert [bytes(frame) for frame in layout.split(whole)] == frames


@given(lists_of_frames, st.data())
def test_a_part_of_an_object_is_refused(frames: list[bytes], data: st.DataObject) -> None:
    whole = joined(frames)
    with pytest.raises(ObjectBroken):
        layout.split(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ObjectBroken):
        layout.split(whole + b"more")


@given(st.binary(max_size=200))
def test_what_is_something_else_is_refused(anything: bytes) -> None:
    with pytest.raises(ObjectBroken):
        layout.split(anything)
    with pytest.raises(ObjectBroken):
        layout.split(layout.MARK + b"\xff" * 7 + anything)


@given(lists_of_frames, st.data())
def test_a_damaged_head_never_leads_out_of_the_object(
    frames: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(joined(frames))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, min(len(whole), 80) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = layout.split(whole)
    except ObjectBroken:
        return
    assert sum(frame.nbytes for frame in found) <= len(whole)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_taken_as_it_is_in_memory(order: str) -> None:
    array = np.asarray(np.arange(12.0).reshape(3, 4), order=order)  # type: ignore[call-overload]
    (frame,) = layout.split(joined([array]))
    assert frame.readonly
    assert bytes(frame) == array.tobytes(order="A")


def test_what_is_in_pieces_is_no_frame() -> None:
    with pytest.raises(BufferError):
        layout.pieces([np.arange(10)[::2]])
