"""Traffic of a broker's peers, and what becomes of it by chance.

A `Maker` makes messages of every kind in the unions, from their types, with odd values among sound
ones; `mutated` flips, cuts, repeats and splices what is encoded.  Nothing here has leave to do what
would harm others rightly: to stop the broker, or to take the workers of others away.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import inspect

from steerio.edge.wire.packets import FIELDS_BYTES, Piece, encode
from steerio.edge.wire.wire_session import Kind, Packet
from steerio.model import messages as ms
from steerio.model.tasks import task_id

POOL = "other"
"""The pool of all that is made; in ``default`` somebody else computes."""
NAMES = (
    POOL,
    "nowhere",
    "other-1",
    "other-2",
    "default-1",
    "default-2",
    "model",
    "",
    "\0",
    "é" * 9,
)
WHOLE = (0, 1, 2, 3, 7, 40, 1 << 20, 1 << 40, -1, -(1 << 63), (1 << 53) + 1, (1 << 63) - 1, 1 << 64)
SOUND = 6
"""So many of the whole numbers are sound for most fields."""
REAL = (0.0, 0.5, 1.0, 60.0, -1.0, 1e300, 5e-324, float("inf"), float("-inf"), float("nan"))
INTEREST = bytes([0, 1, 0x7F, 0x80, 0x90, 0x91, 0xC0, 0xC1, 0xC4, 0xC6, 0xCF, 0xDC, 0xDD, 0xFF])
"""Bytes that mean something to msgpack, or as lengths."""
STOPS = re.compile(rb"[\x91-\x9f]\xcc?\x0e|\xdc..\xcc?\x0e|\xdd....\xcc?\x0e", re.DOTALL)
"""Finds an order to stop the broker, which a client may give."""
_NUMBERS = (1, 2, 3, 1 << 31, 1 << 63, (1 << 64) - 1)

Batch = list[bytes]
"""A header, and its frames."""


class Role(NamedTuple):
    """How a peer introduces itself, and what it says then."""

    name: str
    introduction: Callable[[random.Random], Any] | None
    says: tuple[type, ...]


def _kinds(union: Any) -> tuple[type, ...]:
    """Return the messages, but for the deeds by which a client may keep others from going on."""
    return tuple(kind for kind in get_args(union) if kind not in (ms.StopBroker, ms.AskPause))


EVERYTHING = _kinds(ms.ToBroker)
ROLES = (
    Role("stranger", None, EVERYTHING),
    Role("client", lambda _: ms.JoinClient(ms.PROTOCOL, "fuzz"), _kinds(ms.FromClient)),
    Role(
        "observer",
        lambda _: ms.JoinClient(ms.PROTOCOL, "fuzz", "", True),
        _kinds(ms.FromObserver),
    ),
    Role(
        "node",
        lambda chance: ms.JoinNode(ms.PROTOCOL, "n", "h", 1, {POOL: chance.randrange(3)}),
        _kinds(ms.FromNode),
    ),
    Role(
        "worker",
        lambda chance: ms.JoinWorker(ms.PROTOCOL, f"{POOL}-{chance.randrange(1, 9)}", 1),
        _kinds(ms.FromWorker),
    ),
)


class Known:
    """The ids and names of a peer that a broker would know."""

    def __init__(self) -> None:
        self.client = 0
        self.runs = [1]
        self.workers = [f"{POOL}-1"]


SENSIBLE: dict[str, Callable[[random.Random, Known], Any]] = {
    "run": lambda chance, known: chance.choice(known.runs),
    "ended": lambda chance, known: chance.choice(known.runs),
    "runs": lambda _, known: list(known.runs),
    "worker": lambda chance, known: chance.choice(known.workers),
    "task_id": lambda chance, known: task_id(known.client, chance.randrange(1, 9)),
    "tasks": lambda _, known: [task_id(known.client, number) for number in range(1, 9)],
    "type_id": lambda *_: 1,
    "priority": lambda *_: 1.0,
    "cancel_grace_s": lambda *_: 1.0,
    "created": lambda *_: 1.0,
    "timeout_s": lambda *_: None,
    "ended_as": lambda chance, _: chance.choice(("succeeded", "failed", "cancelled", "odd")),
    "index": lambda chance, _: chance.randrange(4),
}
"""Values of fields that mean something, by the field's name."""


