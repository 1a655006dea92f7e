"""What values look like in words: short, found out at little cost, and never an error."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from typing import Any, ClassVar, NamedTuple

import msgspec
import pytest

from steerio.campaign.limits import Limits, Spent
from steerio.model.results import Failed, Lost, Sizes, Succeeded, TaskError, Timings
from steerio.model.showing import in_words, printable, short, steady, time_of_cores
from steerio.session.reading_results import explain


class Model(msgspec.Struct):
    weights: list[float]
    name: str = "m"


class Tuned(Model):
    rate: float = 0.1


@dataclasses.dataclass
class Run:
    model: Model
    steps: int = 1


class Point(NamedTuple):
    x: float
    y: list[float]


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "value",
    [
        1, "text", b"bytes", bytearray(b"x"), None, (), (1,), (1, 2), [], [1, [2, {"a": {3}}]], {},
        {"b": 1, "a": 2}, set(), {1}, frozenset(), frozenset({1}), Model([1.0]), Run(Model([])),
        Point(1.0, []), range(3), 1.5, "it's", Tuned([1.0], "n", 0.5),
    ],
    ids=repr,
)  # fmt: skip
def test_a_short_value_is_shown_as_it_is(value: Any) -> None:
    assert short(value) == repr(value)


def test_a_long_value_is_cut_and_not_read_to_its_end() -> None:
    for value in (
        list(range(10**6)), dict.fromkeys(range(10**6)), set(range(10**6)), "x" * 10**8,
        bytes(10**8), Model([0.5] * 10**6), frozenset(range(10**6)), tuple(range(10**6)),
    ):  # fmt: skip
        text = short(value)
        assert len(text) == 60
        assert text.endswith("...")
        assert text[:20] in (repr(value) if len(text) < 10**6 else text)


def test_a_value_that_has_no_text_is_shown_all_the_same() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert short(loop).startswith("[[[")
    assert short(Raising()) == "<Raising instance>"
    assert short(10**5000) == "<int of 16610 bits>"


@pytest.mark.borders
def test_no_text_of_a_value_says_where_it_is_in_memory() -> None:
    plain = object()
    assert in_words(plain) == short(plain) == "<object object>"
    assert in_words([plain, {"a": test_no_text_of_a_value_says_where_it_is_in_memory}]) == (
        "[<object object>, {'a': <function test_no_text_of_a_value_says_where_it_is_in_memory>}]"
    )
    assert in_words(plain.__eq__) == "<method-wrapper '__eq__' of object object>"
    assert in_words(Raising()) == "<Raising, whose repr raises RuntimeError>"
    assert steady("no memory at 0x7f00") == "no memory at 0x7f00", "that is no object's repr"


@pytest.mark.borders
def test_a_result_may_be_given_its_arguments_late() -> None:
    class Late:
        args = ([1],)
        kwargs: ClassVar[dict[str, Any]] = {"a": 2}

    given: Any = Late()
    common: Any = (3, "m:f", given, given, 1, None, Timings(), Sizes(), {}, "", {})
    result = Succeeded(*common, 4)  # pyright: ignore[reportCallIssue]
    assert (result.args, result.kwargs) == (([1],), {"a": 2})
    again = copy.deepcopy(result)
    assert (again.args, again.kwargs, again.value) == (([1],), {"a": 2}, 4)
    assert again == copy.deepcopy(again)


class Large:
    """What has a repr of a megabyte, like a table."""

    def __repr__(self) -> str:
        return "x" * 10**6


def test_results_show_what_they_hold_in_short() -> None:
    numbers = list(range(10**6))
    common = (
        3, "m:f", (numbers, Large(), 1), {"table": Large(), "n": 2}, 1, "default-1", Timings(1.0),
        Sizes(1, 2), {"a": "b"}, "propose", {},
    )  # fmt: skip
    text = repr(Succeeded(*common, Large()))
    assert text.startswith("Succeeded(task_id=3, task_type='m:f', args=([0, 1, 2, ")
    assert re.search(
        r"\.\.\., xxx[x.]+, 1\), kwargs=\{'table': xxx[x.]+, 'n': 2\}, attempt=1,", text
    )
    assert "worker='default-1', timings=Timings(created=1.0, " in text
    assert re.search(
        r"tags=\{'a': 'b'\}, cause='propose', versions=\{\}, value=xxx[x.]+, recalled=''\)$", text
    )
    assert len(text) < 800
    failed = repr(Failed(*common, TaskError("E", "why", "where")))
    assert failed.endswith(
        "error=TaskError(type='E', message='why', traceback='where', exception=None))"
    )


def test_results_of_one_argument_or_none_show_it_as_tuples_do() -> None:
    for args in ((), (1,), (1, "a")):
        result = Lost(0, "t", args, {}, 0, None, Timings(), Sizes(), {}, "", {}, "why")
        assert f"args={args!r}, kwargs={{}}," in repr(result)


def test_results_are_pickled_with_the_arguments_that_they_were_given_late() -> None:
    class Late:
        args = ("C", 2)
        kwargs: ClassVar[dict[str, int]] = {"charge": 1}

    late: Any = Late()
    result = Succeeded(1, "m:f", late, late, 1, "w", Timings(), Sizes(), {}, "", {}, 1.0)
    copied = pickle.loads(pickle.dumps(result))
    assert repr(copied) == repr(result)
    assert (copied.args, copied.kwargs) == (("C", 2), {"charge": 1})


@pytest.mark.parametrize(
    ("attempts", "text"),
    [
        (0, "task 3 m:f(1) was lost: why"),
        (1, "task 3 m:f(1) was lost after 1 attempt: why"),
        (2, "task 3 m:f(1) was lost after 2 attempts: why"),
    ],
)
def test_the_text_of_a_loss_counts_the_attempts_that_are_known(attempts: int, text: str) -> None:
    lost = Lost(3, "m:f", (1,), {}, attempts, None, Timings(), Sizes(), {}, "", {}, "why")
    assert explain(lost) == text


def test_a_limit_that_is_reached_is_told_in_words_that_count_right() -> None:
    common = (1, "m:f", (), {}, 1, "w", Timings(started=1.0, ended=2.0), Sizes(), {}, "", {})
    good = Succeeded(*common, 1.0)  # pyright: ignore[reportCallIssue]
    lost = Lost(*common, "gone")  # pyright: ignore[reportCallIssue]
    assert Spent(Limits(tasks=1)).count(good) == "1 task has ended"
    assert Spent(Limits(successes=1)).count(good) == "1 task has succeeded"
    assert Spent(Limits(failures=0)).count(lost) == "1 task did not succeed (limit 0)"
    spent = Spent(Limits(tasks=2))
    assert [spent.count(good), spent.count(lost)] == ["", "2 tasks have ended"]
    assert repr(spent) == "<Spent 2 tasks, 1 failure, 2.0 worker s>"


def test_the_time_of_cores_counts_right() -> None:
    assert [time_of_cores(count) for count in (1.0, 1.5)] == ["1 core's time", "1.5 cores' time"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 計算 5\N{NO-BREAK SPACE}°C", "plain ä 計算 5\N{NO-BREAK SPACE}°C"),
        ("\x1b[31mred\x07\x9b2J\r", "\\x1b[31mred\\x07\\x9b2J\\r"),
        ("a\tb\nc", "a\tb\\nc"),
        ("\u202eback \udc80", "\\u202eback \\udc80"),
    ],
)
def test_a_terminal_heeds_nothing_of_a_text_that_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text, lines=True) == shown.replace("\\n", "\n")


def test_a_text_without_control_characters_is_printed_as_it_is() -> None:
    assert printable("the mesh of Grüneisen") == "the mesh of Grüneisen"
