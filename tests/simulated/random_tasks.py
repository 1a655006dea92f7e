"""Tasks of random campaigns, and how they behave."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from steerio import task
from steerio.testing import Model

COUNTER = itertools.count(1)


@task
def measure(who: str, x: int) -> int:
    return x * x + 1


@task
def step(who: str, n: int) -> int:
    return n - 1


@task(pool="learn")
def add(who: str, parts: list[int]) -> int:
    return sum(parts)


@task
def draw(who: str) -> int:
    """Return another number at each call."""
    return next(COUNTER)


@task
def fail_some(who: str, x: int) -> int:
    if x % 3 == 0:
        raise ValueError(f"{x} cannot be done")
    return x


@task
def slow(who: str, x: int) -> int:
    """Take longer than it may for every third ``x``; see the model."""
    return x


@task
def flaky(who: str, x: int) -> int:
    """Fail, or take the worker down, at each first attempt; see the model."""
    return 3 * x


@task(pool="learn")
def weigh(who: str, values: list[int], x: int) -> int:
    return sum(values) * x


@task
def count_up(who: str, to: int) -> Iterator[int]:
    yield from range(to)


@task(pool="learn")
def enlarge(who: str, x: int) -> bytes:
    return bytes([x]) * 900


@task
def shrink(who: str, data: bytes) -> int:
    return len(data) + data[0]


@task(memo=True)
def cube(who: str, x: int) -> int:
    return x**3


@task(memo=True, pool="learn")
def swell(who: str, x: int) -> bytes:
    return bytes([x]) * 1500


@task(memo=True)
def sum_up(who: str, parts: list[int]) -> int:
    return sum(parts)


@task
def sleep(who: str) -> None:
    """Take for ever."""


@dataclass(frozen=True)
class Ping:
    """An event."""

    who: str
    value: int


def models(seed: int) -> dict[Any, Model]:
    """Return models for one run: attempts that fail or crash are the first of their calls."""
    tried: set[Any] = set()

    def first(kind: str) -> Callable[..., bool]:
        def is_first(_: object, *args: Any) -> bool:
            key = kind, args
            known = key in tried
            tried.add(key)
            return not known

        return is_first

    def some(random: Random, *_: Any) -> float:
        return random.choice((0.0, 0.5, random.uniform(0.1, 3.0)))

    some_fail = Model(some, fails=first("fails"), crashes=first("crashes"))
    kinds: list[Any] = [measure, step, add, draw, fail_some, weigh, enlarge, shrink]
    kinds += [cube, swell, sum_up]
    return {
        **{kind: Model(some) for kind in kinds},
        flaky: some_fail,
        slow: Model(lambda random, who, x: 100.0 if x % 3 == 0 else random.uniform(0.1, 1.0)),
        sleep: Model(1e6, value=lambda who: None),
        count_up: Model(0.2),
    }
