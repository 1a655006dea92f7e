"""Framing of the messages between a campaign and its attached prompts.

A frame is the length of a message, in four bytes, and the message in msgpack.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from steerio.model.attached import FromPrompt, ToPrompt

M = TypeVar("M")

LENGTH_BYTES = 4
FRAME_BYTES = 1 << 20
"""Longest message of either side: the sender of a longer one is cut off."""


def framed(message: FromPrompt | ToPrompt) -> bytes:
    """Return a message as one frame, also if UTF-8 has no form for its text."""
    try:
        body = msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        plain: Any = msgspec.to_builtins(message)
        body = msgspec.msgpack.encode({key: _encodable(value) for key, value in plain.items()})
    return len(body).to_bytes(LENGTH_BYTES) + body


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return value


class FrameReader(Generic[M]):
    """Puts messages together from the bytes of a stream.

    Args:
        kind: the union of the messages that may come.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind)
        self._left = bytearray()

    def __repr__(self) -> str:
        return f"<FrameReader: {len(self._left)} bytes of the next>"

    def feed(self, data: bytes) -> list[M]:
        """Take in bytes, and return the messages that are whole with them.

        Raises:
            msgspec.DecodeError: a message is too long, or none of those that may come.
        """
        self._left += data
        found: list[M] = []
        while len(self._left) >= LENGTH_BYTES:
            length = int.from_bytes(self._left[:LENGTH_BYTES])
            if length > FRAME_BYTES:
                raise msgspec.DecodeError(f"a message of {length} bytes is too long")
            end = LENGTH_BYTES + length
            if len(self._left) < end:
                break
            try:
                found.append(self._decoder.decode(bytes(self._left[LENGTH_BYTES:end])))
            except RecursionError:
                raise msgspec.DecodeError("a message is nested too deeply") from None
            del self._left[:end]
        return found


def frames_from_prompt() -> FrameReader[FromPrompt]:
    """Return a reader of the messages of a prompt."""
    return FrameReader(FromPrompt)


def frames_to_prompt() -> FrameReader[ToPrompt]:
    """Return a reader of the messages of a campaign."""
    return FrameReader(ToPrompt)
