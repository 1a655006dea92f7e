"""What arrives is what was sent in type and value, deeply, whatever is annotated; or is refused."""

# NumPy's types of masked arrays are narrower than what it takes.
# pyright: reportCallIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.forms import form_of, is_exact
from steerio.edge.encoding.values import ValueCodec
from steerio.errors import EncodingError
from tests.contract.payloads import called, sent

pytestmark = pytest.mark.borders


class Whole(int): ...


class Real(float): ...


class Text(str): ...


class Row(list[Any]): ...


class Table(dict[Any, Any]): ...


class Bits(set[Any]): ...


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Run:
    steps: int
    rate: float = 0.5
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Later(Run):
    extra: int = 3


@dataclasses.dataclass
class Slotted:
    """Has room for more than its fields."""

    __slots__ = ("found", "steps")
    steps: int


@dataclasses.dataclass
class LaterSlotted(Slotted):
    rate: float = 0.5


@dataclasses.dataclass(slots=True)
class Compact:
    steps: int


@dataclasses.dataclass
class Doubling:
    steps: int

    def __post_init__(self) -> None:
        self.steps *= 2


@dataclasses.dataclass
class FromList(list[int]):
    name: str = ""


class Atom(msgspec.Struct):
    symbol: str
    charge: float = 0.0


class Sparse(msgspec.Struct, omit_defaults=True):
    value: float = 0.0


class Ion(Atom):
    solvent: str = ""


class Options(TypedDict, total=False):
    method: str
    tolerance: float


Energy = NewType("Energy", float)


def numbered(run: Run, **more: Any) -> Run:
    vars(run).update(more)
    return run


def of_ints(*items: int) -> FromList:
    made = FromList("x")
    made.extend(items)
    return made


AWKWARD: list[Any] = [
    True, 3, 2**70, -(2**70), 2.5, -0.0, math.nan, math.inf, 1j, None, "text", "\ud800", b"", b"a",
    bytearray(b"a"), range(3), range(10**12), Ellipsis,
    Whole(3), Real(2.5), Text("a"), Row([1.0]), Table(a=1), Bits({1}),
    np.float64(2.5), np.float32(0.1), np.int64(3), np.uint8(7), np.bool_(True), np.str_("a"),
    np.complex64(1j), np.array(0.5), np.datetime64("2024-01-01"), np.arange(3),
    Decimal("1.10"), Decimal("NaN"), Decimal("-0"), Fraction(1, 3), UUID(int=3),
    dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")),
    dt.datetime(2024, 1, 1, fold=1),  # noqa: DTZ001 - of no zone
    dt.time(1, 2), dt.timedelta(days=-1, microseconds=1),
    dt.timezone.utc,  # noqa: UP017 - one that is just itself
    Colour.RED, Level.LOW, Flags.A | Flags.B, Flags.A,
    [1.0, 2.0], [1, 2.0, True], [1, "a"], [np.float64(1.0)], [Real(1.0)], [None], [[1], [2]], [],
    (1.0, 2.0), (1, 2), (1, "a"), (), ((1, 2), [3]), [(1, 2)], [(1.0, 2.0), (1, 2)],
    {1, 2}, {1.0}, {True}, frozenset({"a"}), frozenset(), {1: {2}},
    {"a": 1}, {"a": 1.0}, {"a": True}, {1: "a"}, {True: 1}, {1.0: 1}, {b"a": 1}, {None: 1},
    {"a": [1]}, {("a", 1): 2.0}, {"a": None}, {},
    Counter("aab"), defaultdict(int, a=1), OrderedDict(a=1), UserDict(a=1), deque([1.0]),
    collections.ChainMap({"a": 1}),
    Point(1.0, 2.0), Point(1, 2), Point(Real(1.0)), [Point(1.0)],
    Run(3), Run(True), Run(3, 1), numbered(Run(3), note="x"), Later(3), Doubling(3), of_ints(1, 2),
    Atom("C"), Atom("C", 1), Ion("N"), Atom(Text("C")), Sparse(), Sparse(-0.0), Sparse(0),
    {"method": "pm6"}, {"method": "pm6", "cutoff": 3}, {"tolerance": 1},
]  # fmt: skip
ANNOTATIONS: list[Any] = [
    int, float, str, bytes, bool, None, bytearray, memoryview, complex, Any, object,
    float | None, int | float, int | str | None, Literal["a", 3], Energy, Annotated[float, "eV"],
    list[float], list[int], list[Any], list, list[list[int]], list[tuple[float, float]],
    Sequence[float], Sequence[int], Sequence[str], Collection[int], Collection[float], deque[float],
    tuple[float, ...], tuple[float, float], tuple[int, str], tuple, tuple[()],
    tuple[float, ...] | int,
    set[int], set[float], frozenset[str], AbstractSet[int], set,
    dict[str, int], dict[str, float], dict[int, str], Mapping[str, float], dict, dict[str, Any],
    dict[tuple[str, int], float], dict[Colour, int], dict[str, list[int]], dict[str, int | None],
    Colour, Level, Flags, float | Level, Colour | None,
    Point, list[Point], Run, Run | None, Later, Doubling, FromList, Atom, Ion, Sparse, Options,
    list[Atom], dict[str, Run], Decimal, UUID, dt.date, dt.datetime, dt.time, dt.timedelta,
    Counter, OrderedDict, defaultdict, np.ndarray, np.float64, Fraction,
]  # fmt: skip


