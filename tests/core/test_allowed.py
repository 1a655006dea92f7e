"""The functions that workers may run: by name, by module, by package, and no code by value."""

from __future__ import annotations

from typing import Any

import pytest

from steerio.errors import FunctionRefused, UsageError
from steerio.model.allowed import check_type, checked_patterns, how_allowed, parse_allowed
from steerio.model.tasks import TaskSpec


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("search:energy", "by module"),
        ("search:Model.fit", "by module"),
        ("search.inner:energy", ""),
        ("searches:energy", ""),
        ("lab:measure", "by name"),
        ("lab:other", ""),
        ("lab:measure.inner", ""),
        ("package:top", "by module"),
        ("package.a.b:deep", "by module"),
        ("packages.a:deep", ""),
        ("search:<lambda>", ""),
        ("search:make.<locals>.inner", ""),
        ("search", ""),
        ("", ""),
    ],
)
def test_a_function_is_allowed_by_its_name_its_module_or_its_package(name: str, how: str) -> None:
    assert how_allowed(name, ("search:*", "lab:measure", "package.*:*")) == how


@pytest.mark.parametrize(
    "wrong",
    [
        "search:*",
        b"search:*",
        3,
        [3],
        ["search"],
        ["*"],
        ["*:*"],
        ["a.*:f"],
        ["a:b:c"],
        ["os system:x"],
    ],
)
def test_patterns_that_name_no_functions_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="allow"):
        checked_patterns(wrong, "allow")


def test_patterns_are_read_as_they_are_given() -> None:
    assert checked_patterns(None, "allow") is None
    assert checked_patterns([], "allow") == ()
    assert checked_patterns(iter(["a:*", "b.c:D.f", "d.*:*"]), "allow") == (
        "a:*",
        "b.c:D.f",
        "d.*:*",
    )
    assert parse_allowed(None) is None
    assert parse_allowed(" a:* , b:f,") == ("a:*", "b:f")
    with pytest.raises(UsageError, match="--allow has 'a'"):
        parse_allowed("a")


def test_a_type_that_brings_its_code_is_refused_whatever_its_name() -> None:
    assert check_type(TaskSpec("m:f", "default", code=b"pickle"), None) == "by name"
    assert check_type(TaskSpec("m:f", "default"), ("m:*",)) == "by module"
    with pytest.raises(FunctionRefused, match="by value") as refused:
        check_type(TaskSpec("m:f", "default", code=b"pickle"), ("m:f",))
    assert refused.value.function == "m:f"
    with pytest.raises(FunctionRefused, match="allowed are a:f, b:"):
        check_type(TaskSpec("m:f", "default"), ("a:f", "b:*"))
    with pytest.raises(FunctionRefused, match="allowed are none"):
        check_type(TaskSpec("m:f", "default"), ())
