"""Values on the wire; ``edge.encoding.call_codec`` has the arguments of a call.

A value arrives as it was sent, in type and value. It travels as msgpack if its annotation says
enough for that (``edge.encoding.forms``), a NumPy array or long byte string as a frame of its own,
and any other value as pickle protocol 5 with its buffers out of band.  Without an annotation only
atoms travel as msgpack: a tuple sent that way would come out as a list.

The body is msgpack (see ``edge.encoding.boxing``).  One that is long itself becomes the first
frame; one that *is* a pickle is read as such, whatever is annotated.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

from steerio.edge.encoding.boxing import (
    ANYTHING,
    EXT_HEADS,
    TypedDecoder,
    box,
    boxed,
    buffer_of,
    encode,
)
from steerio.edge.encoding.forms import form_of, is_exact, misfit
from steerio.edge.encoding.references import Resolve
from steerio.errors import EncodingError, PickleRefused

INLINE_BYTES = 4096
"""A longer body travels as a frame of its own, so that no broker copies it."""

NO_WORD = (OverflowError, UnicodeEncodeError, RecursionError)
"""Raised for values that msgpack has no word for, though their type is right."""

log = logging.getLogger("steerio.edge")

Packed = tuple[bytes, tuple[Any, ...]]
"""A body and its frames."""


def finish(body: bytes, frames: list[Any]) -> Packed:
    """Return a body and its frames as they travel: a long body is a frame, too."""
    if len(body) > INLINE_BYTES:
        return b"", (body, *frames)
    return body, tuple(frames)


class ValueCodec:
    """Carries values of one annotation (``None``, or one that says nothing: any value)."""

    def __init__(self, annotation: Any = None) -> None:
        self._annotation = annotation
        self._form = form_of(annotation)
        self._reader = ANYTHING
        if self._form is not None and not self._form.plain:
            self._reader = TypedDecoder(self._form.wire)
        self._told = False

    def pack(self, value: Any, what: str = "a value") -> Packed:
        """Encode a value; ``what`` names it in errors.

        A value that does not fit the annotation is sent all the same, for it has been computed;
        that is logged once.

        Raises:
            EncodingError: it cannot be pickled, or none may be made here.
        """
        frames: list[Any] = []
        body = None
        if self._form is not None:
            if is_exact(self._form, value):
                body = _encoded(value)
                if body is not None and len(body) <= INLINE_BYTES:  # as most are
                    return body, ()
            elif not self._told and (said := misfit(self._form, value)):
                self._told = True
                log.warning("%s (it is kept; said once)", self._mismatch(what, said))
        if body is None:
            try:
                typed = self._form is not None and not self._form.plain
                body = encode((boxed if typed else box)(value, frames))
            except Exception as error:
                raise unsendable(what, value, error) from error
        return finish(body, frames)

    def check(self, value: Any, what: str) -> None:
        """Check a value against the annotation.

        Raises:
            EncodingError: it does not fit.
        """
        if self._form is not None and (said := misfit(self._form, value)):
            raise EncodingError(self._mismatch(what, said))

    def unpack(
        self,
        body: bytes,
        frames: Sequence[Any],
        *,
        views: bool = False,
        resolve: Resolve | None = None,
    ) -> Any:
        """Decode a value; see ``Reader.read``, also for the errors raised."""
        if not body:
            body, frames = buffer_of(frames[0]), frames[1:]
        reader = ANYTHING if body[0] in EXT_HEADS else self._reader
        if not frames and resolve is None:
            return reader.decode(body)
        return reader.read(body, frames, views, resolve)

    def _mismatch(self, what: str, said: str) -> str:
        annotation = (
            "None"
            if self._annotation in (None, type(None))
            else inspect.formatannotation(self._annotation)
        )
        return f"{what} does not fit its annotation `{annotation}`: {said}"


def _encoded(value: Any) -> bytes | None:
    """Return an exact value as msgpack, or ``None`` if that has no word for it."""
    try:
        return encode(value)
    except NO_WORD:
        return None


def total_bytes(frames: Sequence[Any]) -> int:
    """Return how many bytes frames have in all."""
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)


def unsendable(what: str, value: object, error: BaseException) -> EncodingError:
    """Return an error that a value cannot travel, why, and what to do."""
    if isinstance(error, PickleRefused):
        return EncodingError(f"{what} ({type(value).__qualname__}) cannot be sent: {error}")
    return EncodingError(
        f"{what} ({type(value).__qualname__}) cannot be sent between processes: "
        f"{type(error).__name__}: {error}. Send data that it can be made from "
        "(a path, parameters) and make it inside the task"
    )


ANY_VALUE = ValueCodec()
"""Carries any value."""
