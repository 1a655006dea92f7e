"""Message headers on the wire: encoded, decoded and given their frames.

One ZeroMQ message is one *batch*: a first frame with a msgpack list of headers, then
the out-of-band frames of those headers, in order.  Throughput comes from batching per wake-up, not
per message; a single message is just a batch of one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any, Literal, cast

import msgspec
from msgspec import structs

from steerio.errors import ProtocolError, UsageError
from steerio.model import messages as ms
from steerio.model.messages import DefineTask, FromBroker, ToBroker

LIMIT_HEADER_BYTES = 64 << 20
"""Longest header frame that is decoded; senders cut theirs far below (``edge.wire.cutting``)."""
SAID_BYTES = 1 << 20
"""Longest rare message of a client, which is checked before it is sent."""

Receiver = Literal["broker", "client", "node", "worker", "any", "behind"]
"""The peer that decodes; ``any``: each message that a broker sends; ``behind``: a broker that
decodes batches which nodes pass on for their workers."""
UNIONS: dict[Receiver, Any] = {
    "broker": ms.ToBroker,
    "client": ms.ToClient,
    "node": ms.ToNode,
    "worker": ms.ToWorker,
    "any": ms.FromBroker,
    "behind": ms.Relayed,
}

_encode = msgspec.msgpack.Encoder().encode


@functools.cache  # made when first needed: that takes ms, and most processes need one of them
def _decoder(receiver: Receiver) -> msgspec.msgpack.Decoder[Any]:
    batch: Any = GenericAlias(list, (UNIONS[receiver],))
    return msgspec.msgpack.Decoder(batch)


def encode_headers(messages: Sequence[ToBroker | FromBroker]) -> bytes:
    """Return the header frame of a batch.

    It escapes text for which UTF-8 has no form (a file name, in a tag or an error's message).
    """
    try:
        return _encode(messages)
    except UnicodeEncodeError:
        return _encode(_escaped(msgspec.to_builtins(messages, builtin_types=(bytes,))))


def escape(text: str) -> str:
    """Return a text with escapes for all that UTF-8 has no form for."""
    return text.encode(errors="backslashreplace").decode()


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        pairs = cast("Any", value).items()
        return {_escaped(key): _escaped(item) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in cast("Any", value)]
    return value


def refuse_unreadable(message: ToBroker) -> None:
    """Refuse a message that a broker could not read, before it is sent.

    Raises:
        UsageError: a value in it has a wrong type, or it is too long.
    """
    try:
        header = encode_headers([message])
        decode_to_broker(header)
    except Exception as error:
        raise UsageError(f"{type(message).__name__} cannot be sent like this: {error}") from error
    if len(header) > SAID_BYTES:
        raise UsageError(
            f"{type(message).__name__} is too long: {len(header)} bytes, of at most {SAID_BYTES}"
        )


def decode_to_broker(header: bytes) -> list[ToBroker]:
    """Decode a header frame as the broker does.

    Raises:
        ProtocolError: it is not a list of messages that a broker accepts.
    """
    return _decode(header, "broker")


def decode_from_broker(header: bytes, receiver: Receiver = "any") -> list[FromBroker]:
    """Decode a header frame as a broker's peer of this kind does.

    Raises:
        ProtocolError: it is not a list of messages that a broker sends to such a peer.
    """
    return _decode(header, receiver)


Dealt = list[tuple[Any, tuple[Any, ...]]]
"""The messages of a batch, each with its frames."""


@functools.cache
def reader(receiver: Receiver) -> Callable[[bytes, Sequence[Any]], Dealt]:
    """Return the function by which this kind of peer reads a batch: its header, and its frames.

    That raises a `ProtocolError` if the batch cannot be read.
    """
    decode = _decoder(receiver).decode

    def read(header: bytes, frames: Sequence[Any]) -> Dealt:
        try:
            messages = decode(header) if len(header) <= LIMIT_HEADER_BYTES else None
        except Exception as error:
            raise _refused(error) from error
        if messages is None:
            raise _too_long(header)
        if len(messages) == 1 and not frames and not getattr(messages[0], "frames", 0):
            return [(messages[0], ())]  # as most are
        return deal_frames(messages, frames)

    return read


def prepare_to_hear() -> None:
    """Make the decoder of the broker's messages now, not when the first one comes."""
    _decoder("node")
    _decoder("worker")  # which is forked from here


def _decode(header: bytes, receiver: Receiver) -> list[Any]:
    if len(header) > LIMIT_HEADER_BYTES:
        raise _too_long(header)
    try:
        messages: list[Any] = _decoder(receiver).decode(header)
    except Exception as error:  # a check of a Struct (UsageError) is the sender's fault too
        raise _refused(error) from error
    return messages


def _too_long(header: bytes) -> ProtocolError:
    return ProtocolError(f"header of {len(header)} bytes (limit {LIMIT_HEADER_BYTES})")


def _refused(error: Exception) -> ProtocolError:
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
        return ProtocolError(f"header does not decode: {error}")
    return ProtocolError(f"header is refused: {error}")


def deal_frames(messages: Sequence[Any], frames: Sequence[Any]) -> Dealt:
    """Give each message of a batch its own frames.

    Raises:
        ProtocolError: the batch has more or fewer frames than its headers say.
    """
    if not frames and not any(getattr(message, "frames", 0) for message in messages):
        return [(message, ()) for message in messages]
    dealt: Dealt = []
    at = 0
    for message in messages:
        count: int = getattr(message, "frames", 0)
        if count < 0 or at + count > len(frames):
            raise ProtocolError("a batch has fewer frames than its headers say")
        own = tuple(frames[at : at + count])
        at += count
        if own and message.__class__ is DefineTask:
            message, own = _with_code(message, own), ()
        dealt.append((message, own))
    if at != len(frames):
        raise ProtocolError("a batch has more frames than its headers say")
    return dealt


def _with_code(message: DefineTask, frames: tuple[Any, ...]) -> DefineTask:
    """Return a task type whose code, which was too long for the header, came as a frame."""
    spec = structs.replace(message.spec, code=b"".join(map(bytes, frames)))
    return DefineTask(message.type_id, spec)
