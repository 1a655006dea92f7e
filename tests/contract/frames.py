"""What has to hold of Polars' frames; a program, as Polars never lets go of its threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from steerio.edge.encoding.values import ANY_VALUE
from tests.contract.payloads import WIRES, content

NUMBER = 10_000


def arrivals(value: Any) -> list[Any]:
    """Send a value over every wire, as memory of its own and as views."""
    body, frames = ANY_VALUE.pack(value)
    return [
        ANY_VALUE.unpack(body, wire(frames), views=views)
        for wire in WIRES
        for views in (False, True)
    ]


def pickled(value: Any) -> int:
    """Return how many bytes travel inside the pickle."""
    body, frames = ANY_VALUE.pack(value)
    return len(body) + sum(len(frame) for frame in frames if type(frame) is bytes)


def of_all_types() -> Any:
    import polars as pl

    words = ["benzene", "water"] * (NUMBER // 2)
    numbers = pl.Series(range(NUMBER))
    return pl.DataFrame(
        {
            "x": np.arange(float(NUMBER)),
            "s": words,
            "gaps": [1, None] * (NUMBER // 2),
            "when": numbers.cast(pl.Datetime("ns", "UTC")),
            "clock": numbers.cast(pl.Time),
            "category": pl.Series(words).cast(pl.Categorical),
            "choice": pl.Series(words).cast(pl.Enum(["benzene", "water"])),
            "list": [[1, 2]] * NUMBER,
            "pair": [{"a": 1, "b": "x"}] * NUMBER,
            "fixed": pl.Series([[1, 2]] * NUMBER, dtype=pl.Array(pl.Int8, 2)),
            "money": pl.Series([1] * NUMBER).cast(pl.Decimal(20, 2)),
            "nothing": [None] * NUMBER,
        }
    )


def are_not_pickled() -> None:
    frame = of_all_types()
    for place in (lambda one: one, lambda one: [one], lambda one: {"a": one}):
        assert pickled(place(frame)) < 10_000, pickled(frame)
    for arrived in arrivals(frame):
        assert arrived.schema == frame.schema
        assert arrived.equals(frame)


def have_columns_that_arrive() -> None:
    for name in ("x", "s", "category"):
        column = of_all_types()[name]
        for (arrived,) in arrivals([column]):
            assert arrived.name == name
            assert arrived.equals(column)
    assert pickled([of_all_types()["x"]]) < 1000


def arrive_where_arrow_has_no_word_for_them() -> None:
    import polars as pl

    wide = pl.DataFrame({"n": pl.Series([2**90] * NUMBER, dtype=pl.Int128)})
    assert pickled(wide) < 200
    empty = pl.DataFrame({"n": []}, schema={"n": pl.Int8})
    for frame in (wide, empty, pl.DataFrame({"n": [1]}), pl.DataFrame()):
        for arrived in arrivals(frame):
            assert arrived.schema == frame.schema
            assert arrived.equals(frame)
    plan = pl.DataFrame({"n": [1, 2]}).lazy().filter(pl.col("n") > 1)
    assert all(arrived.collect()["n"].to_list() == [2] for arrived in arrivals(plan))


def take_along_the_rows_that_are_sent() -> None:
    part = of_all_types().slice(100, 1000)
    _, frames = ANY_VALUE.pack(part.select("x", "when", "clock"))
    assert sum(len(content(frame)) for frame in frames) < 30_000
    assert all(arrived.equals(part) for arrived in arrivals(part))


def arrive_without_pyarrow() -> None:
    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # not to be imported
    frame = of_all_types()
    assert pickled([frame]) < 300
    for (arrived,) in arrivals([frame]):
        assert arrived.schema == frame.schema
        assert arrived.equals(frame)


def can_be_changed_whatever_they_came_as() -> None:
    import polars as pl

    sent = pl.DataFrame({"x": np.arange(float(NUMBER))})
    body, frames = ANY_VALUE.pack(sent)
    arrived = ANY_VALUE.unpack(body, frames, views=True)
    arrived[0, "x"] = 7.0
    assert (arrived[0, "x"], sent[0, "x"]) == (7.0, 0.0)


_CHECKS: list[Callable[[], None]] = [
    are_not_pickled,
    have_columns_that_arrive,
    arrive_where_arrow_has_no_word_for_them,
    take_along_the_rows_that_are_sent,
    arrive_without_pyarrow,
    can_be_changed_whatever_they_came_as,
]
CHECKS = {check.__name__: check for check in _CHECKS}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
