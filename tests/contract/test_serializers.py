"""Values of every library arrive as they were, and their long buffers are not copied."""

from __future__ import annotations

import dataclasses
import io
import pickle
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import steerio
from steerio.edge.encoding.boxing import LONG_BYTES, explain_read_only
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.pickling import dump
from steerio.edge.encoding.serializers import BUFFER_BYTES
from steerio.edge.encoding.values import ANY_VALUE
from steerio.errors import EncodingError, UsageError
from tests.contract.frames import CHECKS
from tests.contract.payloads import WIRES, alike, as_bytes

NUMBER = 10_000


def nested(value: Any) -> list[Any]:
    """Return ways in which a value may travel: by itself and in others."""
    return [value, [value], {"a": (1, value)}, Holder(value), Record(value)]


def found(value: Any) -> Any:
    """Return what ``nested`` put into others."""
    if isinstance(value, (Holder, Record)):
        return value.held
    if type(value) is dict:
        return value["a"][1]
    return value[0] if type(value) is list else value


@dataclasses.dataclass
class Holder:
    held: Any


class Record(msgspec.Struct):
    held: Any


def in_band(value: Any) -> int:
    """Return how many bytes travel inside the pickle or body, rather than as buffers."""
    body, frames = ANY_VALUE.pack(value)
    pickles = [frame for frame in frames if type(frame) is bytes]
    return len(body) + sum(map(len, pickles))


def arrivals(value: Any) -> list[Any]:
    """Send a value over every wire, as memory of its own and as views."""
    body, frames = ANY_VALUE.pack(value)
    return [
        ANY_VALUE.unpack(body, wire(frames), views=views)
        for wire in WIRES
        for views in (False, True)
    ]


# -- NumPy --------------------------------------------------------------------------------

