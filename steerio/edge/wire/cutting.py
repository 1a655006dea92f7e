"""The messages to a peer, cut into batches that it can take in.

A receiver refuses a batch that is too long, so the sender sees to it that none is. Mostly all
messages fit into one, which costs a look at its length. Otherwise they are cut between messages; a
message that says the same of many things is cut between these; and long code goes as a frame.

There is still the message that is too long by itself. The code that makes messages bounds the
values that users put into them (`model.bounds`, `check_frames`), so that the error comes at the
user's call; here it is an error of the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from msgspec import structs

from steerio.edge.wire.headers import encode_headers
from steerio.errors import EncodingError
from steerio.model import messages as ms
from steerio.model.bounds import cut

BATCH_HEADER_BYTES = 1 << 20
"""Longest header of a batch: longer ones are cut, if they can be."""
BATCH_MESSAGES = 1_000
"""Most messages of a batch: a broker that takes in no more at a time reads on from others soon."""
BATCH_FRAMES = 1 << 12
"""Most frames of a batch: those with more are cut, too."""
BATCH_BYTES = 1 << 30
"""Most bytes of the frames of a batch: those with more are cut, too."""
LONGEST_HEADER_BYTES = 32 << 20
"""Longest header of one message: half of the receivers' limit, for a broker adds a little."""
LONGEST_MESSAGE_BYTES = 4 << 30
"""Most bytes of the frames of one message."""
MOST_FRAMES = (1 << 16) - 2
"""Most frames of one message: with its header they are within the receivers' limit."""
LONG_CODE_BYTES = 1 << 16
"""Longer code of a task type goes as a frame if its batch is cut."""

RELAYED = (ms.TellWorker, ms.WorkerSaid)
"""Messages that have a batch of another connection in them."""
_MANY: dict[type, tuple[str, ...]] = {
    ms.Events: ("events",),
    ms.FetchAhead: ("objects",),
    ms.ForgetObjects: ("names",),
    ms.ForgetTypes: ("types",),
    ms.LetGo: ("names",),
    ms.CancelTasks: ("tasks",),
    ms.ReassignTasks: ("tasks",),
    ms.Reprioritise: ("changes",),
    ms.TaskStates: ("queued", "running"),
}
"""Messages that say the same of many things, and the fields with these."""


def batches(messages: Sequence[Any], frames: Sequence[Any]) -> Iterable[list[Any]]:
    """Return the batches to send, each a header and its frames; iterate over them once.

    Raises:
        EncodingError: a message is too long, or cannot be encoded; those before it were yielded.
    """
    if len(messages) > BATCH_MESSAGES:
        return _groups(messages, frames, 0)
    try:
        header = encode_headers(messages)
    except Exception as error:
        if len(messages) == 1:
            said = f"{cut(repr(messages[0]), 200)} cannot be encoded: {error}"
            raise EncodingError(said) from error
        header = b""
    if header and len(header) <= BATCH_HEADER_BYTES and (not frames or _few(frames)):
        return ([header, *frames],)  # no generator: this is on the way of each task
    if len(messages) > 1:
        return _groups(messages, frames, len(header))
    return _single(messages[0], frames, header)


def check_frames(frames: Sequence[Any], what: str) -> None:
    """Refuse frames that no message can take along.

    Raises:
        EncodingError: there are too many, or they are too long.
    """
    nbytes = _total(frames)
    if len(frames) > MOST_FRAMES or nbytes > LONGEST_MESSAGE_BYTES:
        raise EncodingError(
            f"{what}: {len(frames)} arrays and buffers of {nbytes} bytes in all are too much for "
            f"one message, which takes {MOST_FRAMES} of them and {LONGEST_MESSAGE_BYTES} bytes: "
            "have them go through the store (threshold_bytes), or send fewer and larger ones"
        )


def refused(error: EncodingError | MemoryError) -> list[Any]:
    """Return the batch that tells a peer that a message to it could not be sent."""
    why = str(error) or "it has no memory for that"
    return [encode_headers([ms.Refused(f"the broker could not say it: {why}", False)])]


def _few(frames: Sequence[Any]) -> bool:
    return len(frames) <= BATCH_FRAMES and _total(frames) <= BATCH_BYTES


def _total(frames: Sequence[Any]) -> int:
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)


def _groups(messages: Sequence[Any], frames: Sequence[Any], nbytes: int) -> Iterator[list[Any]]:
    """Cut between messages, into as many groups as would do if all were equally long."""
    count = max(2, -(-nbytes // BATCH_HEADER_BYTES))
    step = min(BATCH_MESSAGES, -(-len(messages) // count))
    taken = 0
    for start in range(0, len(messages), step):
        group = messages[start : start + step]
        ends = taken + sum(getattr(message, "frames", 0) for message in group)
        yield from batches(group, frames[taken:ends])
        taken = ends


def _half(many: list[Any], which: int) -> list[Any]:
    middle = len(many) // 2
    return many[middle:] if which else many[:middle]


def _single(message: Any, frames: Sequence[Any], header: bytes) -> Iterator[list[Any]]:
    """Send one message: in parts, with its code as a frame, or alone."""
    if len(header) > BATCH_HEADER_BYTES:
        names = _MANY.get(cast("type", message.__class__), ())
        many = {name: getattr(message, name) for name in names}
        if max(map(len, many.values()), default=0) > 1:
            for half in (0, 1):
                some = {name: _half(every, half) for name, every in many.items()}
                yield from batches([structs.replace(message, **some)], ())
            return
        if isinstance(message, ms.DefineTask) and len(message.spec.code) > LONG_CODE_BYTES:
            code = message.spec.code
            spec = structs.replace(message.spec, code=b"")
            yield from batches([ms.DefineTask(message.type_id, spec, 1)], (code,))
            return
    if not isinstance(message, RELAYED):  # their frames are checked by the first sender
        check_frames(frames, type(message).__name__)
    if len(header) > LONGEST_HEADER_BYTES:
        raise EncodingError(
            f"{type(message).__name__} of {len(header)} bytes is too long for one message, which "
            f"takes {LONGEST_HEADER_BYTES}: put large values into the store"
        )
    yield [header, *frames]
