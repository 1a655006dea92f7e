"""Handles and results have arguments as they were submitted, whatever was done to them since."""

# Results are built without their last fields, and what stands for a value is used as one.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.references import BareReference, gather
from steerio.edge.encoding.values import INLINE_BYTES
from steerio.model.objects import StoredObject
from steerio.model.results import Sizes, Succeeded, Timings, args_of, kwargs_of
from steerio.session.arguments import KEPT_BYTES, LOOKED_INTO, NotKept, as_submitted
from steerio.session.reference import Latest
from tests.contract.payloads import alike

pytestmark = pytest.mark.borders

LONG = KEPT_BYTES // 8 + 1


class Colour(enum.Enum):
    RED = 1


class Plain:
    """Equal to nothing but itself."""


@dataclasses.dataclass
class Settings:
    steps: list[int]


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


def anything(*args: Any, **kwargs: Any) -> None: ...


def typed(x: list[float], y: dict[str, list[int]] | None = None) -> None: ...


def frozen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


def submitted(*args: Any, of: Any = anything, **kwargs: Any) -> Succeeded:
    """Return a result of a call, as it would be made when the task has ended."""
    codec = CallCodec(of, "m:f")
    with gather() as used:
        body, frames = codec.pack(args, kwargs)
    given: Any = as_submitted(codec, args, kwargs, body, frames, used.references)
    return Succeeded(1, "m:f", *given, 1, None, Timings(), Sizes(), {}, "", {}, None)


def change(value: Any) -> None:
    """Change a value in place."""
    match value:
        case list() | bytearray():
            value[0] = 9
        case dict():
            value["new"] = 9
        case set():
            value.add(9)
        case Settings():
            value.steps.append(9)
        case tuple():
            change(value[0])
        case pd.DataFrame():
            value.iloc[0, 0] = 9
        case _:
            value[0] = 9


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        {"a": [1]},
        {1, 2},
        bytearray(b"abc"),
        bytearray(100_000),
        Settings([1]),
        ([1, 2], 3),
        np.zeros(3),
        np.zeros(10_000),
        np.ma.masked_array([1.0, 2.0], [False, True]),
        [np.zeros(10_000), 1],
        pd.DataFrame({"a": np.zeros(2_000)}),
    ],
    ids=repr,
)
def test_what_was_changed_after_it_was_submitted_is_shown_as_it_was(value: Any) -> None:
    was = copy.deepcopy(value)
    result, by_name = submitted(1, value, "x"), submitted(y=2, z=value)
    change(value if not isinstance(value, list) or isinstance(value[0], int) else value[0])
    for found in (result.args[1], by_name.kwargs["z"]):
        assert type(found) is type(was)
        assert pickle.dumps(found) == pickle.dumps(pickle.loads(pickle.dumps(was))) or alike(
            found, was
        )
    assert (result.args[0], result.args[2], by_name.kwargs["y"]) == (1, "x", 2)
    assert result.args is result.args, "it is unpacked once"


def test_annotated_arguments_are_shown_as_they_were() -> None:
    x, y = [1.0], {"a": [1]}
    result = submitted(x, y=y, of=typed)
    x.append(2.0)
    y["a"].append(2)
    assert (result.args, result.kwargs) == (([1.0],), {"y": {"a": [1]}})


