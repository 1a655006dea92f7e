"""Calls of nothing but atoms, the most usual ones: their entries in a journal.

Such arguments cannot change. So the digest of a call can be made when its result is recorded, in
one go with the others of a batch, and nothing has to be kept beside the handle of its task.
"""

from __future__ import annotations

from typing import Any

import msgspec

from steerio.edge.encoding.digests import begin_digests, end_digest
from steerio.edge.record.entries import Call
from steerio.model.messages import TaskSettled

SHOWN_BYTES = 2048
"""Longer arguments are not recorded beside their digest."""

_NO_KWARGS: dict[str, Any] = {}
_encode = msgspec.msgpack.Encoder().encode


class AtomCalls:
    """The calls of one function with nothing but atoms by position.

    Args:
        task_type: the name of their type.
        version: a word of its author on which version of it this is.
        code: the function by value; empty if it is imported by its name.

    Raises:
        EncodingError: calls of the function have no digest.
    """

    __slots__ = ("_begin", "_task_type")

    def __init__(self, task_type: str, version: str, code: bytes) -> None:
        self._task_type = task_type
        self._begin = begin_digests(task_type, version, code).copy

    def __repr__(self) -> str:
        return f"<AtomCalls of {self._task_type}>"

    def call(self, args: Any, tags: dict[str, str]) -> Call:
        """Return one of them, by its arguments and the tags of its task."""
        key, shown = self._key_and_shown(args)
        return Call(key, self._task_type, shown, tags=tags)

    def encode_result(self, args: Any, tags: dict[str, str], settled: TaskSettled) -> bytes:
        """Return the body of a result's frame, as `encode_result` does for the `call`."""
        key, shown = self._key_and_shown(args)
        fields = (self._task_type, shown, settled, (), None)
        return key + _encode((*fields, "", tags) if tags else fields)

    def _key_and_shown(self, args: Any) -> tuple[bytes, bytes]:
        """Return the digest of a call, and its arguments if they are recorded beside it."""
        body = _encode((args, _NO_KWARGS))  # as `CallCodec.pack_atoms`: a byte, args, a byte
        return end_digest(self._begin(), body[1:-1]), body if len(body) <= SHOWN_BYTES else b""
