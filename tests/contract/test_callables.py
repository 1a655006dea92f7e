"""What a callable is called, how it runs, and whether two processes have the same."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from steerio.edge.encoding.annotations import hints_of
from steerio.edge.encoding.callables import fingerprint, is_same, kind_of, name_of
from steerio.session.task_code import bindings_of
from steerio.session.task_type import KEPT, as_task_type
from steerio.worker.loading import holds_state

pytestmark = pytest.mark.borders

RATE = 2.0
KNOWN = {"a": 1}


class Base:
    """Has methods."""

    x: str = ""

    def __init__(self, x: int = 0) -> None:
        self.x = str(x)

    @classmethod
    def make(cls) -> str:
        """Name the class."""
        return cls.__name__

    async def __call__(self, x: float) -> float:
        """Return it."""
        return x

    def each(self) -> Any:
        """Yield."""
        yield self


class Derived(Base):
    """Inherits them."""


def test_names_say_what_is_called() -> None:
    here = __name__
    assert name_of(Base) == f"{here}:Base"
    assert name_of(Base().each) == f"{here}:Base.each"
    assert name_of(Derived.make) == f"{here}:Derived.make"
    assert name_of(Derived()) == f"{here}:Derived"
    assert name_of(functools.partial(Base().each)) == f"{here}:partial(Base.each)"
    assert (name_of(str.upper), name_of("a".upper)) == ("builtins:str.upper", "builtins:str.upper")
    assert (name_of(len), name_of(Counter.fromkeys)) == (
        "builtins:len",
        "collections:Counter.fromkeys",
    )
    one, other = (lambda: 1), (lambda: 2)  # fmt: skip
    assert name_of(one) == name_of(other), "of one line"
    assert name_of(one).endswith(f"<lambda of line {one.__code__.co_firstlineno}>")


def test_kinds_and_annotations_are_those_of_the_function_that_is_written() -> None:
    assert [kind_of(f) for f in (Base(), functools.partial(Base()), asyncio.sleep)] == (
        ["coroutine"] * 3
    )
    assert [kind_of(f) for f in (Base().each, functools.partial(Base().each))] == ["generator"] * 2
    assert hints_of(Base()) == {"x": float, "return": float}
    assert hints_of(Base) == {"x": int}, "of what makes it, not of its attributes"
    assert hints_of(functools.partial(Base(), 1)) == {"x": float, "return": float}


def test_methods_of_classes_are_made_anew_and_the_same() -> None:
    assert is_same(Base.make, Base.make)
    assert not is_same(Base.make, Derived.make)
    base: Any = Base()
    assert not is_same(base.each, base.each), "what it holds may change"


def test_functions_depend_on_what_their_names_stand_for() -> None:
    made: dict[str, Any] = {"Path": Path, "RATE": 1, "KNOWN": {}, "__name__": "__main__"}
    script = """
def rate(x: float) -> Path: return x * RATE
def twice(x, *, times=2): return rate(x) * times
def known(): return KNOWN
def calls_known(): return known()
def default(x=[]): return x
"""
    exec(script, made)
    held = bindings_of(made["twice"])
    assert held is not None
    assert held.holds()
    for name, value in (("RATE", 2), ("rate", len), ("rate", made["rate"]), ("RATE", 1)):
        made[name] = value
        assert held.holds() == (made["RATE"] == 1 and made["rate"] is not len)
    made["twice"].__kwdefaults__["times"] = 3
    assert not held.holds()
    made["twice"].__kwdefaults__ = {"times": 2}
    held = bindings_of(made["twice"])
    assert held is not None
    made["twice"].__kwdefaults__ = {"times": 4}
    assert not held.holds()
    held = bindings_of(made["twice"])
    assert held is not None
    made["rate"].offset = 1
    assert not held.holds(), "an attribute of a function that it calls"
    assert [bindings_of(made[name]) for name in ("known", "calls_known", "default")] == [None] * 3


def test_functions_hold_what_a_task_may_change_in_them() -> None:
    def inner(x: int) -> int:
        return inner(x - 1) if x else 0

    def around(function: Any) -> Any:
        return lambda *args: function(*args, 1)

    @functools.cache
    def remembers(x: int) -> int:
        return x

    count = [0]

    def counts() -> int:
        return count[0]

    for stays in (
        len,
        inner,
        around(inner),
        around(remembers),
        around(as_task_type(inner)),
        Base.make,
    ):
        assert not holds_state(stays), stays
    partial = functools.partial(inner, 1)
    for changes in (Base(), Base().each, partial, count.append, counts, around(counts)):
        assert holds_state(changes), changes


def test_no_more_task_types_are_kept_than_are_said() -> None:
    from steerio.session import task_type

    for _ in range(2 * KEPT):
        kind = as_task_type(eval("lambda: 1"))
        assert kind.codec is as_task_type(kind.function).codec
    assert len(task_type._plain) <= KEPT
    assert as_task_type(json.dumps) is as_task_type(json.dumps)
    assert as_task_type(len) is as_task_type(len)
    data = bytearray(10)
    holding: Any = lambda data=data: data  # noqa: E731 - one that is not kept
    assert as_task_type(holding) is not as_task_type(holding)
    assert len(task_type._codecs) <= KEPT


FUNCTION = """
def work(x):
    if x in {"a", "b", "c", "d"}:
        return [y for y in x]
    return %s
"""


PROGRAM = """
import steerio

def steps(x):
    yield ["true"]

work = steerio.executable(%s)(steps).function
"""


def test_another_process_finds_the_same_code(tmp_path: Path) -> None:
    script = (
        "import json, work, sys; from steerio.edge.encoding.callables import fingerprint; "
        "print(json.dumps(fingerprint(work.work).hex()))"
    )

    def digest(seed: int, *options: str) -> bytes:
        path = os.pathsep.join([str(tmp_path), *sys.path])
        # A file that changed within a second, and is as long, is not compiled again.
        env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(seed)}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, *options, "-c", script]
        output = subprocess.run(command, env=env, check=True, capture_output=True).stdout
        return bytes.fromhex(json.loads(output))

    (tmp_path / "work.py").write_text(FUNCTION % "x")
    first = digest(1)
    assert first
    assert digest(2) == first
    assert digest(1, "-O") == b"", "where code may differ by right"
    (tmp_path / "work.py").write_text("\n# moved\n" + FUNCTION % "x")
    assert digest(3) == first, "where it stands does not matter"
    (tmp_path / "work.py").write_text(FUNCTION % "'other'")
    assert digest(1) != first
    (tmp_path / "work.py").write_text(PROGRAM % "env={'A': '1'}")
    first = digest(1)
    (tmp_path / "work.py").write_text(PROGRAM % "env={'A': '2'}")
    assert digest(1) != first != b"", "the setting of an executable is part of it"
    assert fingerprint(test_another_process_finds_the_same_code) == b"", "pytest rewrites it"
    assert fingerprint(len) == fingerprint(json.dumps) == fingerprint(pytest.raises) == b""