def exactly(one: Any, other: Any) -> bool:
    """Whether two values are of the same types, and equal, all the way down."""
    if type(one) is not type(other):
        return False
    match one:
        case np.ndarray():
            return (one.dtype, one.shape, one.tobytes()) == (
                other.dtype,
                other.shape,
                other.tobytes(),
            )
        case float() | np.floating() | complex() | np.complexfloating():
            return repr(one) == repr(other)
        case Decimal():
            return one.as_tuple() == other.as_tuple()
        case dt.datetime():
            return (one, repr(one), one.fold) == (other, repr(other), other.fold)
        case dict() | UserDict() | collections.ChainMap():
            return (
                len(one) == len(other)
                and all(map(exactly, one, other))
                and all(map(exactly, one.values(), other.values()))
                and _alike_beside(one, other)
            )
        case set() | frozenset():
            return {(type(x), x) for x in one} == {(type(x), x) for x in other}
        case list() | tuple() | deque():
            return (
                len(one) == len(other)
                and all(map(exactly, one, other))
                and _alike_beside(one, other)
            )
        case msgspec.Struct():
            return all(
                exactly(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__
            )
        case _:
            return _alike_beside(one, other) and (
                dataclasses.is_dataclass(one) or bool(one == other)
            )


def _alike_beside(one: Any, other: Any) -> bool:
    here, there = getattr(one, "__dict__", {}), getattr(other, "__dict__", {})
    if isinstance(one, (UserDict, collections.ChainMap, type)):
        return True
    if isinstance(one, enum.Enum):
        return one is other
    return here.keys() == there.keys() and all(exactly(here[name], there[name]) for name in here)


def annotated(annotation: Any) -> Any:
    def function(x: Any, y: Any = 0) -> None: ...

    function.__annotations__ = {"x": annotation, "y": int, "return": annotation}
    return function


def check(value: Any, annotation: Any) -> bool:
    """Check that a value arrives as it was; return whether it was taken for an argument."""
    assert exactly(sent(value, annotation), value), "a result is kept whatever it is"
    try:
        (by_place, _), none = called(annotated(annotation), value, 1)
    except EncodingError as error:
        if "argument 'x' of task type module:function does not fit its annotation" in str(error):
            return False
        raise
    assert none == {}
    assert exactly(by_place, value)
    assert exactly(called(annotated(annotation), x=value)[1]["x"], value)
    return True


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_awkward_values_arrive_exactly_or_are_refused(
    annotation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for value in AWKWARD:
        check(value, annotation)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 3), (float, True), (float, Real(1.5)), (float, np.float64(1.5)),
        (float, np.int8(3)),
        (float, np.array(0.5)), (float, Fraction(1, 3)), (int, True), (int, Whole(3)),
        (int, Level.LOW), (int, np.uint8(3)), (str, Text("a")), (str, np.str_("a")),
        (bool, np.bool_(True)), (float | None, 3), (Energy, 2), (Annotated[float, "eV"], 2),
        (Sequence[float], (1.0, 2.0)), (Sequence[int], range(10**12)),
        (Sequence[float], deque([1.0])),
        (Sequence[float], Row([1.0])), (Sequence[str], "text"), (list[float], (1.0,)),
        (list[float], [np.float64(1.0), 2, True]), (Collection[int], {1}),
        (Collection[int], {1: 2}),
        (Collection[int], frozenset({1})), (tuple[float, float], (1, 2)),
        (tuple[float, ...], Point(1.0)),
        (tuple[float, float], [1.0, 2.0]), (AbstractSet[int], frozenset({1})),
        (set[int], Bits({1})),
        (dict[str, int], Counter("aab")), (dict[str, int], defaultdict(int, a=1)),
        (dict[str, int], OrderedDict(a=1)), (dict[str, float], Table(a=1)),
        (Mapping[str, int], UserDict(a=1)),
        (Mapping[str, float], collections.ChainMap({"a": 1})), (Point, Point(1, 2)),
        (Run, numbered(Run(3), note="x")), (Run, Later(3)), (Run | None, Run(True)),
        (Atom, Ion("N")),
        (Doubling, Doubling(3)), (FromList, of_ints(1, 2)), (Sparse, Sparse(0)),
        (Sparse, Sparse(-0.0)),
        (Options, {"tolerance": 1}), (Options, {"method": "pm6", "cutoff": 3}),
        (bytes, bytearray(b"a")), (float | Level, Level.LOW), (list[list[int]], [[1], (2,)]),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_right_is_taken_and_arrives_exactly(annotation: Any, value: Any) -> None:
    assert check(value, annotation)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (float, Decimal("0.1"), "Expected `float`, got `Decimal`"),
        (float, "1.5", "Expected `float`, got `str`"),
        (float, None, "Expected `float`, got `None`"),
        (float, 1j, "Expected `float`, got `complex`"),
        (float, np.arange(3.0), "Expected `float`, got `ndarray`"),
        (float, np.complex64(1j), "Expected `float`, got `complex64`"),
        (int, 3.0, "Expected `int`, got `float`"),
        (int, np.float64(3), "Expected `int`, got `float64`"),
        (str, b"a", "Expected `str`, got `bytes`"),
        (bytes, "a", "Expected `bytes`, got `str`"),
        (int | None, "a", "Expected `int` | `None`, got `str`"),
        (list[float], [1.0, "a"], r"Expected `float`, got `str` - at `$[1]`"),
        (list[float], {1.0}, "Expected `list`, got `set`"),
        (list[str], "text", "Expected `list`, got `str`"),
        (set[int], [1], "Expected `set`, got `list`"),
        (tuple[float, float], (1.0,), "Expected 2 entries, got 1"),
        (dict[str, int], [("a", 1)], "Expected `dict`, got `list`"),
        (dict[str, int], {"a": 1.5}, "Expected `int`, got `float` - at `$['a']`"),
        (dict[str, int], {1: 1}, "Expected `str`, got `int` - at `$[a key]`"),
        (Run, {"steps": 3}, "Expected `Run`, got `dict`"),
        (Run, Run("3"), "Expected `int`, got `str` - at `$.steps`"),  # type: ignore[arg-type]

        (list[Atom], [Atom("C"), Atom(3)], "Expected `str`, got `int` - at `$[1].symbol`"),  # type: ignore[arg-type],
        (Literal["a", 3], "b", "Expected one of 'a', 3, got 'b'"),
        (Colour, "red", "Expected `Colour`, got `str`"),
        (UUID, str(UUID(int=3)), "Expected `UUID`, got `str`"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_wrong_is_refused_before_it_is_sent(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(EncodingError) as raised:
        CallCodec(annotated(annotation), "m:f").pack((value,), {})
    assert str(raised.value).endswith(f"`: {said}")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 1.5), (list[float], [1.0, 2, True]), (list[int], [1, 2]),
        (dict[str, float], {"a": 1}),
        (Sequence[float], [1.0]), (Mapping[str, list[int]], {"a": [1]}),
        (tuple[float, ...], (1.0, 2)),
        (tuple[int, str], (1, "a")), (set[int], {1}), (Colour, Colour.RED),
        (Point, Point(1.0, 2.0)),
        (Run, Run(3)), (Atom, Atom("C")), (list[Atom], [Atom("C")]), (Options, {"method": "a"}),
        (dict[Colour, int], {Colour.RED: 1}), (float | None, None), (str, "text"),
    ],
    ids=repr,
)  # fmt: skip
def test_ordinary_values_are_not_pickled(annotation: Any, value: Any) -> None:
    form = form_of(annotation)
    assert form is not None
    assert is_exact(form, value)
    body, frames = ValueCodec(annotation).pack(value)
    assert frames == ()
    assert b"\x80\x05" not in body


