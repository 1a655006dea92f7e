"""Boxes: the form of one value in a body, and the reading of bodies.

Atoms stand for themselves.  Everything else is a msgpack extension that points at frames by index
(code 1 an array, 2 a pickle, 3 a long byte string), or names an object in the store (code 4 a
reference, 5 the latest version of a name). A process that refuses pickles has plain lists and dicts
as msgpack inside one (code 6), and raises for all else.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from steerio.edge.encoding.pickling import dump
from steerio.edge.encoding.references import (
    BareLatest,
    Resolve,
    arrived,
    is_reference,
    note,
    packing,
    reading,
    references_exist,
)
from steerio.edge.encoding.refusing import check_pickle, is_plain, refuses_pickles
from steerio.edge.encoding.serializers import OutOfBand, contiguous
from steerio.errors import EncodingError, PickleRefused
from steerio.model.objects import StoredObject

LONG_BYTES = 65536
"""Longer byte strings and pickles travel as frames of their own."""
ARRAY_BYTES = 256
"""Shorter arrays stand in the body itself."""

ARRAY, PICKLE, BYTES, REFERENCE, LATEST, PLAIN = 1, 2, 3, 4, 5, 6
ATOMS: frozenset[type] = frozenset({int, float, str, bool, bytes, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
EXT_HEADS = frozenset({0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})
"""First bytes of a msgpack extension; no annotated type is one."""


encode = msgspec.msgpack.Encoder().encode


def box(value: Any, frames: list[Any]) -> Any:
    """Return the box of ``value`` for a body, and add its buffers to ``frames``.

    Raises:
        Exception: any that pickling raised.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in ATOMS:
        if kind is bytes and len(value) > LONG_BYTES:
            frames.append(value)
            return msgspec.msgpack.Ext(BYTES, encode(len(frames) - 1))
        if (kind is int and not _INT_MIN <= value <= _INT_MAX) or (
            kind is str and not value.isascii() and not _is_text(value)
        ):
            return pickled(value, frames)
        return value
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        value = contiguous(value)
        if _plain_array(value):
            if value.nbytes < ARRAY_BYTES:
                head = encode((value.dtype.str, value.shape, value.tobytes()))
                return msgspec.msgpack.Ext(ARRAY, head)
            frames.append(value.reshape(-1).view("u1").data.toreadonly())
            head = encode((value.dtype.str, value.shape, len(frames) - 1))
            return msgspec.msgpack.Ext(ARRAY, head)
    if is_reference(kind):
        note(value)
        if issubclass(kind, BareLatest):
            return msgspec.msgpack.Ext(LATEST, encode(value.name))
        return msgspec.msgpack.Ext(REFERENCE, encode(value.stored))
    return pickled(apart(value) if kind is bytearray and not refuses_pickles() else value, frames)


def boxed(value: Any, frames: list[Any]) -> msgspec.msgpack.Ext:
    """Return the same as `box`, but an extension even if an atom could stand for itself."""
    found = box(value, frames)
    return found if type(found) is msgspec.msgpack.Ext else pickled(value, frames)


def is_long(value: Any) -> bool:
    """Say whether a value is a byte string so long that a copy is worth avoiding."""
    return type(value) is bytes and len(value) > LONG_BYTES


def apart(value: Any) -> Any:
    """Wrap long bytes, so that they pickle into a frame of their own; return others as they are."""
    if is_long(value) or (type(value) is bytearray and len(value) > LONG_BYTES):
        return OutOfBand(value)
    return value


def pickled(value: Any, frames: list[Any]) -> msgspec.msgpack.Ext:
    """Return a box with a pickle of ``value``, and add its buffers to ``frames``.

    Raises:
        PickleRefused: this process makes no pickles, and the value is not plain.
        Exception: any that pickling raises.
    """
    if refuses_pickles():
        if is_plain(value):
            return msgspec.msgpack.Ext(PLAIN, encode(value))
        raise PickleRefused(NO_PICKLE)
    data, buffers = packing(dump, value) if references_exist() else dump(value)
    first = len(frames)
    frames.extend(buffers)
    where: bytes | int = data
    if len(data) > LONG_BYTES:
        where = len(frames)
        frames.append(data)
    return msgspec.msgpack.Ext(PICKLE, encode((where, first, len(buffers))))


NO_PICKLE = (
    "it would travel as a pickle, and no pickle is read there. Numbers, text, bytes, lists, dicts "
    "with text as keys, and NumPy arrays travel without; other types if the annotation names them "
    "exactly (a msgspec.Struct, a dataclass, tuple[int, ...])"
)
"""Why a value cannot be sent to those that read no pickle."""


def _is_text(value: str) -> bool:
    """Say whether UTF-8 has a form for it (not for file names that are no text)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain_array(array: Any) -> bool:
    return bool(array.flags.c_contiguous and array.dtype.kind in PLAIN_KINDS)


PLAIN_KINDS = "biufcSUmM"
"""The kinds of NumPy's types that travel as an array."""


