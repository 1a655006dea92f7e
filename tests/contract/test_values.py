"""Arguments and values arrive as what was sent, or are refused by the name of the argument."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, Optional, TypedDict, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from proxystore.connectors.file import FileConnector
from proxystore.proxy import Proxy, is_resolved
from proxystore.store import Store

from steerio.edge.encoding.boxing import ARRAY_BYTES, LONG_BYTES
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.pickling import BUFFER_BYTES
from steerio.edge.encoding.values import ANY_VALUE, INLINE_BYTES, ValueCodec
from steerio.errors import EncodingError
from tests.contract.payloads import WIRES, alike, called, content, sent


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Corner(enum.Enum):
    ORIGIN = (0, 0)
    UNIT = (1, 1)


class Molecule(msgspec.Struct):
    smiles: str
    charge: int = 0
    coordinates: list[tuple[float, float, float]] = []


class Ion(Molecule):
    solvent: str = "water"


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


@dataclasses.dataclass
class Run:
    steps: int
    seed: int | None = None
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class LongRun(Run):
    checkpoints: int = 3


@dataclasses.dataclass(eq=False)
class Handle:
    number: int


class Point(NamedTuple):
    x: float
    y: float


class Chain(NamedTuple):
    value: int
    rest: Chain | None = None


class Options(TypedDict, total=False):
    method: str
    tolerance: float


class SolverFailed(Exception):
    def __init__(self, step: int, residual: float) -> None:
        super().__init__(step, residual)
        self.step, self.residual = step, residual

    def __eq__(self, other: object) -> bool:
        return type(other) is SolverFailed and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


def anything(x): ...  # type: ignore[no-untyped-def]


def annotated(annotation: Any) -> Any:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation, "return": None}
    return function


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]), max_size=2)
    | st.binary(max_size=20)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from([*Colour, *Level, *Corner, Access.READ | Access.WRITE])
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
)
hashable = st.integers() | st.text() | st.booleans() | st.none()
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable | st.tuples(hashable, hashable), inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=12,
)


# -- without annotations ------------------------------------------------------------------


@given(value=values)
def test_a_value_without_an_annotation_arrives_as_it_was_sent(value: object) -> None:
    assert alike(sent(value), value)


@given(args=st.lists(values, max_size=4), kwargs=st.dictionaries(st.text(), values, max_size=3))
def test_arguments_without_annotations_arrive_as_they_were_sent(
    args: list[object], kwargs: dict[str, object]
) -> None:
    def function(*args: Any, **kwargs: Any) -> None: ...

    assert alike(called(function, *args, **kwargs), (tuple(args), kwargs))


def test_a_tuple_without_an_annotation_stays_a_tuple() -> None:
    args, kwargs = called(anything, (1, (2, [3, (4,)])))

    assert alike(args, ((1, (2, [3, (4,)])),))
    assert kwargs == {}


@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(b=1, a=2),
        defaultdict(list, a=[1]),
        Counter("abba"),
        deque([1, 2], maxlen=3),
        bytearray(b"abc"),
        range(3),
        slice(1, None, 2),
        Fraction(1, 3),
        PurePosixPath("a/b"),
        UUID(int=7),
        Molecule("C", 1),
        Run(3),
        Point(1.0, 2.0),
        SolverFailed(3, 0.5),
        np.float32(1.5),
        np.int64(-7),
        np.str_("a"),
        np.datetime64("2024-01-01T00:00"),
        int,
        Molecule,
        len,
        ...,
        NotImplemented,
    ],
    ids=repr,
)
def test_objects_that_pickle_arrive_as_they_were_sent(value: object) -> None:
    assert alike(sent(value), value)


def test_an_exception_keeps_its_arguments_and_its_cause() -> None:
    error = SolverFailed(3, 0.5)
    error.__cause__ = ValueError("negative")

    arrived = sent(error)

    assert (arrived.step, arrived.residual) == (3, 0.5)


def test_a_function_inside_a_function_travels_by_value() -> None:
    factor = 3

    def scaled(x: int) -> int:
        return factor * x

    assert ANY_VALUE.unpack(*ANY_VALUE.pack(scaled))(5) == 15


def test_one_object_sent_twice_in_a_value_stays_one_object() -> None:
    shared: list[int] = [1]

    first, second = sent([shared, shared])

    assert first is second


# -- numbers, text and bytes --------------------------------------------------------------

EDGES = [2**bits + off for bits in (7, 8, 15, 16, 31, 32, 63, 64, 200) for off in (-1, 0, 1)]


@pytest.mark.parametrize("annotation", [None, int], ids=["unannotated", "int"])
def test_integers_of_any_size_arrive_exactly(annotation: Any) -> None:
    for value in (*EDGES, *(-edge for edge in EDGES)):
        assert alike(sent(value, annotation), value)
        assert alike(called(annotated(annotation or Any), value)[0], (value,))


@pytest.mark.parametrize("annotation", [None, float], ids=["unannotated", "float"])
def test_floats_that_are_no_ordinary_numbers_arrive(annotation: Any) -> None:
    for value in (float("nan"), float("inf"), -float("inf"), -0.0, 5e-324):
        assert alike(sent(value, annotation), value)


SIZES = {0, 1, 31, 32, 255, 256, 1 << 20}
SIZES |= {edge + off for edge in (INLINE_BYTES, LONG_BYTES, 65536) for off in (-20, -1, 0, 1)}


@pytest.mark.parametrize("annotation", [None, bytes], ids=["unannotated", "bytes"])
def test_bytes_of_any_size_arrive(annotation: Any) -> None:
    for size in SIZES:
        value = bytes(index % 251 for index in range(size))
        for wire in WIRES:
            assert alike(sent(value, annotation, wire), value)
        assert alike(called(annotated(annotation or Any), value)[0], (value,))


def test_no_body_is_longer_than_what_a_broker_may_copy() -> None:
    for value in (b"a" * 100_000, ["a"] * 5_000, "a" * 100_000):
        body, frames = ANY_VALUE.pack(value)

        assert len(body) <= INLINE_BYTES
        assert sum(len(content(frame)) for frame in frames) >= 5_000


@pytest.mark.parametrize("annotation", [None, str], ids=["unannotated", "str"])
def test_a_file_name_that_is_no_text_arrives(annotation: Any) -> None:
    name = b"run-\xff.dat".decode(errors="surrogateescape")

    assert alike(sent(name, annotation), name)
    assert alike(called(annotated(annotation or Any), name)[0], (name,))
    assert alike(called(annotated(dict[str, int]), {name: 1})[0], ({name: 1},))


# -- arrays -------------------------------------------------------------------------------

ARRAYS = {
    "bool": np.arange(300) % 3 == 0,
    "float16": np.arange(300, dtype="f2"),
    "big endian": np.arange(300, dtype=">i4"),
    "complex": np.arange(300) * 1j,
    "long double": np.arange(300, dtype=np.longdouble),
    "text": np.array(["a", "benzene"] * 40),
    "bytes": np.array([b"a", b"benzene"] * 40),
    "dates": np.arange("2024-01", "2024-09", dtype="M8[D]"),
    "durations": np.arange(300, dtype="m8[us]"),
    "objects": np.array([1, "a", None, (1, 2)] * 40, dtype=object),
    "structured": np.array([(1, 2.5, "C")] * 40, dtype=[("n", "i4"), ("x", "f8"), ("s", "U2")]),
    "0-d": np.array(2.5),
    "0-d text": np.array("x" * 300),
    "empty": np.empty((0,)),
    "empty of a shape": np.empty((3, 0, 2), dtype="i2"),
    "empty records": np.empty(0, dtype=[("n", "i4")]),
    "small": np.arange(3),
    "3-d": np.arange(2 * 3 * 50.0).reshape(2, 3, 50),
    "Fortran order": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    "every other": np.arange(2000.0)[::2],
    "backwards": np.arange(1000)[::-1],
    "transposed": np.arange(600.0).reshape(20, 30).T,
    "broadcast": np.broadcast_to(np.arange(30.0), (40, 30)),
    "a column": np.arange(6000.0).reshape(1000, 6)[:, 2],
    "just framed": np.zeros(ARRAY_BYTES, dtype="u1"),
    "just not framed": np.zeros(ARRAY_BYTES - 1, dtype="u1"),
    "a megabyte": np.arange(1 << 17, dtype="f8"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_of_every_kind_arrive(array: np.ndarray[Any, Any]) -> None:
    for wire in WIRES:
        assert alike(sent(array, wire=wire), array)
        assert alike(sent({"a": [array, array.T]}, wire=wire), {"a": [array, array.T]})
    assert alike(called(anything, array), ((array,), {}))


# NumPy's own pickles turn foreign dates round.
dtypes = hnp.scalar_dtypes().filter(lambda dtype: dtype.isnative or dtype.kind not in "mM")


@given(array=hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0)))
def test_arrays_of_any_type_and_shape_arrive(array: np.ndarray[Any, Any]) -> None:
    assert alike(sent(array), array)


@pytest.mark.parametrize("name", ["masked", "matrix", "record"])
def test_kinds_of_arrays_stay_what_they_are(name: str) -> None:
    plain = np.arange(300.0)
    array: Any = {
        "masked": lambda: np.ma.masked_greater(plain, 10),
        "matrix": lambda: np.rec.fromarrays([plain, plain]),
        "record": lambda: plain.view(np.recarray),
    }[name]()

    arrived = sent(array)

    assert type(arrived) is type(array)
    assert arrived.dtype == array.dtype
    assert repr(arrived) == repr(array)


@pytest.mark.parametrize("make", ["plain", "nested", "Fortran"])
def test_an_array_can_be_changed_where_it_arrives_and_stays_as_it_was_where_it_was_sent(
    make: str,
) -> None:
    for size in (2, 100, BUFFER_BYTES, LONG_BYTES, 1 << 20):
        array = np.zeros((size // 2, 2), order="F" if make == "Fortran" else "C")
        body, frames = ANY_VALUE.pack([array] if make == "nested" else array)

        for wire in WIRES:
            value = ANY_VALUE.unpack(body, wire(frames))
            arrived = value[0] if make == "nested" else value
            arrived += 1
            assert arrived.all()
            assert not array.any()


def test_a_long_array_is_neither_copied_nor_pickled_when_it_is_sent() -> None:
    array = np.zeros(1 << 20)

    body, frames = ANY_VALUE.pack(array)

    assert len(body) < 100
    assert np.shares_memory(np.frombuffer(frames[0]), array)


def test_values_read_in_several_threads_keep_their_own_frames() -> None:
    packed = [(index, *ANY_VALUE.pack(np.full(1000, index))) for index in range(8)]
    wrong: list[int] = []
    start = threading.Barrier(len(packed))

    def read(index: int, body: bytes, frames: tuple[Any, ...]) -> None:
        start.wait()
        for _ in range(200):
            if not (ANY_VALUE.unpack(body, frames) == index).all():
                wrong.append(index)

    threads = [threading.Thread(target=read, args=one) for one in packed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


# -- with annotations ---------------------------------------------------------------------

small = st.integers(-(2**63), 2**63 - 1)
molecules = st.builds(
    Molecule, st.text(), small, st.lists(st.tuples(st.floats(), st.floats(), st.floats()))
)
runs = st.builds(Run, small, st.none() | small, st.dictionaries(st.text(), st.text(), max_size=2))
trees = st.recursive(
    st.builds(Tree, small),
    lambda inner: st.builds(Tree, small, st.lists(inner, max_size=3)),
    max_leaves=6,
)
ANNOTATIONS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(),
    str: st.text(),
    bytes: st.binary(),
    bool: st.booleans(),
    None: st.none(),
    Optional[float]: st.none() | st.floats(),  # noqa: UP045 - the forms differ
    int | str | None: st.none() | st.integers() | st.text(),
    Union[int, list[float]]: st.integers() | st.lists(st.floats()),  # noqa: UP007
    list[int]: st.lists(st.integers()),
    dict[str, float]: st.dictionaries(st.text(), st.floats()),
    dict[int, list[str]]: st.dictionaries(small, st.lists(st.text()), max_size=3),
    dict[tuple[int, int], float]: st.dictionaries(st.tuples(small, small), st.floats()),
    tuple[int, str]: st.tuples(st.integers(), st.text()),
    tuple[float, ...]: st.lists(st.floats()).map(tuple),
    set[int]: st.sets(small),
    frozenset[str]: st.frozensets(st.text()),
    Literal["a", 3]: st.sampled_from(["a", 3]),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Corner: st.sampled_from(Corner),
    Access: st.sampled_from([Access.READ, Access.WRITE, Access.READ | Access.WRITE]),
    dict[Colour, int]: st.dictionaries(st.sampled_from(Colour), small),
    Molecule: molecules,
    list[Molecule]: st.lists(molecules, max_size=3),
    Molecule | None: st.none() | molecules,
    Tree: trees,
    Run: runs,
    dict[str, Run]: st.dictionaries(st.text(), runs, max_size=3),
    Point: st.builds(Point, st.floats(), st.floats()),
    Chain: st.builds(Chain, small, st.none() | st.builds(Chain, small)),
    Options: st.fixed_dictionaries(
        {}, optional={"method": st.text(), "tolerance": st.floats(allow_nan=False)}
    ),
    dt.datetime: st.datetimes(timezones=st.none() | st.timezones()),
    dt.date: st.dates(),
    dt.time: st.times(),
    dt.timedelta: st.timedeltas(),
    list[dt.datetime]: st.lists(st.datetimes(), max_size=3),
    Decimal: st.decimals(allow_nan=False),
    UUID: st.uuids(),
    complex: st.complex_numbers(allow_nan=False),
    Path: st.text("ab/", max_size=5).map(Path),
    np.ndarray: hnp.arrays("f8", hnp.array_shapes()),
    list: st.lists(atoms, max_size=3),
    dict: st.dictionaries(hashable, atoms, max_size=3),
    tuple: st.tuples(atoms, atoms),
    set: st.sets(hashable, max_size=3),
    Any: values,
    object: values,
    type(len): st.just(len),
}


FEW = settings().max_examples // 4


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_what_is_annotated_arrives_as_it_was_sent(annotation: Any) -> None:
    function = annotated(annotation)

    @settings(max_examples=FEW)
    @given(value=ANNOTATIONS[annotation])
    def arrives(value: object) -> None:
        assert alike(sent(value, annotation), value)
        assert alike(called(function, value), ((value,), {}))
        assert alike(called(function, x=value), ((), {"x": value}))

    arrives()


def test_the_zone_of_a_time_arrives_with_it() -> None:
    value = dt.datetime(2024, 3, 31, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    arrived = sent(value, dt.datetime)

    assert (str(arrived.tzinfo), arrived.fold) == ("Europe/Berlin", 1)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Molecule, Ion("C", solvent="ethanol")),
        (list[Molecule], [Molecule("C"), Ion("N")]),
        (Run, LongRun(3, checkpoints=5)),
        (dict[str, Run], {"a": LongRun(3)}),
        (Options, {"method": "pm6", "cutoff": 3.5}),
    ],
    ids=["struct", "structs", "dataclass", "dataclasses", "dictionary"],
)
def test_what_is_more_than_its_annotation_says_arrives_whole(annotation: Any, value: Any) -> None:
    assert alike(sent(value, annotation), value)
    assert alike(called(annotated(annotation), value)[0], (value,))
    assert alike(called(annotated(annotation), x=value)[1], {"x": value})


def test_a_class_without_equality_arrives() -> None:
    (arrived,), _ = called(annotated(Handle), Handle(3))

    assert type(arrived) is Handle
    assert arrived.number == 3


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 3),
        (float, np.float32(1.5)),
        (float, np.int64(3)),
        (int, np.uint8(7)),
        (bool, np.bool_(True)),
        (list[float], [np.float64(0.5), 2]),
        (float, np.array(0.5)),
    ],
    ids=repr,
)
def test_numbers_that_fit_their_annotation_arrive_as_what_they_are(
    annotation: Any, value: Any
) -> None:
    assert alike(sent(value, annotation), value)
    assert alike(called(annotated(annotation), value)[0][0], value)


# -- signatures ---------------------------------------------------------------------------


def keywords_only(*, pairs: tuple[int, int], name="a", seen: set[int] = frozenset()): ...  # type: ignore[no-untyped-def, assignment]


def mixed(a: set[int], /, b: tuple[int, int], *rest, key: frozenset[int], **more): ...  # type: ignore[no-untyped-def]


def same_name(a: tuple[int, int], /, **more): ...  # type: ignore[no-untyped-def]


def with_defaults(a: tuple[int, int], b: tuple[int, int] = (1, 2), c=(3, 4)): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (keywords_only, (), {"pairs": (1, 2)}),
        (keywords_only, (), {"seen": {3}, "name": (4, 5), "pairs": (1, 2)}),
        (mixed, ({1}, (2, 3)), {"key": frozenset({4})}),
        (mixed, ({1},), {"b": (2, 3), "key": frozenset({4}), "x": (5, 6)}),
        (mixed, ({1}, (2, 3), (4, 5), {6}), {"key": frozenset({7}), "a": {8}}),
        (same_name, ((1, 2),), {"a": [3, 4]}),
        (with_defaults, ((1, 2),), {}),
        (with_defaults, ((1, 2), (3, 4), (5, 6)), {}),
        (with_defaults, ((1, 2),), {"c": (5, 6)}),
        (with_defaults, (), {"c": [5], "a": (1, 2)}),
        (anything, (), {"x": (1, 2)}),
    ],
)
def test_arguments_arrive_however_they_are_given(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert alike(called(function, *args, **kwargs), (args, kwargs))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 33, 65_536 + 1])
def test_any_number_of_arguments_arrives(count: int) -> None:
    def function(first: set[int], *rest: Any) -> None: ...

    args = ({1}, *range(count))

    assert alike(called(function, *args), (args, {}))


def test_none_is_an_argument_where_it_is_the_default() -> None:
    def function(seed: Any = None, box: Any = None) -> None: ...

    function.__annotations__ = {"seed": int, "box": tuple[int, int]}

    assert called(function, None, None) == ((None, None), {})
    assert called(function, 3, (4, 5)) == ((3, (4, 5)), {})
    with pytest.raises(EncodingError, match="'seed'"):
        called(function, "3")


def test_an_annotation_that_does_not_resolve_says_nothing_and_spoils_no_other() -> None:
    def function(a, b): ...  # type: ignore[no-untyped-def]

    function.__annotations__ = {"a": "NotImported", "b": "set[int]", "return": "also.missing"}

    assert alike(called(function, (1, 2), {3}), (((1, 2), {3}), {}))
    with pytest.raises(EncodingError, match="'b'"):
        called(function, 1, "three")


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "missing"),
    [
        (anything, (), {}, "'x'"),
        (anything, (1, 2), {}, "too many"),
        (anything, (1,), {"y": 2}, "'y'"),
        (anything, (1,), {"x": 2}, "'x'"),
        (keywords_only, (), {}, "'pairs'"),
        (keywords_only, ((1, 2),), {}, "too many"),
        (mixed, ({1}, (2, 3)), {}, "'key'"),
        (with_defaults, (), {"b": (1, 2)}, "'a'"),
    ],
)
def test_a_call_that_cannot_be_is_refused_where_it_is_made(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], missing: str
) -> None:
    with pytest.raises(TypeError, match=missing) as raised:
        CallCodec(function, "search:function").pack(args, kwargs)

    assert "search:function" in str(raised.value)


def test_arguments_that_only_keywords_can_give_are_missed_though_the_count_is_right() -> None:
    def function(a: int, b: int = 1, *, c: int) -> None: ...

    with pytest.raises(TypeError, match="'c'"):
        CallCodec(function, "search:function").pack((1, 2), {})


# -- what is refused ----------------------------------------------------------------------


def energy(smiles: str, charges: list[int], *rest, method: Colour = Colour.RED, **more): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("args", "kwargs", "name", "said"),
    [
        ((3, []), {}, "smiles", "Expected `str`, got `int`"),
        (("C", [1, "2"]), {}, "charges", r"Expected `int`, got `str` - at `\$\[1\]`"),
        (("C", {}), {}, "charges", "Expected `list`, got `dict`"),
        (("C", np.arange(3)), {}, "charges", "got `ndarray`"),
        (("C", [2**70, "2"]), {}, "charges", "Expected `int`, got `str`"),
        (("C",), {"charges": [None]}, "charges", "Expected `int`, got `None`"),
        (("C", []), {"method": "green"}, "method", "Expected `Colour`, got `str`"),
        (("C", []), {"method": object()}, "method", "got `object`"),
        ((object(), []), {}, "smiles", "got `object`"),
        (("C", [], *range(40)), {"method": 3}, "method", "got `int`"),
    ],
)
def test_a_wrong_type_is_refused_by_the_name_of_its_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, said: str
) -> None:
    with pytest.raises(EncodingError, match=said) as raised:
        CallCodec(energy, "search:energy").pack(args, kwargs)

    message = str(raised.value)
    assert message.startswith(f"argument '{name}' of task type search:energy does not fit its")
    assert "annotation `" in message


def test_a_wrong_type_is_refused_in_a_function_of_fixed_arguments() -> None:
    def closed(a: int, b: dict[str, float], *, c: Molecule | None = None) -> None: ...

    codec = CallCodec(closed, "search:closed")
    with pytest.raises(EncodingError, match=r"argument 'b' .* annotation `dict\[str, float\]`"):
        codec.pack((1, {"x": "y"}), {})
    with pytest.raises(EncodingError, match="argument 'c'"):
        codec.pack((1, {}), {"c": Run(3)})
    with pytest.raises(EncodingError, match="argument 'a'"):
        codec.pack((None, {}), {})


def test_a_value_that_is_not_what_is_annotated_is_kept_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for value in ("x", None, [1.0], 1j, Decimal("0.1")):
        codec = ValueCodec(float)
        for _ in range(2):
            assert alike(codec.unpack(*codec.pack(value, "the value of f")), value)
        (said,) = [record.message for record in caplog.records]
        assert said.startswith("the value of f does not fit its annotation `float`: Expected")
        caplog.clear()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("holds a GPU")


class UnpicklableAnyhow:
    def __reduce__(self) -> Any:
        raise TypeError("holds a socket")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Unpicklable(), "holds a GPU"),
        (UnpicklableAnyhow(), "holds a socket"),
        (threading.Lock(), "lock"),
        ((index for index in range(3)), "generator"),
        ([{"deep": threading.Lock()}], "lock"),
    ],
    ids=["object", "stubborn object", "lock", "generator", "inside others"],
)
def test_what_cannot_be_pickled_is_refused_by_the_name_of_its_argument(
    value: Any, why: str
) -> None:
    codec = CallCodec(energy, "search:energy")

    for args, kwargs, name in (
        (("C", [], value), {}, r"rest\[0\]"),
        (("C", [], 1, value), {}, r"rest\[1\]"),
        (("C", []), {"extra": value}, "extra"),
        (("C", [2**70]), {"extra": value}, "extra"),
    ):
        with pytest.raises(EncodingError, match=f"argument '{name}' of task type .*{why}"):
            codec.pack(args, kwargs)
    with pytest.raises(EncodingError, match=f"the value of f .*{why}"):
        ANY_VALUE.pack(value, "the value of f")


def test_a_value_nested_beyond_what_pickle_takes_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        with pytest.raises(EncodingError, match="RecursionError"):
            ANY_VALUE.pack(deep)
    finally:
        while deep:  # level by level: freeing it at once recurses as well
            deep = deep.pop()


def test_after_a_refusal_the_next_call_is_sent() -> None:
    codec = CallCodec(energy, "search:energy")
    with pytest.raises(EncodingError):
        codec.pack(("C", ["1"]), {})

    body, frames = codec.pack(("C", [1]), {})

    assert codec.unpack(body, frames) == (("C", [1]), {})


# -- what a function returns --------------------------------------------------------------


def test_values_are_carried_by_the_annotation_of_the_return() -> None:
    def pair() -> tuple[int, int]: ...
    def nothing() -> None: ...
    def untold(): ...  # type: ignore[no-untyped-def]
    async def later() -> set[int]: ...
    def items() -> Iterator[int]:
        yield 1

    for function, value in ((pair, (1, 2)), (nothing, None), (untold, (1,)), (later, {1})):
        codec = CallCodec(function, "m:f").result
        assert alike(codec.unpack(*codec.pack(value)), value)
    codec = CallCodec(nothing, "m:f").result
    assert codec.unpack(*codec.pack(3)) == 3
    # what a generator *task* returns is not what its annotation says, but a count
    codec = CallCodec(items, "m:f").result
    assert codec.unpack(*codec.pack(7)) == 7


# -- proxies ------------------------------------------------------------------------------


def untyped(x, *rest, **more): ...  # type: ignore[no-untyped-def]


def typed(x: list[int], *, y: list[int] | None = None): ...  # type: ignore[no-untyped-def]


@pytest.fixture(name="proxy")
def _proxy(tmp_path: Path) -> Any:
    with Store("steerio-contract", FileConnector(str(tmp_path)), register=True) as store:
        yield store.proxy([1, 2, 3], populate_target=False)


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (untyped, lambda p: ((p,), {})),
        (untyped, lambda p: ((1, p), {"z": p})),
        (untyped, lambda p: (([p],), {})),
        (untyped, lambda p: (([p, Unnamed()],), {})),
        (typed, lambda p: ((p,), {})),
        (typed, lambda p: (([1],), {"y": p})),
    ],
    ids=["argument", "rest", "inside", "by value", "annotated", "keyword"],
)
def test_a_proxy_passes_through_unresolved(proxy: Any, function: Any, place: Any) -> None:
    args, kwargs = called(function, *place(proxy)[0], **place(proxy)[1])

    arrived = [*args, *kwargs.values()]
    arrived += [item for value in arrived if type(value) is list for item in value]
    proxies = [value for value in arrived if type(value) is Proxy]
    assert not is_resolved(proxy)
    assert proxies
    assert not any(map(is_resolved, proxies))
    assert proxies[0] == [1, 2, 3]
    assert is_resolved(proxies[0])


@pytest.mark.parametrize("annotation", [None, list[int]], ids=["unannotated", "annotated"])
def test_a_proxy_that_is_returned_passes_through_unresolved(proxy: Any, annotation: Any) -> None:
    codec = ValueCodec(annotation)

    body, frames = codec.pack(proxy)
    arrived = codec.unpack(body, frames)

    assert not is_resolved(proxy)
    assert type(arrived) is Proxy
    assert not is_resolved(arrived)
    assert arrived == [1, 2, 3]


def Unnamed() -> Any:  # noqa: N802 - a class, once called
    class Unnamed:
        """Is pickled by value, so that everything beside it is, too."""

    return Unnamed()