@pytest.mark.parametrize(
    "value",
    [
        3, 2.5, "text", b"bytes", None, True, 2j, range(3), dt.date(2024, 1, 1), Decimal(1),
        Path("a"), Colour.RED, np.float64(2), (1, ("a", b"b")), frozenset({1}), Plain(), len,
        BareReference(StoredObject(b"name", 3)), Latest("model"), frozen(np.zeros(LONG)),
        bytes(LONG),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_changed_is_the_object_that_was_submitted(value: Any) -> None:
    assert submitted(value).args[0] is value
    beside = submitted([1], value, z=value)
    assert (beside.args[1] is value, beside.kwargs["z"] is value) == (True, True)


def test_a_value_that_can_be_a_key_is_found_by_what_the_result_has() -> None:
    key, many = Key("a"), tuple(range(LOOKED_INTO + 1))
    assert {key: 1, many: 2}[submitted(key, many).args[0]] == 1
    assert {key: 1, many: 2}[submitted(key, many).args[1]] == 2


def test_references_inside_a_changed_list_are_the_references_that_were_submitted() -> None:
    reference, latest = BareReference(StoredObject(b"name", 3)), Latest("model")
    given = [reference, latest]
    result = submitted(given)
    given.clear()
    assert result.args[0][0] is reference
    assert result.args[0][1] == latest
    assert type(result.args[0][1]) is Latest


def test_of_a_long_call_what_could_have_been_changed_is_not_shown() -> None:
    small, large = [1], np.zeros(LONG)
    result = submitted(small, large, "x", z=large.copy())
    small.append(2)
    assert result.args[0] == [1]
    assert result.args[2] == "x"
    for absent in (result.args[1], result.kwargs["z"]):
        assert type(absent) is NotKept
        assert repr(absent) == "<NotKept: ndarray, in a call of 2.1 MB>"
        with pytest.raises(TypeError, match="not kept"):
            absent[0]
        with pytest.raises(AttributeError, match="writeable = False"):
            _ = absent.shape
        with pytest.raises(TypeError, match="not kept"):
            np.asarray(absent)
    assert "NotKept" in repr(result)


def test_of_a_long_list_or_a_long_annotated_one_nothing_is_shown() -> None:
    for of in (anything, typed):
        result = submitted([float(n) for n in range(LONG)], of=of)
        assert type(result.args[0]) is NotKept


def test_a_result_can_be_pickled_and_copied_with_its_arguments() -> None:
    result = submitted([1], z={"a": 1})
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert (again.args, again.kwargs) == (([1],), {"z": {"a": 1}})
        assert again == pickle.loads(pickle.dumps(result))


def test_results_are_told_apart_by_their_arguments_in_a_match() -> None:
    match submitted([1], "x"):
        case Succeeded(args=([1], "x")):
            pass
        case other:
            pytest.fail(repr(other))


def test_plain_arguments_are_passed_on_as_they_are() -> None:
    args, kwargs = (1, "a", None), {"b": 2.0}
    codec = CallCodec(anything, "m:f")
    given = as_submitted(codec, args, kwargs, *codec.pack(args, kwargs), {})
    assert given == (args, kwargs)
    assert (args_of(given[0]), kwargs_of(given[1])) == (args, kwargs)
    assert given[0] is args


def many(a: int, b: float = 0.0, c: str | None = None, d: Any = None) -> None: ...


def only_named(a: int, *, b: int) -> None: ...


@pytest.mark.parametrize(
    "args",
    [(1,), (1, 2.5), (1, 2.5, "three"), (-1, float("inf"), None), (1 << 63, 1.0)],
)
def test_a_call_of_atoms_alone_travels_as_any_other_does(args: tuple[Any, ...]) -> None:
    codec = CallCodec(many, "many")
    alone = codec.pack_atoms(args)
    body, frames = codec.pack(args, {})
    assert (alone, ()) == (body, frames)
    arrived, _ = codec.unpack(body, frames)
    assert alike(arrived, args)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (many, ()),
        (many, (1, 2.0, "c", 4, 5)),  # too few, too many
        (many, (1, 2.0, "c", 4)),  # the last may be anything
        (many, (np.int64(1),)),
        (many, (Colour.RED,)),
        (many, (1, 2.0, "c" * INLINE_BYTES)),
        (many, (1, 2.0, "\udc80")),
        (many, (1 << 70,)),
        (anything, (1,)),
        (only_named, (1,)),
    ],
)
def test_any_other_call_is_left_to_the_usual_way(function: Any, args: tuple[Any, ...]) -> None:
    assert CallCodec(function, "f").pack_atoms(args) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pool": "learn"}, r"'pool'; the pool of a task is that of its type, .*executor\(pool\)"),
        ({"priority": 5}, r"'priority'; .* session\.options\(priority=\.\.\.\)\.submit"),
        ({"place": 5}, r"keyword argument 'place'$"),
    ],
)
def test_an_option_among_the_arguments_is_told_its_place(given: dict[str, Any], says: str) -> None:
    def energy(x: float) -> float:
        return x

    with pytest.raises(TypeError, match=says):
        CallCodec(energy, "energy").pack((1.0,), given)
