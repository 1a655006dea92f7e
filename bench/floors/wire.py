"""The two frames of the raw pyzmq floor: a msgspec header and a msgpack payload.

The envelope is the load-balancing queue's of the ZeroMQ guide (chapter 3, "A Load Balancing
Message Broker"), without its empty delimiters: the sockets here are all DEALER and ROUTER.
"""

from __future__ import annotations

from typing import Any

import msgspec
import zmq

RECEIVE_TIMEOUT_MS = 30_000
LENGTH = "length"
"""The function whose payload is not decoded: only its length is wanted."""


class TaskHeader(msgspec.Struct, array_like=True):
    """Which task this is, and which function it calls."""

    task: int
    function: str


class ResultHeader(msgspec.Struct, array_like=True):
    """Which task ended, and whether it returned."""

    task: int
    ok: bool


task_header_decoder = msgspec.msgpack.Decoder(TaskHeader)
result_header_decoder = msgspec.msgpack.Decoder(ResultHeader)
payload_decoder = msgspec.msgpack.Decoder()
encoder = msgspec.msgpack.Encoder()

READY = b"ready"


def unlimited(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    """A socket that never drops or blocks for want of room: a round is submitted at once."""
    socket = context.socket(kind)
    socket.linger = 0
    socket.set_hwm(0)
    return socket


def task_frames(task: int, function: str, argument: Any) -> list[bytes]:
    """Encode a task: its header and its one argument."""
    return [encoder.encode(TaskHeader(task, function)), encoder.encode(argument)]