plain = np.arange(100_000.0)
ARRAYS = {
    "every other": plain[::2],
    "backwards": plain[::-1],
    "a column": plain.reshape(-1, 5)[:, 3],
    "Fortran order": np.asfortranarray(plain.reshape(1000, 100)),
    "rows of Fortran order": np.asfortranarray(plain.reshape(1000, 100))[::2],
    "axes exchanged": plain.reshape(10, 200, 50).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(plain, (3, 100_000)),
    "dates": np.arange(100_000).astype("M8[D]"),
    "dates in Fortran order": np.asfortranarray(plain.astype("M8[s]").reshape(1000, 100)),
    "foreign dates": plain.astype(">M8[s]"),
    "every other date": plain.astype("M8[ns]")[::2],
    "durations": plain.astype("m8[us]"),
    "records": np.zeros(NUMBER, dtype=[("n", "i4"), ("x", "f8"), ("s", "U2")]),
    "every other record": np.zeros(2 * NUMBER, dtype=[("n", "i4"), ("x", "f8")])[::2],
    "dated records": np.zeros(NUMBER, dtype=[("n", "i4"), ("when", "M8[ns]")]),
    "big endian": plain.astype(">f8"),
    "half": (plain % 100).astype("f2"),
    "text": np.array(["benzene"] * NUMBER),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_any_kind_is_not_pickled_wherever_it_is(name: str) -> None:
    array = ARRAYS[name]

    for value in nested(array):
        assert in_band(value) < 1000
        for arrived in map(found, arrivals(value)):
            assert alike(arrived, array)
            if array.flags.f_contiguous and array.ndim > 1:
                assert arrived.flags.f_contiguous


def test_arrays_of_objects_and_of_odd_text_arrive_too() -> None:
    objects = np.array([1, "a", None, (1, 2)] * NUMBER, dtype=object)
    arrays = [objects, objects[::2]]
    if hasattr(np.dtypes, "StringDType"):  # since NumPy 2
        arrays.append(np.array(["benzene", ""] * NUMBER, dtype=np.dtypes.StringDType()))

    for array in arrays:
        for value in nested(array):
            for arrived in map(found, arrivals(value)):
                assert arrived.dtype == array.dtype
                assert arrived.tolist() == array.tolist()


def test_scattered_arrays_beside_a_class_that_goes_by_value_are_not_pickled_either() -> None:
    class Local:
        pass

    assert in_band([plain[::2], Local()]) < 2000
    arrived = ANY_VALUE.unpack(*ANY_VALUE.pack([plain.astype("M8[s]"), Local()]))
    assert alike(arrived[0], plain.astype("M8[s]"))


# -- tables -------------------------------------------------------------------------------


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": plain[:NUMBER],
            "n": np.arange(NUMBER),
            "when": pd.date_range("2000", periods=NUMBER, freq="min", tz="UTC"),
            "class": pd.Categorical(["a", "b"] * (NUMBER // 2)),
        },
        index=pd.RangeIndex(NUMBER, name="row"),
    )


@pytest.mark.parametrize("make", [table, lambda: table()["x"], lambda: table()["when"]])
def test_tables_of_pandas_arrive(make: Any) -> None:
    for value in nested(make()):
        assert in_band(value) < 4000
        for arrived in map(found, arrivals(value)):
            assert arrived.equals(make())


def test_text_in_tables_of_pandas_arrives() -> None:
    frame = pd.DataFrame({"s": ["benzene", "water"] * NUMBER, "o": [{}, None] * NUMBER})

    for arrived in arrivals(frame):
        assert arrived.equals(frame)
        assert (arrived.dtypes == frame.dtypes).all()


def test_tables_of_arrow_arrive() -> None:
    pa = pytest.importorskip("pyarrow")
    whole = pa.table({"x": plain[:NUMBER], "s": ["benzene"] * NUMBER, "l": [[1, None]] * NUMBER})

    for value in nested(whole):
        assert in_band(value) < 5000  # what says where items are missing is short, and stays
        assert all(found(arrived).equals(whole) for arrived in arrivals(value))
    body, frames = ANY_VALUE.pack(whole.column("x"))
    assert ANY_VALUE.unpack(body, frames).equals(whole.column("x"))


@pytest.mark.parametrize("check", CHECKS)
def test_frames_of_polars(check: str) -> None:
    """In a process of their own: Polars keeps threads and descriptors once it has been used."""
    command = [sys.executable, "-W", "error", "-m", "tests.contract.frames", check]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


# -- bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_long_bytes_arrive_as_what_they_were(kind: Any) -> None:
    for size in (10, BUFFER_BYTES, LONG_BYTES + 1, 1 << 20):
        value = kind(size)
        for arrived in arrivals(value):
            assert alike(arrived, value)
        assert in_band(value) < LONG_BYTES + 1000 or kind is bytes
    arrived = ANY_VALUE.unpack(*ANY_VALUE.pack(bytearray(1 << 20)), views=True)
    arrived[0] = 7
    assert len(ANY_VALUE.pack(bytearray(1 << 20))[0]) < 100


def takes_bytes(blob: bytes, name: str = "", *, more: bytes = b"") -> bytes: ...


def test_long_bytes_are_not_copied_where_they_are_annotated_either() -> None:
    blob = bytes(range(256)) * 4096
    codec = CallCodec(takes_bytes, "m:f")

    for args, kwargs in (((blob,), {}), ((b"", "n"), {"more": blob}), ((blob, "n"), {})):
        body, frames = codec.pack(args, kwargs)
        assert len(body) < 200
        assert len(frames) == 1
        assert np.shares_memory(np.frombuffer(frames[0], "u1"), np.frombuffer(blob, "u1"))
        for wire in WIRES:
            assert alike(codec.unpack(body, wire(frames), views=True), (args, kwargs))
    body, frames = codec.result.pack(blob)
    assert frames == (blob,)
    assert codec.result.unpack(body, as_bytes(frames)) == blob
    with pytest.raises(EncodingError, match="argument 'name' of task type m:f does not fit"):
        codec.pack((blob, 3), {})
    with pytest.raises(EncodingError, match="argument 'blob' of task type m:f does not fit"):
        codec.pack(("x" * 100_000,), {})
    assert alike(codec.unpack(*codec.pack((bytearray(blob),), {})), ((bytearray(blob),), {}))


@pytest.mark.parametrize(
    "value",
    [
        memoryview(b"abc"),
        memoryview(bytes(1 << 20)),
        plain.data,
        plain.reshape(1000, 100).data,
        plain.reshape(1000, 100).T.data,
        np.array(2.5).data,
        np.zeros(0).data,
    ],
    ids=lambda view: f"{view.shape}",
)
def test_a_memoryview_arrives_as_one(value: memoryview) -> None:
    for sent in ([value], value):
        for arrived in map(found, arrivals(sent)):
            assert type(arrived) is memoryview
            assert (arrived.format, arrived.shape) == (value.format, value.shape)
            assert arrived.tolist() == value.tolist()
    assert in_band([plain.data]) < 200


def test_a_memoryview_of_items_without_a_letter_is_refused() -> None:
    view = np.zeros(10, dtype=[("a", "i4")]).data

    for value in (view, [view]):
        with pytest.raises(EncodingError, match="send the object that it is a view of"):
            ANY_VALUE.pack(value)


def test_a_long_pickle_is_a_frame_and_not_copied_into_the_body() -> None:
    value = {"blob": bytes(1 << 20), "array": plain}

    body, frames = ANY_VALUE.pack((value, 1))
    assert len(body) < 100
    assert len(frames) == 2
    call, call_frames = CallCodec(lambda x: None, "m:f").pack((value,), {})
    assert len(call) < 100

    assert all(alike(arrived, (value, 1)) for arrived in arrivals((value, 1)))
    args, _ = CallCodec(lambda x: None, "m:f").unpack(call, as_bytes(call_frames))
    assert alike(args[0], value)


# -- of one's own -------------------------------------------------------------------------


class Mesh:
    """Has no way to be pickled but the registered one."""

    def __init__(self, points: Any, name: str) -> None:
        self.points, self.name = points, name

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("meshes are not pickled")


class FineMesh(Mesh):
    """A subclass."""


def mesh_to_parts(mesh: Mesh) -> Any:
    return Mesh, (mesh.points, mesh.name)


def test_a_serializer_of_ones_own_is_registered_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REGISTERING], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["0", "1", "True", "80000", "refused"]


