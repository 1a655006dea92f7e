"""Values on the wire; the arguments of a call likewise (``edge.calls``).

A value travels as msgpack where its annotation says enough to rebuild it (checked on
both sides), NumPy arrays and long byte strings as frames of their own, and the rest as
pickle protocol 5 with its buffers out of band.  Without an annotation only atoms travel
as msgpack: a tuple sent that way would come out as a list.  What msgpack has no word for
(an integer of more than 64 bits, say) is pickled, whatever its annotation.

The body is msgpack (see ``edge.boxing``).  One that is long itself becomes the first
frame; one that *is* a pickle is read as such, whatever is annotated.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from steerio.edge.annotations import judge
from steerio.edge.boxing import (
    ANYTHING,
    EXT_HEADS,
    Reader,
    StandIn,
    box,
    buffer_of,
    encode,
    holds_stand_in,
    is_long,
)
from steerio.edge.pickling import proxies_exist
from steerio.edge.references import Resolve, references_exist
from steerio.errors import EncodingError

INLINE_BYTES = 4096
"""A longer body travels as a frame of its own, so that no broker copies it."""

NO_WORD = (OverflowError, UnicodeEncodeError)
"""Raised for what msgpack has no word for, though the type is right."""
WRONG_TYPE = (msgspec.ValidationError, NotImplementedError, TypeError, RecursionError)
"""Raised for what is not of the type that its annotation says."""

Packed = tuple[bytes, tuple[Any, ...]]
"""A body and its frames."""


def finish(body: bytes, frames: list[Any]) -> Packed:
    """Return a body and its frames as they travel: a long body is a frame, too."""
    if len(body) > INLINE_BYTES:
        return b"", (body, *frames)
    return body, tuple(frames)


def same(decoded: Any, value: Any) -> bool:
    """Whether a value came out as what it was; if only in doubt, it did not."""
    try:
        return bool(decoded == value)
    except Exception:  # noqa: BLE001 - a user's __eq__ may raise anything
        return False


class ValueCodec:
    """Carries values of one annotation (``None`` or anything msgpack cannot carry: any value)."""

    def __init__(self, annotation: Any = None) -> None:
        self._annotation = annotation
        self._native, self._classed = (False, False) if annotation is None else judge(annotation)
        self._reader = Reader(annotation) if self._native else ANYTHING

    def pack(self, value: Any, what: str = "a value") -> Packed:
        """Encode a value; ``what`` names it in errors.

        Raises:
            EncodingError: it is not what the annotation says, or cannot be pickled.
        """
        frames: list[Any] = []
        body = self._encoded(value, what) if self._native else None
        if body is None:
            try:
                body = encode(box(value, frames))
            except Exception as error:
                raise EncodingError(unsendable(what, value, error)) from error
        return finish(body, frames)

    def check(self, value: Any, what: str) -> None:
        """Check a value against the annotation.

        Raises:
            EncodingError: it is not what the annotation says.
        """
        if self._native:
            self._encoded(value, what)

    def unpack(
        self,
        body: bytes,
        frames: Sequence[Any],
        *,
        views: bool = False,
        resolve: Resolve | None = None,
    ) -> Any:
        """Decode a value; see ``Reader.read``.  Raises whatever that raises."""
        if not body:
            body, frames = buffer_of(frames[0]), frames[1:]
        reader = ANYTHING if body[0] in EXT_HEADS else self._reader
        if not frames and resolve is None:
            return reader.decode(body)
        return reader.read(body, frames, views, resolve)

    def _encoded(self, value: Any, what: str) -> bytes | None:
        """Return the value as msgpack, or ``None`` where it must be boxed."""
        if self._annotation is bytes and is_long(value):
            return None
        try:
            body = encode(value)
            decoded = self._reader.check(body)
        except StandIn:
            return None
        except NO_WORD:
            self._compare(value, what)
            return None
        except WRONG_TYPE as error:
            raise EncodingError(self._mismatch(what, error)) from error
        return body if not self._classed or same(decoded, value) else None

    def _compare(self, value: Any, what: str) -> None:
        """Check the type of what msgpack has no word for."""
        try:
            msgspec.convert(value, self._annotation)
        except WRONG_TYPE as error:
            if (proxies_exist() or references_exist()) and holds_stand_in(value):
                return
            raise EncodingError(self._mismatch(what, error)) from error

    def _mismatch(self, what: str, error: BaseException) -> str:
        annotation = (
            "None" if self._annotation is type(None) else inspect.formatannotation(self._annotation)
        )
        return f"{what} is not what its annotation `{annotation}` says: {error}"


def total_bytes(frames: Sequence[Any]) -> int:
    """Return how many bytes frames have in all."""
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)


def unsendable(what: str, value: object, error: BaseException) -> str:
    """Say that a value cannot travel, why, and what to do."""
    return (
        f"{what} ({type(value).__qualname__}) cannot be sent between processes: "
        f"{type(error).__name__}: {error}. Send data that it can be made from "
        "(a path, parameters) and make it inside the task"
    )


ANY_VALUE = ValueCodec()
"""Carries any value."""
