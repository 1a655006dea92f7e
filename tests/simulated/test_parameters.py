"""Parameters of a campaign: declared on its class, checked whoever assigns them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pytest

from steerio import Campaign, UsageError, parameter
from steerio.campaign.steered_values import parameters_of, values_of


class Search(Campaign):
    workers: ClassVar = {"default": 1}
    rate = parameter(0.1, ge=0, le=1, help="Step of the search.")
    most: float = parameter(3, le=10)
    count = parameter(5, ge=1)
    loud = parameter(False)
    mode = parameter("fast", choices=("fast", "slow"))
    size = parameter(2, choices=(1, 2, 4))


class Finer(Search):
    rate = parameter(0.01, le=0.5)


def test_they_read_as_their_values_and_are_part_of_the_state() -> None:
    search = Search()
    assert values_of(search) == {
        "rate": 0.1, "most": 3.0, "count": 5, "loud": False, "mode": "fast", "size": 2,
    }  # fmt: skip
    assert type(search.most) is float, "by its annotation"
    search.rate = 1
    assert (search.rate, type(search.rate)) == (1.0, float)
    assert search.save_state()["rate"] == 1.0
    assert Search().rate == 0.1, "another campaign's is its own"
    assert repr(parameters_of(Search)["rate"]).startswith(
        "<Parameter rate = 0.1: a number at least"
    )


def test_a_subclass_has_them_too_and_may_declare_one_anew() -> None:
    finer = Finer()
    assert (finer.rate, finer.count) == (0.01, 5)
    with pytest.raises(UsageError, match=r"Finer.rate cannot be 0.6: it is a number at most 0.5"):
        finer.rate = 0.6
    with pytest.raises(UsageError, match=r"Coarse.rate would hide a parameter: write rate = "):
        type("Coarse", (Search,), {"rate": 0.5, "__module__": __name__})


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("rate", np.float32(0.5), 0.5),
        ("rate", np.int64(1), 1.0),
        ("count", np.int64(7), 7),
        ("loud", np.bool_(True), True),
        ("mode", np.str_("slow"), "slow"),
    ],
)
def test_values_of_numpy_are_taken_as_those_of_python(name: str, value: Any, kept: Any) -> None:
    search = Search()
    setattr(search, name, value)
    assert (getattr(search, name), type(getattr(search, name))) == (kept, type(kept))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rate", -0.1, "Search.rate cannot be -0.1: it is a number at least 0 and at most 1"),
        ("rate", float("nan"), "cannot be nan"),
        ("rate", float("inf"), "cannot be inf"),
        ("rate", True, "cannot be True"),
        ("rate", "0.5", "cannot be '0.5'"),
        ("rate", None, "cannot be None"),
        ("rate", Decimal(1), "cannot be Decimal"),
        ("count", 2.0, "Search.count cannot be 2.0: it is a whole number at least 1"),
        ("count", False, "cannot be False"),
        ("loud", 1, "Search.loud cannot be 1: it is True or False"),
        ("mode", "odd", "Search.mode cannot be 'odd': it is one of 'fast', 'slow'"),
        ("mode", 1, "cannot be 1"),
        ("size", 3, "it is one of 1, 2, 4"),
    ],
)
def test_other_values_are_refused_and_the_old_one_stays(name: str, value: Any, words: str) -> None:
    search = Search()
    before = getattr(search, name)
    with pytest.raises(UsageError) as refused:
        setattr(search, name, value)
    assert words in str(refused.value)
    assert getattr(search, name) == before


@pytest.mark.parametrize(
    ("default", "options", "words"),
    [
        (None, {}, "the default of a parameter is of type bool, int, float, str, not None"),
        ([1], {}, "keep other values in attributes of their own"),
        (0.1, {"ge": 1}, r"the default of a parameter cannot be 0.1: it is a number at least 1"),
        (0.1, {"ge": 2, "le": 1}, "has no value: ge=2 is above le=1"),
        (0.1, {"ge": "0"}, "ge='0' of a parameter is no number"),
        ("a", {"ge": 1}, "of type str has no bounds"),
        ("a", {"choices": "abc"}, r"choices of a parameter are several: choices=\('abc',\)"),
        (1, {"choices": (1, "b")}, "'b' among the choices of a parameter cannot be"),
        (1, {"choices": (2, 3)}, "cannot be 1: it is one of 2, 3"),
        (1, {"help": 3}, "the help of a parameter is a text"),
    ],
)
def test_what_cannot_be_declared_is_refused(default: Any, options: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parameter(default, **options)


def test_an_annotation_names_a_type_that_a_parameter_can_have() -> None:
    body = {"__annotations__": {"sizes": "list[int]"}, "__module__": __name__}
    with pytest.raises(UsageError, match=r"Odd.sizes is a parameter, whose type is one of bool, "):
        type("Odd", (Campaign,), {**body, "sizes": parameter(1)})
    body = {"__annotations__": {"text": str}, "__module__": __name__}
    with pytest.raises(UsageError, match=r"the default of Odd.text cannot be 1: it is a text"):
        type("Odd", (Campaign,), {**body, "text": parameter(1)})


def test_a_name_of_campaigns_own_is_no_parameter() -> None:
    with pytest.raises(UsageError, match=r"would hide Campaign.run"):
        type("Odd", (Campaign,), {"run": parameter(1), "__module__": __name__})
