"""What users put into messages is bounded: texts are cut with a word, other things refused."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from steerio.errors import UsageError
from steerio.model.bounds import (
    LONGEST_S,
    NAME_CHARACTERS,
    REASON_CHARACTERS,
    TAGS_CHARACTERS,
    cut,
    named,
    real,
    said,
    seconds,
    tagged,
)
from steerio.model.objects import check_number
from steerio.model.places import WorkerNeeds

pytestmark = pytest.mark.borders


class Text(str):
    """A text of a class of its own, which no message has a word for."""

    __slots__ = ()


def test_a_text_that_is_too_long_is_cut_in_its_middle_with_a_word_of_how_much() -> None:
    assert cut("short", 5) == "short"
    text = cut("a" * 60 + "b" * 40, 40)
    assert text == "a" * 30 + " [... 60 characters cut ...] " + "b" * 10


def test_what_is_said_is_a_text_of_no_more_than_its_bound() -> None:
    assert type(said(Text("why"), "the reason")) is str
    assert "characters cut" in said("x" * (REASON_CHARACTERS + 1), "the reason")
    for wrong in (ValueError("x"), None, 3, b"why", ["why"]):
        with pytest.raises(UsageError, match="the reason must be a text, not"):
            said(wrong, "the reason")


@pytest.mark.parametrize("wrong", ["", 3, None, b"pool", "p" * (NAME_CHARACTERS + 1)])
def test_a_name_is_a_text_that_is_neither_empty_nor_long(wrong: object) -> None:
    assert named(Text("pool"), "a pool") == "pool"
    with pytest.raises(UsageError, match="a pool must be a name of 1 to 250 characters, not"):
        named(wrong, "a pool")


@pytest.mark.parametrize("wrong", [True, "3", b"3", None, 1j, [], 10**400])
def test_a_number_is_one_of_any_library_but_no_text_and_no_truth(wrong: object) -> None:
    assert (real(3, "it"), real(Decimal("0.5"), "it")) == (3.0, 0.5)
    with pytest.raises(UsageError, match="it must be a number, not"):
        real(wrong, "it")


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, 1e308, 2 * LONGEST_S])
def test_a_time_is_one_that_can_be_meant(wrong: float) -> None:
    assert (seconds(0.5, "it"), seconds(0, "it", or_zero=True)) == (0.5, 0.0)
    with pytest.raises(UsageError, match="it must be from 0 and at most"):
        seconds(wrong, "it", or_zero=True)
    for nothing in (wrong, 0):
        with pytest.raises(UsageError, match="it must be above 0 and at most"):
            seconds(nothing, "it")


def test_tags_go_from_text_to_text() -> None:
    assert tagged(None) is None
    assert tagged({}) is None
    assert tagged({Text("gen"): Text("3")}) == {"gen": "3"}
    wrong: list[Any] = [{"gen": 3}, {3: "gen"}, {"gen": None}, {"gen": b"3"}, {"gen": ["3"]}]
    for tags in wrong:
        with pytest.raises(UsageError, match=r"tags go from text to text, .* str\(\.\.\.\)"):
            tagged(tags)
    for tags in ("gen", 3, [("gen", "3")]):
        with pytest.raises(UsageError, match="tags go from name to text"):
            tagged(tags)


def test_tags_have_a_bound_all_together() -> None:
    half = TAGS_CHARACTERS // 2
    assert tagged({"a" * half: "b" * half})
    with pytest.raises(UsageError, match="may have 65536 characters in all, not 65537: give"):
        tagged({"a" * half: "b" * half, "": "c"})


def test_whole_numbers_are_such_as_messages_have_a_word_for() -> None:
    check_number("it", 2**63 - 1, least=0)
    with pytest.raises(UsageError, match="it must be a whole number from 0 on"):
        check_number("it", 2**63, least=0)
    with pytest.raises(UsageError, match="memory must be 0 or more bytes"):
        WorkerNeeds(memory_bytes=2**63)
    tags: Any = (3,)
    with pytest.raises(UsageError, match="3 is no name for a tag"):
        WorkerNeeds(tags=tags)
