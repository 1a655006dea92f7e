"""Whatever bytes arrive, reading them gives messages or a ProtocolError."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steerio.edge.wire import headers
from steerio.edge.wire.headers import (
    deal_frames,
    decode_from_broker,
    decode_to_broker,
    encode_headers,
    escape,
)
from steerio.errors import ProtocolError
from steerio.model import messages as ms
from steerio.model.events import AnyEvent
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import Retries, TaskOptions, TaskSpec

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=10)
needs = st.builds(
    WorkerNeeds,
    cpus=st.integers(1, 1_000),
    gpus=st.sampled_from([0.0, 0.5, 1.0, 8.0]),
    memory_bytes=st.sampled_from([0, 2**30]),
    tags=st.lists(st.sampled_from(["bigmem", "fast"])).map(tuple),
)
options = st.builds(
    TaskOptions,
    priority=st.floats(allow_nan=False, allow_infinity=False),
    timeout_s=st.none() | st.floats(0, 1e9, exclude_min=True),
    retries=st.builds(Retries, numbers, numbers, numbers),
    cancel_grace_s=st.floats(0, 1e9),
    needs=st.none() | needs,
)
settings = st.builds(
    Settings, beat_s=st.floats(0.1, 10), lease_s=st.floats(20, 1e9), items=st.integers(1, 2**62)
)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | texts | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers,
    float: st.floats(),
    str: texts,
    bytes: st.binary(max_size=20),
    Any: plain,
    TaskOptions: options,
    WorkerNeeds: needs,
    Settings: settings,
}


def messages_of(union: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of any message of a union, with any content."""
    return st.one_of(*(_built(kind) for kind in get_args(union)))


def _built(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{f.name: _of(f.type) for f in fields})


