"""What travels: alike or not, and as each kind of wire hands it over."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import zmq

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.values import ValueCodec

Frames = tuple[Any, ...]


def as_they_are(frames: Sequence[Any]) -> Frames:
    """Hand frames over as memory endpoints do."""
    return tuple(frames)


def as_bytes(frames: Sequence[Any]) -> Frames:
    """Hand frames over as sockets do: copied."""
    return tuple(content(frame) for frame in frames)


def as_zeromq(frames: Sequence[Any]) -> Frames:
    """Hand frames over as ZeroMQ does long ones: in memory of its own."""
    return tuple(zmq.Frame(content(frame)) for frame in frames)


WIRES: tuple[Callable[[Sequence[Any]], Frames], ...] = (as_they_are, as_bytes, as_zeromq)


def content(frame: Any) -> bytes:
    """Return the bytes of a frame of any kind."""
    return bytes(memoryview(getattr(frame, "buffer", frame)).cast("B"))


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Send the arguments of a call as another process would get them; return what arrives."""
    sender, receiver = (
        CallCodec(function, "module:function"),
        CallCodec(function, "module:function"),
    )
    body, frames = sender.pack(args, kwargs)
    return receiver.unpack(body, as_bytes(frames))


def sent(
    value: Any, annotation: Any = None, wire: Callable[[Sequence[Any]], Frames] = as_bytes
) -> Any:
    """Send a value as another process would get it; return what arrives."""
    body, frames = ValueCodec(annotation).pack(value)
    return ValueCodec(annotation).unpack(body, wire(frames))


def alike(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal through and through; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and (
                _same_items(one, other) if one.dtype.hasobject else one.tobytes() == other.tobytes()
            )
        )
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            alike(a, b) and alike(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, msgspec.Struct):
        return alike(msgspec.structs.asdict(one), msgspec.structs.asdict(other))
    if dataclasses.is_dataclass(one):
        return alike(vars(one), vars(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    return bool(one == other)


def _same_items(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return all(map(alike, one.ravel().tolist(), other.ravel().tolist()))
