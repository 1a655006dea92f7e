"""A process that refuses pickles: msgspec's types travel, and nothing else is read or made."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from steerio.edge.encoding.boxing import ARRAY, ARRAY_BYTES, PICKLE, PLAIN, encode
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.pickling import ship
from steerio.edge.encoding.refusing import is_plain, refuses_pickles, refusing_pickles
from steerio.edge.encoding.values import ANY_VALUE, ValueCodec
from steerio.errors import EncodingError, FunctionRefused, PickleRefused
from steerio.model.tasks import TaskSpec
from steerio.worker.failure import describe
from steerio.worker.loading import LoadedType


class Point(msgspec.Struct):
    x: int
    near: list[float]


def takes(point: Point, values: list[float], *rest: Any, **more: Any) -> None:
    """Be called."""


def takes_two(values: list[float], other: Any) -> None:
    """Be called."""


@pytest.fixture(autouse=True)
def refuse() -> Iterator[None]:
    assert not refuses_pickles()
    with refusing_pickles():
        yield
    assert not refuses_pickles()


@pytest.fixture(autouse=True)
def no_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: Any, **__: Any) -> None:
        raise SystemError("a pickle was read")

    monkeypatch.setattr(pickle, "loads", loads)


PLAIN_VALUES: list[Any] = [
    0,
    -(2**63),
    "ü",
    b"x" * 100_000,
    None,
    2.5,
    [],
    {},
    [1, {"a": [b"x", None, True]}],
    {"x": 1, "y": [2.5]},
]


@pytest.mark.parametrize("value", PLAIN_VALUES)
def test_plain_values_arrive_as_they_were_sent(value: Any) -> None:
    body, frames = ANY_VALUE.pack(value)
    arrived = ANY_VALUE.unpack(body, frames)
    assert arrived == value
    assert type(arrived) is type(value)
    body, frames = CallCodec(takes, "m:takes").pack(
        (Point(1, [2.0]), [3.0, 4.5], value), {"k": value}
    )
    args, kwargs = CallCodec(takes, "m:takes").unpack(body, frames)
    assert (args, kwargs) == ((Point(1, [2.0]), [3.0, 4.5], value), {"k": value})


def test_arrays_and_annotated_types_travel() -> None:
    for array in (np.arange(3.0), np.ones(ARRAY_BYTES), np.array(["a", "bc"])):
        assert np.array_equal(ANY_VALUE.unpack(*ANY_VALUE.pack(array)), array)
    codec = ValueCodec(tuple[int, Point])
    assert codec.unpack(*codec.pack((1, Point(2, [])))) == (1, Point(2, []))


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1}, [(1,)], {1: 2}, Point(1, []), 2**70, "\ud800", bytearray(b"x"), print, object()],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused_by_the_name_of_the_argument(value: Any) -> None:
    assert not is_plain(value)
    with pytest.raises(EncodingError, match=r"a value .*cannot be sent: .*no pickle is read"):
        ANY_VALUE.pack(value)
    codec = CallCodec(takes, "m:takes")
    with pytest.raises(EncodingError, match=r"argument 'rest\[0\]' of task type m:takes"):
        codec.pack((Point(1, []), [], value), {})
    with pytest.raises(EncodingError, match="argument 'k' of task type m:takes"):
        codec.pack((Point(1, []), []), {"k": value})


def test_an_argument_that_is_not_exactly_as_annotated_is_named() -> None:
    codec = CallCodec(takes_two, "m:two")
    assert codec.unpack(*codec.pack(([3, 4.5], [1]), {})) == (([3, 4.5], [1]), {})
    args, _ = codec.unpack(*codec.pack(([3, 4.5], np.ones(3)), {}))
    assert args[0] == [3, 4.5]
    assert type(args[0][0]) is int
    with pytest.raises(EncodingError, match=r"argument 'point'.*not exactly"):
        CallCodec(takes, "m:takes").pack((Point(1, [2]), [3.0], np.ones(3)), {})  # type: ignore[list-item]


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodingError, match="cannot be sent"):
        ANY_VALUE.pack(circle)


def test_a_forged_pickle_is_refused_unread() -> None:
    inline = encode(msgspec.msgpack.Ext(PICKLE, encode((pickle.dumps(1), 0, 0))))
    apart = encode(msgspec.msgpack.Ext(PICKLE, encode((0, 0, 0))))
    whole = encode(([msgspec.msgpack.Ext(PICKLE, encode((0, 0, 0)))], {}))
    codec = CallCodec(takes_two, "m:f")
    for body, frames in ((inline, ()), (apart, (pickle.dumps(1),))):
        with pytest.raises(PickleRefused, match="came as a pickle"):
            ANY_VALUE.unpack(body, frames)
        with pytest.raises(PickleRefused, match="came as a pickle"):
            codec.unpack(body, frames)
    with pytest.raises(PickleRefused):
        codec.unpack(whole, (pickle.dumps(1),))


@pytest.mark.parametrize("kind", ["O", "|O", "V8", "i4,O"])
def test_a_forged_array_of_objects_is_refused(kind: str) -> None:
    for where in (b"\x01" * 8, 0):
        head = encode((kind, (1,), where))
        with pytest.raises(Exception, match=r"does not travel|type"):
            ANY_VALUE.unpack(encode(msgspec.msgpack.Ext(ARRAY, head)), (b"\x01" * 8,))


def test_plain_content_has_no_boxes_in_it() -> None:
    inner = msgspec.msgpack.Ext(PICKLE, encode((pickle.dumps(1), 0, 0)))
    forged = encode(msgspec.msgpack.Ext(PLAIN, encode([inner])))
    assert ANY_VALUE.unpack(forged, ()) == [inner], "it is no value, and was not read"


def test_functions_are_found_by_name_and_none_is_read() -> None:
    allow = ("tests.contract.test_without_pickles:*", "posix:getpid")
    name = f"{__name__}:takes"
    assert LoadedType(TaskSpec(name, "default"), allow).function is takes
    assert LoadedType(TaskSpec("posix:getpid", "default"), allow).name == "posix:getpid"
    with pytest.raises(FunctionRefused, match="by value"):
        LoadedType(TaskSpec(name, "default", code=ship(takes)), allow)
    with pytest.raises(FunctionRefused, match="does not define it"):
        LoadedType(TaskSpec(f"{__name__}:encode", "default"), allow)
    with pytest.raises(FunctionRefused, match="allowed are"):
        LoadedType(TaskSpec("os:system", "default"), allow)
    with pytest.raises(PickleRefused):
        LoadedType(TaskSpec(name, "default", code=ship(takes)))


def test_a_module_that_is_not_allowed_is_not_even_imported() -> None:
    with pytest.raises(FunctionRefused):
        LoadedType(TaskSpec("antigravity:open", "default"), ("a:*",))
    assert "antigravity" not in sys.modules


def test_an_exception_travels_in_words() -> None:
    told = describe(ValueError("no"), 0)
    assert (told.type, told.message, told.pickled) == ("ValueError", "no", b"")
    assert "ValueError: no" in told.traceback