class Maker:
    """Makes messages of any kind, as builtins that encode to what such a message encodes to.

    Args:
        chance: whence all of it comes.
    """

    def __init__(self, chance: random.Random) -> None:
        self.known = Known()
        self._chance = chance
        kinds = {*EVERYTHING, ms.DefineTask}
        self._types = {kind: inspect.type_info(kind) for kind in kinds}

    def batch(self, kinds: Sequence[type]) -> Batch:
        """Return a batch of a few messages of these kinds."""
        chance = self._chance
        messages: list[Any] = []
        frames: list[bytes] = []
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            messages.append(self._message(chance.choice(kinds), frames))
        return [encoded(messages), *frames]

    def _message(self, kind: type, frames: list[bytes]) -> Any:
        chance = self._chance
        info: Any = self._types[kind]
        made: list[Any] = [info.tag]
        for field in info.fields:
            if field.encode_name == "frames":
                count = chance.choice((0, 0, 0, 1, 2))
                frames += [chance.randbytes(chance.randrange(30)) for _ in range(count)]
                made.append(count)
            elif field.encode_name == "protocol":
                made.append(ms.PROTOCOL)
            elif field.encode_name == "header":
                before = len(frames)
                made.append(self._header_of_a_worker(frames))
                return [*made, len(frames) - before, chance.choice(("", "", "", "odd"))]
            else:
                made.append(self._field(field))
        return made

    def _field(self, field: Any) -> Any:
        """Return a value of a field, mostly one that means something to the broker now."""
        make = SENSIBLE.get(field.encode_name)
        if make is not None and self._chance.random() < 0.8:
            return make(self._chance, self.known)
        return self._value(field.type)

    def _header_of_a_worker(self, frames: list[bytes]) -> bytes:
        """Return the batch in an envelope of a node."""
        chance = self._chance
        kinds = _kinds(ms.Relayed) if chance.random() < 0.9 else EVERYTHING
        its = self.batch([kind for kind in kinds if kind is not ms.WorkerSaid])
        if chance.random() < 0.3:
            its[0] = mutated(chance, its[0])
        frames += its[1:]
        return its[0]

    def _value(self, info: Any) -> Any:
        """Return a value of a type, mostly; sometimes one of any."""
        chance = self._chance
        if chance.random() < 0.01:
            return chance.choice((None, True, -1, "x", b"x", [], {}, [[]]))
        match info:
            case inspect.IntType():
                return chance.choice(WHOLE[:SOUND] if chance.random() < 0.8 else WHOLE)
            case inspect.FloatType():
                return chance.choice(REAL)
            case inspect.BoolType():
                return chance.random() < 0.5
            case inspect.StrType():
                return chance.choice(NAMES)
            case inspect.BytesType():
                return chance.randbytes(chance.randrange(20))
            case _:
                return self._composed(info)

    def _composed(self, info: Any) -> Any:
        """Return a value of a type that is made of others, or of `None`."""
        chance = self._chance
        match info:
            case inspect.UnionType():
                return self._value(chance.choice(info.types))
            case inspect.DictType():
                pairs = range(chance.randrange(3))
                return {chance.choice(NAMES): self._value(info.value_type) for _ in pairs}
            case inspect.TupleType():
                return [self._value(each) for each in info.item_types]
            case inspect.StructType():
                fields = {each.encode_name: self._field(each) for each in info.fields}
                return list(fields.values()) if info.array_like else fields
            case _ if hasattr(info, "item_type"):
                return [self._value(info.item_type) for _ in range(chance.randrange(4))]
            case _:
                return None


def mutated(chance: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return bytes with some of them flipped, replaced, cut out, repeated, or from elsewhere."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(made) + 1)
        length = chance.choice((1, 2, 4, 8, 30))
        match chance.randrange(7):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(made):
                made[at] = chance.choice(INTEREST)
            case 2:
                del made[at : at + length]
            case 3:
                del made[at:]
            case 4:
                made[at:at] = made[at : at + length] * chance.choice((1, 2, 50))
            case 5:
                start = chance.randrange(len(other) + 1)
                made[at:] = other[start:]
            case _:
                made[at:at] = chance.randbytes(length)
    return bytes(made)


def mutated_batch(chance: random.Random, batch: Batch, other: Batch) -> Batch:
    """Return a batch of which the header or a frame was changed, or a frame is too many."""
    made = list(batch)
    match chance.randrange(6):
        case 0 if len(made) > 1:
            made.pop()
        case 1:
            made.append(chance.randbytes(9))
        case 2:
            made.insert(0, other[0])
        case _:
            at = chance.randrange(len(made))
            made[at] = mutated(chance, made[at], other[0])
    return made


def saying(chance: random.Random, maker: Maker, role: Role, most: int = 5) -> list[Batch]:
    """Return what a peer says once it is in: messages of its role and of others, some mutated."""
    batches: list[Batch] = []
    for _ in range(chance.randrange(1, most + 1)):
        batch = maker.batch(role.says if chance.random() < 0.9 else EVERYTHING)
        if chance.random() < 0.3:
            batch = mutated_batch(chance, batch, chance.choice(batches or [batch]))
        if not any(STOPS.search(part) for part in batch):
            batches.append(batch)
    return batches


def introduction(chance: random.Random, role: Role) -> list[Batch]:
    """Return the first batch of a peer, mostly sound; a stranger says none."""
    if role.introduction is None:
        return []
    batch = [encoded([role.introduction(chance)])]
    if chance.random() < 0.1:
        batch = mutated_batch(chance, batch, batch)
    return [] if STOPS.search(b"".join(batch)) else [batch]


def packets(chance: random.Random, session: int, batches: Sequence[Batch]) -> list[list[bytes]]:
    """Return the packets of a new session with these batches, some with odd numbers or none."""
    made: list[list[bytes]] = []
    for number, batch in enumerate(batches):
        kind = Kind.DATA if chance.random() < 0.95 else chance.choice(list(Kind))
        whole = chance.random() < 0.95
        piece = Piece(whole, batch)
        packet = Packet(kind, session, number, 0, 0, 0, True, piece)
        if chance.random() < 0.1:
            odd = chance.choice(("number", "expected", "taken", "session"))
            packet = packet._replace(**{odd: chance.choice(_NUMBERS)})
        parts = [bytes(part) for part in encode(packet)]
        if chance.random() < 0.05:
            fields = mutated(chance, parts[0][:FIELDS_BYTES])
            if not STOPS.search(fields + parts[0][FIELDS_BYTES:]) or number:
                parts[0] = fields + parts[0][FIELDS_BYTES:]
        made.append(parts)
    return made


def last_packet() -> list[bytes]:
    """Return a packet that ends a peer, whatever it was before."""
    packet = Packet(Kind.DATA, (1 << 64) - 1, 0, 0, 0, 0, True, Piece(True, [b"\xc1"]))
    return [bytes(part) for part in encode(packet)]


def encoded(messages: Sequence[Any]) -> bytes:
    """Return the header of messages."""
    while True:
        try:
            return msgspec.msgpack.encode(messages)
        except (OverflowError, ValueError):  # a number for which msgpack has no word
            messages = [[1]]
