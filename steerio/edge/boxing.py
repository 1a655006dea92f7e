"""Boxes: how one value stands in a body, and how bodies are read.

Atoms stand for themselves.  Everything else is a msgpack extension that points at frames
by index: code 1 an array, 2 a pickle, 3 a long byte string.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from steerio.edge.pickling import dump
from steerio.errors import EncodingError

LONG_BYTES = 65536
"""Longer byte strings travel as frames of their own."""
ARRAY_BYTES = 256
"""Shorter arrays are pickled."""

ARRAY, PICKLE, BYTES = 1, 2, 3
_ATOMS = frozenset({int, float, str, bool, bytes, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
EXT_HEADS = frozenset({0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})
"""First bytes of a msgpack extension; no annotated type is one."""


def _plain_number(value: Any) -> Any:
    """Turn NumPy scalars into the Python numbers that they stand for."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise NotImplementedError(f"got `{type(value).__qualname__}`")


encode = msgspec.msgpack.Encoder(enc_hook=_plain_number).encode


def box(value: Any, frames: list[Any]) -> Any:
    """Return what stands for ``value`` in a body; its buffers are added to ``frames``.

    Raises:
        Exception: whatever pickling raised.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _ATOMS:
        if kind is bytes and len(value) > LONG_BYTES:
            frames.append(value)
            return msgspec.msgpack.Ext(BYTES, encode(len(frames) - 1))
        if (kind is int and not _INT_MIN <= value <= _INT_MAX) or (
            kind is str and not value.isascii() and not _is_text(value)
        ):
            return pickled(value, frames)
        return value
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray" and _plain_array(value):
        frames.append(value.reshape(-1).view("u1").data.toreadonly())
        head = encode((value.dtype.str, value.shape, len(frames) - 1))
        return msgspec.msgpack.Ext(ARRAY, head)
    return pickled(value, frames)


def pickled(value: Any, frames: list[Any]) -> msgspec.msgpack.Ext:
    """Return a pickle of ``value`` as it stands in a body; its buffers are added to ``frames``."""
    data, buffers = dump(value)
    head = encode((data, len(frames), len(buffers)))
    frames.extend(buffers)
    return msgspec.msgpack.Ext(PICKLE, head)


def _is_text(value: str) -> bool:
    """Whether UTF-8 has a form for it (not for file names that are no text)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain_array(array: Any) -> bool:
    return bool(
        array.flags.c_contiguous and array.dtype.kind in "biufcSU" and array.nbytes >= ARRAY_BYTES
    )


def _unbox(code: int, data: memoryview, frames: Sequence[Any]) -> Any:
    if code == PICKLE:
        pickled, first, count = msgspec.msgpack.decode(data, type=tuple[bytes, int, int])
        return pickle.loads(pickled, buffers=[_own(f) for f in frames[first : first + count]])
    if code == BYTES:
        return bytes(buffer_of(frames[msgspec.msgpack.decode(data, type=int)]))
    if code == ARRAY:
        import numpy as np

        dtype, shape, index = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], int])
        return np.frombuffer(_own(frames[index]), dtype=dtype).reshape(shape)
    raise EncodingError(f"a value has the unknown extension code {code}")


def buffer_of(frame: Any) -> Any:
    """Return a frame as something with the buffer interface (ZeroMQ frames have ``.buffer``)."""
    return getattr(frame, "buffer", frame)


def _own(frame: Any) -> Any:
    """Return a frame as memory that an array may be changed in.

    Long frames arrive in memory of their own; short ones, and those that never left their
    process, are copied.  So an array can be changed whatever its size, and changing it
    changes nobody else's.
    """
    view = memoryview(buffer_of(frame))
    return bytearray(view) if view.readonly else view


class _Current(threading.local):
    """The frames of the value that a thread is reading."""

    frames: Sequence[Any] = ()


_current = _Current()


def _find(code: int, data: memoryview) -> Any:
    return _unbox(code, data, _current.frames)


def _ignore(code: int, data: memoryview) -> None:
    del code, data


class Reader:
    """A typed decoder whose extension hook finds the frames of the value being read."""

    def __init__(self, shape: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(shape, ext_hook=_find).decode
        self.check = msgspec.msgpack.Decoder(shape, ext_hook=_ignore).decode
        """Decodes without unpickling; raises ``ValidationError`` for another shape."""

    def read(self, body: Any, frames: Sequence[Any]) -> Any:
        """Decode a body.  Raises whatever unpickling raises."""
        if not frames:
            return self._decode(body)
        outer, _current.frames = _current.frames, frames
        try:
            return self._decode(body)
        finally:
            _current.frames = outer


ANYTHING = Reader(Any)
