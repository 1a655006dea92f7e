"""What is said to a peer in one go, cut into batches that it can take in.

A receiver refuses what is too long as a whole, whoever collected it; so the sender sees to it that
no batch is.  Mostly all fits into one, which costs a look at its length.  What does not is cut
between messages; a message that says the same of many things is cut between these; and code that
is long goes as a frame.

What is left is one message that is too long by itself.  Those who make messages bound what users
put into them (`model.bounds`, `check_frames`), so that this is said where it is made; here it is
an error of the connection.
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
"""The header of a batch is cut where it is longer, if it can be."""
BATCH_FRAMES = 1 << 12
"""So are batches with more frames."""
BATCH_BYTES = 1 << 30
"""So are those whose frames are longer in all."""
LONGEST_HEADER_BYTES = 32 << 20
"""Longest header of one message: half of what receivers take, for a broker adds a little."""
LONGEST_MESSAGE_BYTES = 4 << 30
"""Most bytes of the frames of one message."""
MOST_FRAMES = (1 << 16) - 2
"""Most frames of one message: with its header they are within what receivers take."""
LONG_CODE_BYTES = 1 << 16
"""Longer code of a task type goes as a frame where its batch is cut."""

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
"""Messages that say the same of many things, and in which fields."""


def batches(messages: Sequence[Any], frames: Sequence[Any]) -> Iterable[list[Any]]:
    """Return the batches to send, to be iterated over once: each a header and its frames.

    Raises:
        EncodingError: one of the messages is too long, or is none; those before it were yielded.
    """
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


def refused(error: EncodingError) -> list[Any]:
    """Return the batch that tells a peer that it cannot be told what there is to say."""
    return [encode_headers([ms.Refused(f"the broker could not say it: {error}", False)])]


def _few(frames: Sequence[Any]) -> bool:
    return len(frames) <= BATCH_FRAMES and _total(frames) <= BATCH_BYTES


def _total(frames: Sequence[Any]) -> int:
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)


def _groups(messages: Sequence[Any], frames: Sequence[Any], nbytes: int) -> Iterator[list[Any]]:
    """Cut between messages: into as many groups as would do if all were equally long."""
    count = max(2, -(-nbytes // BATCH_HEADER_BYTES))
    step = max(1, len(messages) // count)
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
    check_frames(frames, type(message).__name__)
    if len(header) > LONGEST_HEADER_BYTES:
        raise EncodingError(
            f"{type(message).__name__} of {len(header)} bytes is too long for one message, which "
            f"takes {LONGEST_HEADER_BYTES}: put what is large into the store"
        )
    yield [header, *frames]