REGISTERING = """
import numpy as np
import pickle
import steerio
from steerio.edge.encoding.values import ANY_VALUE
from steerio.errors import EncodingError
from tests.contract.test_serializers import FineMesh, Mesh, mesh_to_parts

mesh = Mesh(np.arange(10_000.0), "m")
steerio.register_serializer(Mesh, mesh_to_parts)
body, frames = ANY_VALUE.pack([mesh, mesh])
first, second = ANY_VALUE.unpack(body, frames)
print(len(body) // 1000, len(frames), first is second, frames[0].nbytes)
try:
    ANY_VALUE.pack(FineMesh(mesh.points, "fine"))
except EncodingError as error:
    print("refused" if "meshes are not pickled" in str(error) else error)
"""


def test_it_holds_for_classes_that_go_by_value() -> None:
    code = f"""
import numpy as np
import pickle
import steerio
from steerio.edge.encoding.values import ANY_VALUE

class Mesh:
    def __init__(self, points):
        self.points = points
    def __reduce_ex__(self, protocol):
        raise TypeError("meshes are not pickled")

def rebuild(raw):
    return Mesh(np.frombuffer(raw))

steerio.register_serializer(Mesh, lambda mesh: (rebuild, (pickle.PickleBuffer(mesh.points),)))
body, frames = ANY_VALUE.pack(Mesh(np.arange({NUMBER}.0)))
arrived = ANY_VALUE.unpack(body, frames, views=True)
print(type(arrived).__name__, len(frames), arrived.points.sum(), arrived.points.flags.writeable)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["Mesh", "1", "49995000.0", "False"]


@pytest.mark.parametrize(
    ("kind", "to_parts", "why"),
    [
        (list, mesh_to_parts, "list cannot have a serializer"),
        (int, mesh_to_parts, "register one for a class of yours"),
        ("Mesh", mesh_to_parts, "for a class, not for 'Mesh'"),
        (Mesh, "mesh_to_parts", "has to be a function"),
    ],
)
def test_what_cannot_be_a_serializer_is_refused(kind: Any, to_parts: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        steerio.register_serializer(kind, to_parts)


def test_nothing_is_imported_to_learn_how_it_is_taken_apart() -> None:
    code = (
        "import sys\n"
        "from steerio.edge.encoding.values import ANY_VALUE\n"
        "ANY_VALUE.unpack(*ANY_VALUE.pack(({'a': [1]}, memoryview(b'x'))))\n"
        "print(*{'numpy', 'pandas', 'polars', 'pyarrow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


def test_other_pickles_are_as_they_were() -> None:
    dump([plain[::2], memoryview(b"x")])

    assert b"steerio" not in pickle.dumps(plain[::2])
    with pytest.raises(TypeError, match="memoryview"):
        pickle.dumps(memoryview(b"x"))


# -- writing into views -------------------------------------------------------------------


def views() -> Any:
    value: Any = (plain, plain.reshape(1000, 100), table(), plain.data)
    return ANY_VALUE.unpack(*ANY_VALUE.pack(value), views=True)


def assign(array: Any, *_: Any) -> None:
    array[3] = 0


def add(array: Any, *_: Any) -> None:
    array += 1


def add_out(array: Any, *_: Any) -> None:
    np.add(array, 1, out=array)


def sort(array: Any, *_: Any) -> None:
    array.sort()


def fill(array: Any, *_: Any) -> None:
    array.fill(0)


def put(array: Any, *_: Any) -> None:
    np.put(array, [1], [2])


def shuffle(array: Any, *_: Any) -> None:
    np.random.default_rng(1).shuffle(array)


def unlock(array: Any, *_: Any) -> None:
    array.flags.writeable = True


def assign_row(_: Any, array: Any, *__: Any) -> None:
    array[2, :] = 0


def assign_in_column(_: Any, __: Any, frame: Any, *___: Any) -> None:
    frame.loc[0, "x"] = 3


def assign_in_view(*values: Any) -> None:
    values[-1][0] = 0


def read_into(*values: Any) -> None:
    io.BytesIO(bytes(10)).readinto(values[-1])


WRITING = [
    assign, add, add_out, sort, fill, put, shuffle, unlock, assign_row, assign_in_column,
    assign_in_view, read_into,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITING, ids=lambda write: write.__name__)
def test_a_task_that_writes_into_a_view_is_told_how_to(write: Any) -> None:
    with pytest.raises((ValueError, TypeError, BufferError)) as raised:
        write(*views())

    note = explain_read_only(raised.value)
    assert "x = x.copy()" in note
    assert "change a copy of it" in note


class Silent(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes (3,) and (4,) not aligned"),
        OSError(30, "Read-only file system"),
        AttributeError("readonly attribute"),
        Silent(),
        KeyError("read-only"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_need_no_such_word(error: BaseException) -> None:
    assert explain_read_only(error) == ""
