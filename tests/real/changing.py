"""A script whose functions, objects and globals change between calls; run as ``__main__``.

Each check is given a session, which its caller opens in one way or another.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import steerio
from steerio import Session

RATE = 1
STATE = {"k": 1}


class Model:
    """Equal to all of its kind."""

    scale = 1

    def __init__(self, w: float) -> None:
        self.w = w

    def __eq__(self, other: object) -> bool:
        return type(other) is Model

    def __hash__(self) -> int:
        return 1

    def predict(self, x: float) -> float:
        return self.w * x * self.scale

    def __call__(self, x: float) -> float:
        return self.w + x

    def same(self) -> Model:
        return self


class Struct(msgspec.Struct, frozen=True):
    w: float
    unit = 1

    def __call__(self, x: float) -> float:
        return self.w * x * self.unit


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: str  # named like the parameter, and of another type
    w: float

    def __call__(self, x: float) -> float:
        return self.w * x


def reads(x: float) -> Any:
    return RATE * x, STATE["k"]


def helper() -> int:
    return RATE


def calls(x: float) -> float:
    return helper() + x


@steerio.task
def task_that_calls(x: float) -> float:
    return calls(x)


def with_default(x: float, known: list[float] = [1]) -> float:  # noqa: B006 - it is what is tested
    return known[-1] * x


async def methods(session: Session) -> None:
    model = Model(2)
    assert await session.run(model.predict, 2.0) == 4
    model.w = 10
    assert await session.run(model.predict, 2.0) == 20
    assert await session.run(Model(5).predict, 2.0) == 10, "an equal one is another one"
    assert (await session.run(Model(5), 1.0), await session.run(Model(6), 1.0)) == (6, 7)
    assert (await session.run(Struct(3), 2.0), await session.run(Struct(4), 2.0)) == (6, 8)
    assert (await session.run(Frozen("", 3), 2.0), await session.run(Frozen("", 4), 2.0)) == (6, 8)


async def attributes_of_classes(session: Session) -> None:
    model, struct = Model(1), Struct(1)
    tasks = []
    for scale in (1, 2, 3, 2):
        Model.scale = Struct.unit = scale
        tasks += [session.submit(model.predict, 1.0), session.submit(struct, 1.0)]
    Model.scale = Struct.unit = 7
    assert await session.gather(*tasks) == [1, 1, 2, 2, 3, 3, 2, 2], "each at its submit"
    back = await session.submit(model.same)
    assert type(back) is Model
    assert Model.scale == 7, "what came back has changed nothing here"
    Model.offset = 3  # type: ignore[attr-defined]
    assert await session.run(lambda: hasattr(Model, "offset"))
    del Model.offset  # type: ignore[attr-defined]
    assert not await session.run(lambda: hasattr(Model, "offset"))
    Model.scale = Struct.unit = 1


async def globals_of_the_script(session: Session) -> None:
    global RATE, helper  # noqa: PLW0603 - it is what is tested
    assert await session.run(reads, 2.0) == (2, 1)
    assert await session.run(task_that_calls, 2.0) == 3
    RATE, STATE["k"] = 5, 7
    assert await session.run(reads, 2.0) == (10, 7)
    assert await session.run(calls, 2.0) == 7
    assert await session.run(task_that_calls, 2.0) == 7
    before = helper
    helper = lambda: 100  # noqa: E731 - as a cell of a notebook is run again
    assert await session.run(task_that_calls, 2.0) == 102
    helper, RATE, STATE["k"] = before, 1, 1
    assert await session.run(task_that_calls, 2.0) == 3


async def partials_closures_defaults(session: Session) -> None:
    known = {"a": 1.0}
    inner = functools.partial(lambda known, times, x: known["a"] * times * x, known)
    partial = functools.partial(inner, 2)
    assert await session.run(partial, 3) == 6
    known["a"] = 2.0
    assert await session.run(partial, 3) == 12
    offset = 1

    def closure(x: float) -> float:
        return offset + x

    assert await session.run(closure, 1) == 2
    offset = 2
    assert await session.run(closure, 1) == 3
    assert await session.run(with_default, 2.0) == 2
    with_default.__defaults__[0].append(9)  # type: ignore[index]
    assert await session.run(with_default, 2.0) == 18
    with_default.__defaults__ = ([3],)
    assert await session.run(with_default, 2.0) == 6
    with_default.__defaults__ = ([1],)


async def maps_and_boards(session: Session) -> None:
    model = Model(1)
    tasks = session.map(model.predict, [1.0, 2.0])
    model.w = 2
    again = session.map(model.predict, (float(x) for x in (1, 2)))
    model.w = 3
    assert await session.gather(*tasks, *again) == [1, 2, 2, 4]
    options = session.options(priority=1, retries={"failed": 1})
    state = {"tries": 0}

    def fails_once(folder: str) -> int:
        with contextlib.suppress(FileExistsError):
            (Path(folder) / "tried").touch(exist_ok=False)
            raise ValueError(folder)
        return state["tries"]

    with tempfile.TemporaryDirectory() as folder:
        retried = options.submit(fails_once, folder)
        state["tries"] = 5
        assert await retried == 0, "a retry runs what was submitted"


async def references(session: Session) -> None:
    if session.store.setting.threshold_bytes is None:
        return
    stored = await session.put(np.ones(10))
    times = functools.partial(lambda values, x: float(values.sum()) * x, stored)
    assert await session.run(times, 2) == 20
    assert await session.gather(*session.map(times, [1, 2])) == [10, 20]
    versions = session.versions("model")
    await versions.publish([1])
    newest = functools.partial(lambda values: values[0], versions.latest)
    assert await session.run(newest) == 1
    await versions.publish([2])
    assert await session.run(newest) == 2, "as of the start of the task, not of the first"


CHECKS = (
    methods,
    attributes_of_classes,
    globals_of_the_script,
    partials_closures_defaults,
    maps_and_boards,
    references,
)


class Campaign(steerio.Campaign):
    """Hands out a method from a board, with the object as it is then, and counts by its name."""

    workers = {"default": 1}  # noqa: RUF012 - as campaigns are written

    def __init__(self) -> None:
        self.model = Model(0)
        self.board = steerio.Board(self.model.predict, [1.0, 2.0, 3.0])
        self.values: list[float] = []

    @steerio.on_success(Model(0).predict)
    async def record(self, result: steerio.Succeeded) -> None:
        self.values.append(result.value)
        self.model.w += 1
        if len(self.values) == 3:
            self.stop()


async def main(run_dir: str) -> None:
    for _ in range(1 if run_dir else 2):  # a session after another gets nothing of that
        opened = (
            steerio.connect(run_dir) if run_dir else steerio.open_session(workers={"default": 1})
        )
        async with opened as session:
            for check in CHECKS:
                await check(session)


if __name__ == "__main__":
    asyncio.run(main(*(sys.argv[1:] or [""])))
    if not sys.argv[1:]:
        campaign = steerio.run(Campaign())
        assert campaign.values in ([0, 0, 3], [0, 2, 6]), campaign.values
    sys.stdout.write("all held\n")