def _of(hint: Any) -> st.SearchStrategy[Any]:
    if hint in FIELDS:
        return FIELDS[hint]
    if hint == list[AnyEvent]:
        return st.lists(st.one_of(*map(_built, get_args(AnyEvent))), max_size=3)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _built(hint)
    origin, parts = getattr(hint, "__origin__", None), get_args(hint)
    if origin is list:
        return st.lists(_of(parts[0]), max_size=3)
    if origin is tuple and parts[-1] is ...:
        return st.lists(_of(parts[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_of, parts))
    if origin is dict:
        return st.dictionaries(_of(parts[0]), _of(parts[1]), max_size=3)
    if origin is Literal:
        return st.sampled_from(parts)
    if parts:
        return st.one_of(*map(_of, parts))
    return st.from_type(hint)


to_broker = messages_of(ms.ToBroker)
from_broker = messages_of(ms.FromBroker)
msgpacks = plain.map(msgspec.msgpack.encode)
broken = st.one_of(
    st.binary(max_size=200),
    msgpacks,
    st.lists(plain, max_size=4).map(msgspec.msgpack.encode),
    # what has the shape of a message, with anything in its fields
    st.lists(st.lists(plain, max_size=9).map(lambda fields: [*fields]), max_size=3).map(
        msgspec.msgpack.encode
    ),
    st.tuples(st.integers(-3, 90), st.lists(plain, max_size=9)).map(
        lambda tagged: msgspec.msgpack.encode([[tagged[0], *tagged[1]]])
    ),
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Take good messages and spoil some bytes of them."""
    data = bytearray(encode_headers(draw(st.lists(to_broker, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                data[where] = draw(st.integers(0, 255))
            case 1:
                del data[where:]
            case 2:
                data[where:where] = draw(st.binary(max_size=5))
            case _:
                del data[where]
        if not data:
            break
    return bytes(data)


@given(header=broken | mangled())
@example(header=b"")
@example(header=b"\x91" * 100_000)
@example(header=b"\x81\xa1a" * 100_000)
@example(header=b"\xdd\xff\xff\xff\xff")
@example(header=b"\x91\x92\x0d\xdd\xff\xff\xff\xff")
@example(header=b"\x91\xdf\xff\xff\xff\xff")
@example(header=b"\x91\x92\x01" + b"\xdb\xff\xff\xff\xffab")
@example(header=b"\x91\x93\x01\x01\xa2\xff\xff")
@example(header=b"\x91\x92\x0d\xc1")
@example(header=b"\x91\x92\x0d\xd7\xff" + b"\xff" * 8)
@example(header=encode_headers([ms.Leave()]) + b"more")
@example(header=b"\x91\x92\x05\x91\x92\x01\xcb\x7f\xf8" + b"\x00" * 6)  # a rank that is no number
def test_reading_what_a_broker_gets_raises_nothing_but_protocol_errors(header: bytes) -> None:
    for decode in (decode_to_broker, decode_from_broker):
        said = ""
        try:
            messages: Any = decode(header)
        except ProtocolError as error:
            messages, said = [], str(error)
        assert isinstance(messages, list)
        assert len(said) < 1_000


@given(
    messages=st.lists(to_broker, max_size=4),
    frames=st.lists(st.binary(max_size=3), max_size=6),
)
def test_dealing_out_frames_raises_nothing_but_protocol_errors(
    messages: list[Any], frames: list[bytes]
) -> None:
    wanted = [getattr(message, "frames", 0) for message in messages]
    try:
        dealt = deal_frames(messages, frames)
    except ProtocolError:
        assert min(wanted, default=0) < 0 or sum(wanted) != len(frames)
        return
    assert [message for message, _ in dealt] == messages
    assert [len(its) for _, its in dealt] == wanted
    assert [frame for _, its in dealt for frame in its] == frames


def _same(one: Any, other: Any) -> bool:
    return bool(msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other))


@given(messages=st.lists(to_broker, max_size=5))
def test_what_is_sent_to_a_broker_is_what_it_reads(messages: list[Any]) -> None:
    assert _same(decode_to_broker(encode_headers(messages)), messages)


@given(messages=st.lists(from_broker, max_size=5))
def test_what_a_broker_sends_is_what_its_peers_read(messages: list[Any]) -> None:
    assert _same(decode_from_broker(encode_headers(messages)), messages)


@pytest.mark.parametrize(
    "refused",
    [
        TaskOptions.__struct_fields__,
        [float("nan"), None, [2, 0, 0], 0.2],
        [float("inf"), None, [2, 0, 0], 0.2],
        [0.0, 0.0, [2, 0, 0], 0.2],
        [0.0, float("nan"), [2, 0, 0], 0.2],
        [0.0, float("inf"), [2, 0, 0], 0.2],
        [0.0, None, [2, 0, 0], -1.0],
        [0.0, None, [2, 0, 0], float("nan")],
        [0.0, None, [2, 0, 0], 0.2, {"cpus": 0}],
    ],
    ids=str,
)
def test_options_that_can_never_be_meant_are_refused(refused: Any) -> None:
    task = [3, 1, 1, 0.0, b"", 0, refused, None, ""]

    with pytest.raises(ProtocolError):
        decode_to_broker(msgspec.msgpack.encode([task]))


def test_a_header_beyond_the_limit_is_not_even_read() -> None:
    header = bytes(headers.LIMIT_HEADER_BYTES + 1)

    with pytest.raises(ProtocolError, match=f"limit {headers.LIMIT_HEADER_BYTES}"):
        decode_to_broker(header)


@given(text=st.text(st.characters(exclude_categories=[])))
def test_escaped_text_is_text_and_what_was_text_stays_as_it_was(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert escape(text) != text
        escape(text).encode()
    else:
        assert escape(text) == text


@given(name=st.text(st.characters(exclude_categories=[]), max_size=5))
def test_messages_with_any_text_can_be_sent(name: str) -> None:
    spec = TaskSpec(name, name, "function", b"\xff")
    sent = [ms.JoinClient(1, name), ms.DefineTask(3, spec), ms.Leave(), ms.Publish(name, b"\xff")]
    shown = escape(name)

    client, define, leave, publish = decode_to_broker(encode_headers(sent))

    assert (client, leave) == (ms.JoinClient(1, shown), ms.Leave())
    assert define == ms.DefineTask(3, TaskSpec(shown, shown, "function", b"\xff"))
    assert publish == ms.Publish(shown, b"\xff")
