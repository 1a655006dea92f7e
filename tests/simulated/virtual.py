"""Tests in virtual time: tasks, and a way to write a test as a coroutine on a virtual loop."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from steerio import Session, report, task
from steerio.model.events import AnyEvent
from steerio.testing import Model, SimulatedCluster, run_virtual

E = TypeVar("E")

WALL_LIMIT_S = 60.0
"""Real seconds after which a test has failed."""


@task(pool="simulate")
def simulation(seconds: float) -> float:
    """Take so long, and return how long that was."""
    return seconds


@task(pool="learn")
def training(size: int) -> int:
    """Take a second for each of ``size``."""
    return size


@task(pool="simulate")
def reporting(steps: int) -> None:
    for step in range(steps):
        report(step / steps, f"step {step}")


@task(pool="simulate")
def counting(to: int) -> Iterator[int]:
    yield from range(to)


def as_asked(_: object, seconds: float, *__: object) -> float:
    """Let a task take as long as its argument says."""
    return seconds


AS_ASKED = {
    simulation: Model(as_asked),
    training: Model(as_asked),
    reporting: Model(1.0),
    counting: Model(1.0),
}
"""Tasks take as many seconds as their argument says."""


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test that runs on a virtual loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        run_virtual(test(*args, **kwargs), wall_limit_s=WALL_LIMIT_S)

    return run


def cluster_of(simulate: int = 2, learn: int | None = None, **options: Any) -> SimulatedCluster:
    """Return a cluster on which tasks take as long as they are asked to."""
    options.setdefault("model", AS_ASKED)
    workers = {"simulate": simulate}
    if learn is not None:
        workers["learn"] = learn
    return SimulatedCluster(workers, **options)


Scene = Callable[[SimulatedCluster, Session], Awaitable[None]]


def on_cluster(
    simulate: int = 2, learn: int | None = None, **options: Any
) -> Callable[[Scene], Any]:
    """Make ``async def test(cluster, session)`` a test on such a cluster."""

    def decorate(scene: Scene) -> Callable[[], None]:
        async def play() -> None:
            async with cluster_of(simulate, learn, **options) as cluster:
                async with cluster.session("test") as session:
                    await scene(cluster, session)

        def test() -> None:
            run_virtual(play(), wall_limit_s=WALL_LIMIT_S)

        test.__name__ = scene.__name__  # type: ignore[attr-defined]
        test.__doc__ = scene.__doc__
        return test

    return decorate


def of_kind(events: Sequence[AnyEvent], kind: type[E]) -> list[E]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]