array_head = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], int | bytes]).decode
"""Reads the box of an array: type, shape, and its bytes or the frame that holds them."""
_pickle_head = msgspec.msgpack.Decoder(tuple[bytes | int, int, int]).decode
_index = msgspec.msgpack.Decoder(int).decode
_stored = msgspec.msgpack.Decoder(StoredObject).decode
_text = msgspec.msgpack.Decoder(str).decode


def _unbox(code: int, data: memoryview, frames: Sequence[Any], taken: Any) -> Any:
    if code == PICKLE:
        check_pickle("a value")
        pickled, first, count = _pickle_head(data)
        if isinstance(pickled, int):
            pickled = buffer_of(frames[pickled])
        return pickle.loads(pickled, buffers=map(taken, frames[first : first + count]))
    if code == BYTES:
        return bytes(buffer_of(frames[_index(data)]))
    if code == ARRAY:
        import numpy as np  # only for arrays: not every program has it

        kind, shape, where = array_head(data)
        dtype = np.dtype(kind)
        if dtype.kind not in PLAIN_KINDS:  # of objects, the bytes would be taken for addresses
            raise EncodingError(f"an array of the type {kind!r} does not travel as one")
        if isinstance(where, bytes):
            return np.ndarray(shape, dtype, where).copy()
        return np.frombuffer(taken(frames[where]), dtype=dtype).reshape(shape)
    if code == REFERENCE:
        return arrived(_stored(data))
    if code == LATEST:
        return arrived(_text(data))
    if code == PLAIN:
        return msgspec.msgpack.decode(data)
    raise EncodingError(f"a value has the unknown extension code {code}")


def buffer_of(frame: Any) -> Any:
    """Return a frame as something with the buffer interface (ZeroMQ frames have ``.buffer``)."""
    return getattr(frame, "buffer", frame)


def _own(frame: Any) -> Any:
    """Return a frame as memory in which an array may be changed.

    Long frames arrive in memory of their own; short ones, and those that never left their
    process, are copied.  So an array can be changed whatever its size, and the change reaches no
    other array.
    """
    view = memoryview(buffer_of(frame))
    return bytearray(view) if view.readonly else view


def _view(frame: Any) -> memoryview:
    """Return a frame as it is, as read-only memory."""
    return memoryview(buffer_of(frame)).toreadonly()


class _Current(threading.local):
    """The frames of the value that a thread is reading, and the way to take buffers from them."""

    frames: Sequence[Any] = ()
    taken: Callable[[Any], Any] = staticmethod(_own)  # pyright: ignore[reportAssignmentType]


_current = _Current()


class _FrameAbsentError(Exception):
    pass


class AbsentFrame:
    """A place-holder among frames for one that was not kept; its value reads as ``NOT_HERE``."""

    @property
    def buffer(self) -> NoReturn:
        """Raise: there is no content."""
        raise _FrameAbsentError


NOT_HERE: Any = object()
"""The value that is read if a frame of the real one is absent."""


def _find(code: int, data: memoryview) -> Any:
    try:
        return _unbox(code, data, _current.frames, _current.taken)
    except _FrameAbsentError:
        return NOT_HERE


def _ignore(code: int, data: memoryview) -> None:
    del code, data


class TypedDecoder:
    """A typed decoder whose extension hook finds the frames of the value being read."""

    def __init__(self, shape: Any) -> None:
        self.decode = msgspec.msgpack.Decoder(shape, ext_hook=_find).decode
        """Reads a body that has neither frames nor references."""
        self.check = msgspec.msgpack.Decoder(shape, ext_hook=_ignore).decode
        """Decodes without unpickling; raises ``ValidationError`` for another shape."""

    def read(
        self,
        body: Any,
        frames: Sequence[Any],
        views: bool = False,
        resolve: Resolve | None = None,
    ) -> Any:
        """Decode a body.

        Args:
            body: as msgpack.
            frames: that belong to it.
            views: whether arrays and other buffers are read-only views of the frames; otherwise
                they are memory of their own.
            resolve: turns references into values; without it they come out as they are.

        Raises:
            Exception: any that unpickling or ``resolve`` raises.
        """
        if resolve is not None:
            return reading(lambda: self.read(body, frames, views), resolve)
        here = _current
        outer = here.frames, here.taken
        here.frames, here.taken = frames, _view if views else _own
        try:
            return self.decode(body)
        finally:
            here.frames, here.taken = outer


ANYTHING = TypedDecoder(Any)

_READ_ONLY = "read-?only|WRITEABLE|not writ(e)?able|read-write bytes-like"


def explain_read_only(error: BaseException) -> str:
    """Return advice on an error of a task that wrote into a view; ``""`` for other errors.

    Call it only if the task's arguments came as views.
    """
    if not isinstance(error, (ValueError, TypeError, BufferError)):
        return ""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - it is the user's __str__ that is called here
        return ""
    if not re.search(_READ_ONLY, text):
        return ""
    return (
        "A value that a task is given by reference is a read-only view of memory that it shares "
        "with other tasks: change a copy of it (`x = x.copy()`)."
    )
