"""Equal calls have equal digests in all processes, and calls that differ have different ones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import itertools
import os
import random
import re
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from proxystore.proxy import Proxy, is_resolved

from steerio.edge.encoding import digests
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.digests import DIGEST_BYTES, MOST_LEVELS, digest_call
from steerio.edge.encoding.references import BareLatest, BareReference
from steerio.errors import EncodingError
from steerio.model.objects import StoredObject
from tests.contract.payloads import as_bytes


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Molecule(msgspec.Struct):
    smiles: str
    charge: int = 0


class Ion(Molecule):
    pass


@dataclasses.dataclass
class Run:
    steps: int
    tags: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    steps: int


class Point(NamedTuple):
    x: float
    y: float


class Length(float):
    pass


class Names(list[str]):
    pass


class Plain:
    def __init__(self, **state: Any) -> None:
        vars(self).update(state)

    def method(self) -> None: ...


class Known(BareReference):
    """A reference that knows the digest of its value."""

    def __init__(self, stored: StoredObject, digest: Any) -> None:
        super().__init__(stored)
        self.digest = digest


def double(x: float) -> float:
    return 2 * x


def triple(x: float) -> float:
    return 3 * x


@functools.wraps(double)
def wrapped(x: float) -> float:
    return triple(x)


def digest(*args: Any, **kwargs: Any) -> bytes:
    return digest_call("m:f", "", b"", args, kwargs)


def arrived(*args: Any, **kwargs: Any) -> Any:
    """Return the arguments of a call as another process would get them."""

    def function(*args: Any, **kwargs: Any) -> None: ...

    codec = CallCodec(function, "m:f")
    body, frames = codec.pack(args, kwargs)
    return codec.unpack(body, as_bytes(frames))


def nan(payload: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0000 | payload))[0]


def nested(levels: int) -> Any:
    value: Any = 1.5
    for _ in range(levels):
        value = [value]
    return value


utc, berlin = dt.UTC, ZoneInfo("Europe/Berlin")
ALL_DIFFERENT: list[Any] = [
    None, False, True, 0, 1, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**200, -(2**200),
    0.0, -0.0, 1.0, float("inf"), nan(0), nan(1), -nan(0), 0j, complex(0, -0.0), complex(-0.0, 0),
    1 + 0j, "", "0", "1", "ab", "\ud800", "\udcff", "\U0001f600", "\ud83d\ude00", b"", b"1",
    b"\xed\xa0\x80", bytearray(), bytearray(b"1"), memoryview(b"1"), ..., NotImplemented,
    (), [], {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: None}, [[]], [()], ([],),
    [1, 2], [2, 1], (1, 2), [1, [2]], [[1], 2], [[1, 2]], [1.0, 2], [True, 2], ["a", "b"], ["ab"],
    [b"a", "b"], ["a", "b", None], [2**70], ["\ud800"], {"a": 1}, {"a": 1.0}, {"a": True}, {"b": 1},
    {b"a": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 2}}, [("a", 1)], {1: 2}, {1.0: 2},
    {True: 2}, {(1, 2)}, {frozenset({1})}, {1, 2}, {"1", "2"}, {nan(0)}, {nan(0), nan(1)},
    range(3), range(0, 3, 2), slice(3), slice(None, 3, 1),
    dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, fold=1),  # noqa: DTZ001
    dt.datetime(2024, 1, 1, tzinfo=utc), dt.datetime(2024, 1, 1, tzinfo=berlin),
    dt.datetime(2024, 1, 1, 1, tzinfo=berlin),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), dt.time(), dt.time(fold=1),
    dt.time(tzinfo=utc), dt.timedelta(), dt.timedelta(1), dt.timedelta(0, 1), utc, berlin,
    Decimal(1), Decimal("1.0"), Decimal("-0"), Decimal("NaN"), Fraction(1), Fraction(1, 2),
    UUID(int=1), PurePosixPath("1"), Path("1"), PurePosixPath("a/b"), re.compile("1"),
    re.compile(b"1"), re.compile("1", re.IGNORECASE), re.IGNORECASE,
    Colour.RED, Colour.BLUE, Level.LOW, Access.READ, Access.READ | Access.WRITE, Access(0),
    Molecule("C"), Molecule("C", 1), Ion("C"), Run(1), Run(2), Run(1, {"a", "b"}), Fixed(1),
    Point(1, 2), Point(1.0, 2), Length(1), Names(["a", "b"]), Names(["ab"]), Plain(), Plain(a=1),
    Plain(a=1.0), Plain(b=1), OrderedDict(), OrderedDict(a=1, b=2), OrderedDict(b=2, a=1),
    Counter("ab"), Counter("abb"), defaultdict(int), defaultdict(list), defaultdict(int, a=1),
    deque([1]), deque([1], 2), int, bool, Molecule, Plain, Colour, double, triple, wrapped, len,
    sum, np.sin, functools.partial(double), functools.partial(double, 1),
    functools.partial(triple, 1), Plain(a=1).method, Plain(a=2).method, [1].append,
    str.upper, list[int], list[str], ValueError("1"), ValueError(1), KeyError("1"),
    *(np.array(1, dtype) for dtype in ("?", "i1", "u1", "<i4", ">i4", "<i8", "<f4", "<f8", ">f8")),
    *(np.array([1], dtype) for dtype in ("?", "i1", "<i8", "<f8", ">f8", "c16", "U1", "U2", "S1")),
    *(np.array([1], f"{kind}8[{unit}]") for kind in "mM" for unit in ("s", "ms")),
    *(np.zeros(shape) for shape in (0, 1, (1, 1), (0, 1), (1, 0), (2, 3), (3, 2), 6)), -np.zeros(1),
    *(kind(1) for kind in (np.bool_, np.int8, np.int64, np.uint64, np.float16, np.float64)),
    np.str_(1), np.bytes_(b"1"), np.datetime64(1, "s"), np.datetime64(1, "ms"),
    np.datetime64("NaT", "s"), np.array([1, "1", None], object),
    np.array([1.0, "1", None], object), np.array([[1, "1", None]]),
    np.array([[], None], object), np.array([(1, 2)], "i4,i4"), np.array([(1, 2)], "i4,f4"),
    np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), np.array([(1, 2)], [("a", "i4"), ("b", "O")]),
    np.array([(1, 2.0)], [("a", "i4"), ("b", "O")]), np.array(["a", "bc"], np.dtypes.StringDType()),
    np.void(b"1"), np.dtype("f8"), np.dtype("f4"), np.ma.array([1, 2]),
    np.ma.array([1, 2], mask=[False, True]), np.ones((1, 1)).view(np.matrix),
    np.random.default_rng(1), np.random.default_rng(2), pd.Series([1]), pd.Series([1.0]),
    pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), pd.Timestamp(2024, 1, 1),
    Known(StoredObject(b"s", 1), b"1"), Known(StoredObject(b"s", 1), b"2"), BareLatest("1"),
    BareLatest("2"), lambda: 1, lambda: 2,
]  # fmt: skip


def test_no_two_of_many_values_have_the_same_digest() -> None:
    found: dict[bytes, Any] = {}
    for value in ALL_DIFFERENT:
        made = digest(value)
        assert type(made) is bytes
        assert len(made) == DIGEST_BYTES
        assert made not in found, (value, found[made])
        found[made] = value


def test_no_two_of_many_objects_that_hold_others_have_the_same_digest() -> None:
    calls: list[Any] = []
    for value in ALL_DIFFERENT:
        calls += [(value, value), ([value, value],), ((value, value),), ({"a": value, "b": 1},)]
        calls += [(Plain(a=value, b=1),), (Point(value, 1),), (Run(3, value),)]

    assert len({digest(*args) for args in calls}) == len(calls)


@pytest.mark.smoke
def test_a_value_that_arrived_has_the_digest_of_the_one_that_was_sent() -> None:
    # functions by value and masked arrays arrive with the same content, in another form
    for value in ALL_DIFFERENT[:-2]:
        if type(value) not in (Known, BareLatest, np.ma.MaskedArray) and value is not wrapped:
            (there,), _ = arrived(value)
            assert digest(there) == digest(value), value
            assert digest([there, 1]) == digest([value, 1]), value


def test_name_version_code_and_the_way_of_passing_belong_to_a_call() -> None:
    calls: list[Any] = []
    for value in (1, (1,)):
        calls += [
            ("m:f", "", b"", (value,), {}),
            ("m:g", "", b"", (value,), {}),
            ("m:f", "1", b"", (value,), {}),
            ("m:f", "", b"1", (value,), {}),
            ("m:f1", "", b"", (value,), {}),
            ("m:\ud800", "", b"", (value,), {}),
            ("m:f", "", b"", (), {"x": value}),
            ("m:f", "", b"", (), {"y": value}),
            ("m:f", "", b"", (), {"\ud800": value}),
            ("m:f", "", b"", ({"x": value},), {}),
            ("m:f", "", b"", (("x", value),), {}),
            ("m:f", "", b"", (value, value), {}),
            ("m:f", "", b"", (value,), {"x": value}),
            ("m:f", "", b"", ([value],), {}),
            ("m:f", "", b"", ((value,), ()), {}),
        ]
    assert len({digest_call(*call) for call in calls}) == len(calls)


@pytest.mark.smoke
def test_the_order_of_keys_does_not_matter() -> None:
    assert digest(a=1, b="x") == digest(b="x", a=1)
    assert digest(a=1, b=[2]) == digest(b=[2], a=1)
    assert digest({"a": 1, 2: [3]}) == digest({2: [3], "a": 1})
    assert digest([{"a": {"b": 1, "c": 2}}]) == digest([{"a": {"c": 2, "b": 1}}])
    assert digest(Plain(a=1, b=2)) == digest(Plain(b=2, a=1))


def test_attributes_beyond_the_fields_of_a_class_count() -> None:
    run = Run(1)
    before = digest(run)
    run.extra = 1  # type: ignore[attr-defined]

    assert digest(run) != before


def test_one_object_in_two_places_is_as_good_as_two_equal_ones() -> None:
    shared = [1, (2,)]

    assert digest([shared, shared]) == digest([[1, (2,)], [1, (2,)]])
    assert digest(Run(1, shared), shared) == digest(Run(1, [1, (2,)]), [1, (2,)])


# -- any values ---------------------------------------------------------------------------

few = st.sampled_from(
    [None, False, True, 0, 1, 0.0, -0.0, 1.0, nan(0), "", "a", "b", "ab", b"", b"a", 2**70, 1j]
)
hashable = st.sampled_from([None, False, 1, 2, "a", "b", b"a", (1, 2), ("a",)])
small = st.recursive(
    few,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(hashable, inner, max_size=2)
        | st.sets(hashable, max_size=2)
        | st.frozensets(hashable, max_size=2)
        | inner.map(lambda value: Run(1, value))
        | inner.map(lambda value: Plain(a=value))
        | inner.map(lambda value: Point(value, 1))
    ),
    max_leaves=4,
)


def plain(value: Any) -> Any:
    """Return a value as one that is equal to another's just if the digests should be."""
    kind = type(value).__name__
    if isinstance(value, (Run, Plain)):
        return kind, plain(vars(value))
    if isinstance(value, dict):
        return kind, frozenset((plain(key), plain(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(plain, value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(plain, value))
    return kind, struct.pack("<d", value) if isinstance(value, float) else value


@given(one=st.lists(small, max_size=2), other=st.lists(small, max_size=2))
def test_digests_are_equal_just_if_the_arguments_are(one: list[Any], other: list[Any]) -> None:
    assert (digest(*one) == digest(*other)) == (plain(one) == plain(other))


@given(values=st.lists(small, max_size=3), seed=st.integers())
def test_digests_of_equal_arguments_are_equal(values: list[Any], seed: int) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, (Run, Plain)):
            made: Any = object.__new__(type(value))
            vars(made).update(shuffled(vars(value)))
            return made
        if isinstance(value, dict):
            entries = [(key, shuffled(item)) for key, item in value.items()]
            return dict(chance.sample(entries, len(entries)))
        if isinstance(value, (set, frozenset)):
            return type(value)(chance.sample(list(value), len(value)))
        if type(value) in (list, tuple):
            return type(value)(map(shuffled, value))
        return value

    chance = random.Random(seed)

    assert digest(*shuffled(values)) == digest(*values)


@given(
    one=st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    other=st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
)
def test_digests_of_atoms_are_equal_just_if_the_atoms_are(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (plain(one) == plain(other))
    assert (digest([one]) == digest([other])) == (plain(one) == plain(other))
    assert digest(one) == digest(*arrived(one)[0])


# -- arrays -------------------------------------------------------------------------------

arrays = hnp.arrays(
    hnp.scalar_dtypes() | hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
)


@given(array=arrays)
def test_the_layout_of_an_array_does_not_matter(array: np.ndarray[Any, Any]) -> None:
    spread = np.zeros([2 * side for side in array.shape], array.dtype)
    view = spread[(..., *(slice(None, None, 2) for _ in array.shape))]
    view[...] = array
    whole = array.copy()
    whole.flags.writeable = False
    # of bytes between fields, assignment copies none
    expected = digest(whole) if array.dtype.fields is None else digest(view.copy())

    assert digest(array.copy(order="F")) == digest(array)
    assert digest(view) == expected
    assert digest(whole) == digest(array)


@given(one=arrays, other=arrays)
def test_arrays_that_differ_in_type_shape_or_bytes_have_different_digests(
    one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]
) -> None:
    same = one.dtype == other.dtype and one.shape == other.shape
    if not (same and one.tobytes() == other.tobytes()):
        assert digest(one) != digest(other)
    changed = one.copy()
    if changed.nbytes:
        changed.reshape(-1).view("u1")[-1] ^= 1
        assert digest(changed) != digest(one)


def test_the_content_of_a_long_array_counts_and_is_not_copied() -> None:
    array = np.zeros((2000, 2000))
    before = digest(array)
    array[-1, -1] = 1e-300

    tracemalloc.start()
    try:
        assert digest(array) != before
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < array.nbytes / 10


def test_arrays_of_objects_go_by_their_elements() -> None:
    one, other = np.empty(2, object), np.empty((2, 1), object)
    one[:] = [{"a": 1, "b": 2}, np.arange(3)]
    other[:, 0] = [{"b": 2, "a": 1}, np.arange(3)]

    assert digest(one) == digest(other[:, 0])
    assert digest(one) != digest(other)


# -- other processes ----------------------------------------------------------------------

SCRIPT = """
import dataclasses, datetime, enum, functools, sys
import numpy as np, pandas as pd
from steerio.edge.encoding.digests import digest_call
from steerio.model.objects import StoredObject
from types import SimpleNamespace

@dataclasses.dataclass
class Run:
    steps: int

names = [f"name {number}" for number in range(50)]
for value in (
    set(names), frozenset(names), {frozenset(names): set(names)}, dict.fromkeys(set(names), 1),
    [set(names), {"a": set(names)}], SimpleNamespace(names=set(names)), StoredObject(b"a", 3),
    np.array([set(names), None], object), np.arange(6).reshape(2, 3).T, np.float64(0.1),
    pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), datetime.datetime(2024, 1, 1),
    functools.partial(print, end=""), 1.5, "text", 2**100, (1, [2, {3: 4}]), type(None),
    functools.partial(lambda x: x + 1, 2), [knot := [1]],
):
    print(digest_call("m:f", "1", b"", (value,), {"x": 1, "y": 2}).hex())
knot.append(knot)
print(digest_call("m:f", "1", b"", (knot,), {}).hex())
print(digest_call("m:f", "1", b"", (Run(1),), {}).hex())
"""


def test_digests_are_the_same_in_processes_that_hash_strings_otherwise(tmp_path: Path) -> None:
    script = tmp_path / "digests.py"
    script.write_text(SCRIPT)

    def run(seed: str) -> list[str]:
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed,
        }  # fmt: skip
        command = [sys.executable, str(script)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return ended.stdout.split()

    one, other = run("1"), run("2")

    assert len(one) == len(set(one)) == 22
    assert one == other


# -- values that have no simple form ------------------------------------------------------


@pytest.mark.smoke
def test_values_that_hold_themselves_have_digests() -> None:
    def circle(*items: Any) -> list[Any]:
        made = [*items]
        made.append(made)
        return made

    def pair(name: str) -> Plain:
        one, other = Plain(name=name), Plain()
        one.other, other.other = other, one  # type: ignore[attr-defined]
        return one

    assert digest(circle(1)) == digest(circle(1))
    assert len({digest(circle(1)), digest(circle(2)), digest(circle(1), 1), digest([1])}) == 4
    assert digest(pair("a")) == digest(pair("a")) != digest(pair("b"))


def test_values_that_are_nested_deep_have_digests_or_are_refused() -> None:
    levels = (1, 2, MOST_LEVELS - 3, MOST_LEVELS, MOST_LEVELS + 1, 2 * MOST_LEVELS)
    assert len({digest(nested(count)) for count in levels}) == len(levels)
    assert all(digest(nested(count)) == digest(nested(count)) for count in levels)

    with pytest.raises(EncodingError, match="a call of m:f cannot be told apart"):
        digest(nested(100_000))


def test_an_object_with_many_paths_to_it_is_taken_apart_once() -> None:
    value: Any = [1, (2,)]
    for _ in range(MOST_LEVELS - 10):
        value = [value, value]

    assert digest(value) != digest([value])


def test_a_call_with_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MOST_VALUES", 10)

    digest([1] * 100)
    with pytest.raises(EncodingError, match="more than 10 values"):
        digest([[number] for number in range(20)])


def test_values_that_cannot_travel_are_refused() -> None:
    with open(os.devnull) as file:  # noqa: PTH123 - any open file
        for value in (threading.Lock(), file, (number for number in range(3))):
            with pytest.raises(EncodingError, match="a call of m:f cannot be told apart"):
                digest([value])


def test_an_object_whose_code_raises_is_refused() -> None:
    class Raising:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no parts")

    with pytest.raises(EncodingError, match="ZeroDivisionError: no parts"):
        digest(Raising())


def test_classes_without_an_import_path_are_told_apart() -> None:
    def make(factor: int) -> Any:
        class Scale:
            def __call__(self, x: int) -> int:
                return factor * x

        return Scale

    double_scale, triple_scale = make(2), make(3)

    assert digest(double_scale) != digest(triple_scale)
    assert digest(double_scale()) != digest(triple_scale())
    assert digest([double_scale()]) == digest([double_scale()])


def test_functions_without_an_import_path_go_by_value() -> None:
    def make(factor: int) -> Any:
        return lambda x: factor * x

    assert digest(make(2)) == digest(make(2)) != digest(make(3))
    assert digest(wrapped) != digest(wrapped.__wrapped__)  # type: ignore[attr-defined]


# -- references and proxies ---------------------------------------------------------------


def test_a_reference_goes_by_the_digest_of_its_value() -> None:
    one, same = Known(StoredObject(b"one", 1), b"v"), Known(StoredObject(b"two", 1), b"v")
    other = Known(StoredObject(b"one", 1), b"w")

    def ways(reference: Any) -> list[Any]:
        run = Run(1, reference)
        return [reference, [reference], {"a": reference}, run, Plain(a=reference), {reference}]

    for of_one, of_same, of_other in zip(*map(ways, (one, same, other)), strict=True):
        assert digest(of_one) == digest(of_same) != digest(of_other)


@pytest.mark.parametrize("unknown", [b"", None, "text"])
def test_a_reference_without_a_digest_is_refused(unknown: Any) -> None:
    for value in (BareReference(StoredObject(b"one", 1)), Known(StoredObject(b"one", 1), unknown)):
        for held in (value, [value], Run(1, value), functools.partial(lambda x: x, value)):
            with pytest.raises(EncodingError, match="a call of m:f cannot be told apart"):
                digest(held)


def test_a_reference_in_a_value_that_is_pickled_is_refused() -> None:
    reference = Known(StoredObject(b"one", 1), b"v")
    circle: list[Any] = []
    circle += [circle, reference]

    latest = BareLatest("model")

    for value in (circle, lambda: reference, lambda: latest):
        with pytest.raises(EncodingError):
            digest(value, reference)


def test_the_latest_version_goes_by_its_name() -> None:
    assert digest(BareLatest("a")) == digest(BareLatest("a")) != digest(BareLatest("b"))


def test_a_proxy_is_refused_and_not_fetched() -> None:
    fetched: list[int] = []
    proxy: Any = Proxy(functools.partial(fetched.append, 1))
    circle: list[Any] = []
    circle += [circle, proxy]

    for value in (proxy, [proxy], {"a": (proxy,)}, Run(1, proxy), circle):
        with pytest.raises(EncodingError, match="a call of m:f cannot be told apart"):
            digest(value)
        with pytest.raises(EncodingError, match="a call of m:f cannot be told apart"):
            digest(x=value)
    assert not fetched
    assert not is_resolved(proxy)


def test_no_two_pairs_of_short_strings_have_the_same_digest() -> None:
    strings = ["", "a", "b", "aa", "ab", "\x00", "a\x00"]
    calls: list[Any] = [*itertools.product(strings, repeat=2)]
    calls += [(string,) for string in strings] + [((one, two),) for one, two in calls]

    assert len({digest(*args) for args in calls}) == len(calls)
