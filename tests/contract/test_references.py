"""A reference travels as a name, wherever it stands, and the task sees what it stands for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import threading
from typing import Any

import msgspec
import numpy as np
import pytest

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.pickling import dump, ship
from steerio.edge.encoding.references import (
    BareLatest,
    BareReference,
    gather,
    is_reference,
    references_exist,
)
from steerio.edge.encoding.values import ANY_VALUE, INLINE_BYTES, ValueCodec
from steerio.edge.record.record_files import shown
from steerio.errors import EncodingError
from steerio.model.objects import StoredObject
from tests.contract.payloads import WIRES, as_bytes

WEIGHTS = StoredObject(b"weights-1", 80_000_000)
DATA = StoredObject(b"data-1", 999)
VALUES = {b"weights-1": [0.5, 1.5], b"data-1": [3.0], "model": [7.0]}
weights, data, latest = BareReference(WEIGHTS), BareReference(DATA), BareLatest("model")


class Model(msgspec.Struct):
    weights: list[float]
    name: str = "m"


@dataclasses.dataclass
class Run:
    data: list[float]
    steps: int = 1


class Awaitable(BareReference):
    """As the campaign's is."""


def untyped(x, *rest, **more): ...  # type: ignore[no-untyped-def]
def typed(x: list[float], y: list[float] | None = None, *, z: int = 0) -> list[float]: ...
def structs(model: Model, runs: dict[str, Run], count: int = 0): ...  # type: ignore[no-untyped-def]
def nested(x: list[list[float]], y: tuple[list[float], int] = ([], 0)): ...  # type: ignore[no-untyped-def]


def resolve(what: StoredObject | str) -> Any:
    return VALUES[what if isinstance(what, str) else what.name]