shared: list[int] = [1]
in_itself: list[Any] = []
in_itself.append(in_itself)


def nested(x: list[list[int]], y: dict[str, list[int]] | None = None) -> None: ...
def untold(x, y=None): ...  # type: ignore[no-untyped-def]


def test_what_is_one_object_in_an_argument_is_one_where_it_arrives() -> None:
    for function in (nested, untold):
        (x, y), _ = called(function, [shared, shared], {"a": shared, "b": shared})
        assert x[0] is x[1]
        assert y["a"] is y["b"]
    (x,), _ = called(untold, in_itself)
    assert x[0] is x
    runs = sent([run := Run(3), run], list[Run])
    assert runs[0] is runs[1]


def test_what_a_dataclass_has_in_slots_beside_its_fields_arrives() -> None:
    for value in (Slotted(3), LaterSlotted(3)):
        assert not hasattr(sent(value, type(value)), "found")
        value.found = [1]  # type: ignore[attr-defined]
        for annotation in (type(value), Slotted, dict[str, Slotted]):
            whole = {"a": value} if annotation == dict[str, Slotted] else value
            arrived = sent(whole, annotation)
            assert (arrived["a"] if whole is not value else arrived).found == [1]
    assert sent(Compact(3), Compact) == Compact(3)


def test_one_argument_given_twice_is_one_object_where_it_arrives() -> None:
    array = np.zeros(1_000)
    for value in ([1.0], array, {"a": 1}):
        (x, y), _ = called(untold, value, value)
        assert x is y
        (x,), rest = called(untold, value, y=value)
        assert x is rest["y"]
    body, frames = CallCodec(untold, "m:f").pack((array, array), {})
    assert len(frames) == 1, "and is sent once"
    assert len(body) < array.nbytes


ARRAYS: dict[str, Any] = {
    "structured": np.zeros(3, [("a", "i4"), ("b", "f8", 2)]),
    "objects": np.array([1, "a", None], dtype=object),
    "columns first": np.asfortranarray(np.arange(6_000.0).reshape(2, -1)),
    "no entries": np.zeros((0, 3)),
    "another byte order": np.arange(5_000, dtype=">i4"),
    "one number": np.array(3.5),
    "texts": np.array(["a", "bc"] * 100),
    "times": np.arange(500).astype("M8[s]"),
    "masked": np.ma.masked_array(np.arange(2_000.0), np.arange(2_000) % 2),
    "a record": np.zeros(2, [("a", "i4")])[0],
    "a matrix of sub-arrays": np.zeros(100, [("a", "f4", (2, 2))]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("annotation", [None, np.ndarray, Any])
def test_arrays_of_every_make_arrive_as_they_were(name: str, annotation: Any) -> None:
    array = ARRAYS[name]
    for value in (array, [array], {"a": (array,)}):
        arrived = sent(value, annotation)
        while not isinstance(arrived, (np.ndarray, np.generic)):
            arrived = arrived[0] if isinstance(arrived, (list, tuple)) else arrived["a"]
        assert type(arrived) is type(array)
        assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
        assert arrived.dtype.byteorder == array.dtype.byteorder
        assert repr(arrived) == repr(array)
        if isinstance(array, np.ma.MaskedArray):
            assert arrived.mask.tolist() == array.mask.tolist()
        if name == "columns first":
            assert arrived.flags.f_contiguous


leaves = st.sampled_from(AWKWARD) | st.floats() | st.integers() | st.text(st.characters())
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=2).map(Row)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.booleans(), inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=8,
)


@settings(max_examples=max(20, settings().max_examples))
@given(annotation=st.sampled_from(ANNOTATIONS), value=values)
def test_any_value_of_any_annotation_arrives_exactly_or_is_refused(
    annotation: Any, value: Any
) -> None:
    check(value, annotation)