def called(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Send a call; return what arrives, what was used, and what arrives where nobody resolves."""
    with gather() as used:
        body, frames = CallCodec(function, "m:f").pack(args, kwargs)
    codec = CallCodec(function, "m:f")
    resolved = codec.unpack(body, as_bytes(frames), resolve=resolve)
    return resolved, used, codec.unpack(body, as_bytes(frames))


PLACES = [
    (untyped, (weights,), {}),
    (untyped, (1, weights, 2), {"name": data}),
    (untyped, ([weights, {"a": (data, latest)}],), {}),
    (untyped, (latest,), {"x2": [latest]}),
    (untyped, (Model(weights), {"run": Run(data)}), {}),  # type: ignore[arg-type]
    (untyped, (Awaitable(WEIGHTS), [Awaitable(WEIGHTS)]), {}),
    (typed, (weights,), {}),
    (typed, ([1.0], data), {"z": 3}),
    (typed, ([weights, 1.0],), {}),
    (typed, (), {"x": latest}),
    (structs, (weights, {"a": Run([1.0])}), {}),
    (structs, (Model(weights), {"a": Run(data), "b": Run([2.0])}), {"count": 2}),  # type: ignore[arg-type]
    (nested, ([weights, [1.0]], (data, 3)), {}),
]


def flat(value: Any) -> list[Any]:
    """Return what is in a value, through everything that holds others here."""
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, (Model, Run)):
        value = [getattr(value, "weights", None), getattr(value, "data", None)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


@pytest.mark.parametrize(("function", "args", "kwargs"), PLACES)
def test_a_task_sees_the_value_wherever_its_reference_stood(
    function: Any, args: Any, kwargs: Any
) -> None:
    resolved, used, unresolved = called(function, *args, **kwargs)

    sent = [leaf for leaf in flat((args, kwargs)) if is_reference(type(leaf))]
    assert sent
    assert {stored.name for stored in used.objects} == {
        leaf.stored.name for leaf in sent if isinstance(leaf, BareReference)
    }
    assert set(used.latest) == {leaf.name for leaf in sent if isinstance(leaf, BareLatest)}
    assert len(used.objects) == len(set(used.objects))
    assert unresolved == (args, kwargs)
    expected = []
    for leaf in flat((args, kwargs)):
        if is_reference(type(leaf)):
            expected += VALUES[leaf.name if isinstance(leaf, BareLatest) else leaf.stored.name]
        else:
            expected.append(leaf)
    assert flat(resolved) == expected


def test_a_reference_costs_its_name_only() -> None:
    body, frames = CallCodec(untyped, "m:f").pack((weights, 3), {})

    assert len(body) < 40
    assert not frames


@pytest.mark.parametrize("annotation", [None, list[float], Model], ids=str)
def test_a_value_may_be_a_reference_or_hold_one(annotation: Any) -> None:
    value: Any = Model(weights) if annotation is Model else weights  # type: ignore[arg-type]
    codec = ValueCodec(annotation)

    with gather() as used:
        packed = codec.pack(value)

    assert used.objects == [WEIGHTS]
    assert codec.unpack(*packed) == value
    assert flat(codec.unpack(*packed, resolve=resolve)) == [0.5, 1.5, *flat(value)[1:]]


def test_numbers_that_only_pickles_hold_stand_beside_references() -> None:
    def function(x: list[int]) -> None: ...

    value: Any = [2**70, weights]

    assert called(function, value)[2] == ((value,), {})
    with pytest.raises(EncodingError, match="Expected `int`, got `str`"):
        CallCodec(function, "m:f").pack(([2**70, "1"],), {})


def test_a_wrong_type_beside_a_reference_is_refused_by_its_name() -> None:
    codec = CallCodec(typed, "m:f")

    for args, kwargs, name in (
        (("x", weights), {}, "x"),
        ((weights, 3.0), {}, "y"),
        ((weights,), {"z": "3"}, "z"),
    ):
        with pytest.raises(EncodingError, match=f"argument '{name}' of task type m:f does not fit"):
            codec.pack(args, kwargs)


def test_who_gathers_hears_only_of_what_was_packed_meanwhile_and_here() -> None:
    elsewhere: list[StoredObject] = []

    def other() -> None:
        with gather() as used:
            ANY_VALUE.pack([data])
        elsewhere.extend(used.objects)

    with gather() as outer:
        ANY_VALUE.pack(weights)
        with gather() as inner:
            ANY_VALUE.pack([latest])
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    ANY_VALUE.pack(data)

    assert (outer.objects, outer.latest) == ([WEIGHTS], [])
    assert (inner.objects, inner.latest) == ([], ["model"])
    assert elsewhere == [DATA]


def test_what_a_reference_gives_is_read_by_itself() -> None:
    inner = ANY_VALUE.pack([data, np.arange(1000.0)])
    outer = ANY_VALUE.pack([weights, np.zeros(1000), weights])

    def read(what: Any) -> Any:
        assert what == WEIGHTS
        return ANY_VALUE.unpack(*inner, views=False)

    first, zeros, second = ANY_VALUE.unpack(*outer, views=True, resolve=read)

    for value in (first, second):
        assert value[0] == data  # nobody gave its value where it was read
        assert value[1].flags.writeable
        assert (value[1] == np.arange(1000.0)).all()
    assert not zeros.any()
    assert not zeros.flags.writeable


def test_what_a_value_cannot_be_fetched_for_is_what_reading_raises() -> None:
    def lost(what: Any) -> Any:
        raise LookupError(f"nobody has {what.name!r}")

    for value in (weights, [weights]):
        with pytest.raises(LookupError, match="nobody has b'weights-1'"):
            ANY_VALUE.unpack(*ANY_VALUE.pack(value), resolve=lost)
    assert ANY_VALUE.unpack(*ANY_VALUE.pack([weights])) == [weights]


def test_only_the_codec_pickles_a_reference() -> None:
    for reference in (weights, latest, Awaitable(DATA)):
        for value in (reference, [reference]):
            for make in (pickle.dumps, dump, lambda value: ship(lambda: value)):
                with pytest.raises(TypeError, match="pass it as an argument of a task"):
                    make(value)
    assert called(untyped, [weights])[2] == (([weights],), {})


def test_copies_of_a_reference_are_the_reference() -> None:
    for reference in (weights, latest):
        assert copy.copy(reference) is reference
        assert copy.deepcopy([reference])[0] is reference


def test_references_are_known_by_what_they_stand_for() -> None:
    assert weights == Awaitable(WEIGHTS)
    assert weights != data
    assert latest == BareLatest("model")
    assert latest not in (weights, "model", BareLatest("other"))
    assert len({weights, BareReference(WEIGHTS), latest, BareLatest("model")}) == 2


def test_the_repr_tells_the_size() -> None:
    assert repr(weights) == "<BareReference to 80.0 MB>"
    assert repr(Awaitable(DATA)) == "<Awaitable to 999 bytes>"
    assert repr(BareReference(StoredObject(b"x", 3 * 10**12))) == "<BareReference to 3.0 TB>"
    assert repr(latest) == "<BareLatest 'model'>"


def test_the_record_shows_that_there_was_a_reference() -> None:
    body, _ = CallCodec(untyped, "m:f").pack((weights, latest), {})

    assert shown(body) == [["<reference>", "<latest>"], {}]


def test_nobody_pays_for_references_who_has_none() -> None:
    code = (
        "from steerio.edge.encoding.references import BareLatest, references_exist\n"
        "from steerio.edge.encoding.values import ANY_VALUE\n"
        "ANY_VALUE.unpack(*ANY_VALUE.pack([1]))\n"
        "before = references_exist()\n"
        "BareLatest('model')\n"
        "print(before, references_exist())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    assert references_exist()


# -- views --------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_with_views_arrays_are_the_frames_and_cannot_be_changed(nested: bool) -> None:
    for size in (64, INLINE_BYTES, 1 << 17):
        array = np.arange(float(size))
        body, frames = ANY_VALUE.pack([array] if nested else array)
        for wire in WIRES:
            arrived = ANY_VALUE.unpack(body, wire(frames), views=True)
            arrived = arrived[0] if nested else arrived
            assert (arrived == array).all()
            if frames:
                with pytest.raises(ValueError, match="read-only"):
                    arrived += 1
    mine = ANY_VALUE.unpack(body, frames, views=True)
    assert np.shares_memory(mine[0] if nested else mine, array)
    own = ANY_VALUE.unpack(body, frames)
    assert not np.shares_memory(own[0] if nested else own, array)


def test_a_call_can_be_read_as_views() -> None:
    array = np.arange(1 << 17, dtype="f8")
    codec = CallCodec(untyped, "m:f")
    body, frames = codec.pack((array, [array], 3), {})

    (first, (second,), third), _ = codec.unpack(body, frames, views=True, resolve=resolve)

    assert third == 3
    assert np.shares_memory(first, array)
    assert np.shares_memory(second, array)


def test_a_long_body_may_be_a_view_too() -> None:
    value = ["a" * INLINE_BYTES, [1.0]]
    body, frames = ANY_VALUE.pack(value)
    assert body == b""

    for frame in (frames[0], memoryview(frames[0]), memoryview(bytearray(frames[0]))):
        assert ANY_VALUE.unpack(b"", (frame,), views=True) == value
