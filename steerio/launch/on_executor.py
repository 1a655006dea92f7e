"""Pools whose tasks an executor of another program runs, as users write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steerio.errors import UsageError
from steerio.launch.needs import describe
from steerio.launch.workers import AskedWorkers, Workers
from steerio.model.showing import short


class OnExecutor(Workers):
    """The slots of a pool whose tasks an executor of another program runs: Parsl, Dask, MPI...

    Use it in place of a number: ``workers={"simulate": 2, "dock": OnExecutor(executor, slots=8)}``.

    Args:
        executor: any with the ``submit`` of ``concurrent.futures.Executor``; or a function without
            arguments that makes one, which is then shut down at the end.
        slots: how many calls it is given at a time: as many as it has workers or, for tasks of
            milliseconds, twice as many.
        cpus, gpus, memory, tags: of each slot, as for `Workers`: which tasks it fits. The executor
            sees to it that its workers have that.

    Raises:
        UsageError: a value is malformed or out of bounds; the message names it.
    """

    __slots__ = ("executor",)

    def __init__(
        self,
        executor: Any,
        slots: int,
        *,
        cpus: int = 1,
        gpus: float = 0,
        memory: int | str = 0,
        tags: Iterable[str] = (),
    ) -> None:
        super().__init__(slots, cpus=cpus, gpus=gpus, memory=memory, tags=tags)
        if isinstance(executor, type):
            name = executor.__qualname__
            raise UsageError(
                f"OnExecutor takes an executor, or a function that makes one, and {name} is a "
                f"class: say OnExecutor(lambda: {name}(...), slots=...), with its arguments"
            )
        if not (_submits(executor) or callable(executor)):
            raise UsageError(
                "OnExecutor takes an executor, which has submit, or a function that makes one, not "
                f"{short(executor)}"
            )
        if type(slots) is not int or slots < 1:
            raise UsageError(f"an executor has 1 slot or more, not {slots!r}")
        self.executor = executor

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OnExecutor):
            return False
        mine, its = (self.executor, self.count, self.needs), (other.count, other.needs)
        return mine == (other.executor, *its)

    def __hash__(self) -> int:
        return hash((id(self.executor), self.count, self.needs))

    def __repr__(self) -> str:
        inner = [repr(self.executor), repr(self.count), *describe(self.needs)]
        return f"OnExecutor({', '.join(inner)})"

    def made(self) -> Any:
        """Return the executor, which is made if a function was given for it.

        Raises:
            UsageError: the function returns something that has no ``submit``.
            Exception: any that it raises.
        """
        if _submits(self.executor):
            return self.executor
        executor = self.executor()
        if not _submits(executor):
            raise UsageError(
                f"{short(self.executor)} is to return an executor, which has submit, and returned "
                f"{short(executor)}"
            )
        return executor


def _submits(executor: object) -> bool:
    return callable(getattr(executor, "submit", None))


def on_executors(workers: AskedWorkers) -> dict[str, OnExecutor]:
    """Return the pools whose tasks executors run, and these."""
    return {pool: asked for pool, asked in workers.items() if isinstance(asked, OnExecutor)}


def refuse_list(pools: Iterable[str], allow: Sequence[str] | None) -> None:
    """Refuse executors where a list of allowed functions holds.

    Args:
        pools: whose tasks executors run.
        allow: the functions that workers may run; ``None``: there is no list.

    Raises:
        UsageError: there are such pools and a list: an executor reads pickles, and runs any
            function.
    """
    served = sorted(pools)
    if served and allow is not None:
        raise UsageError(
            f"the pool{'s' * (len(served) > 1)} {', '.join(served)} cannot be served by "
            "OnExecutor with a list of allowed functions (allow): other programs' executors read "
            "pickles, and run any function; have workers of steerio serve it, or give no list"
        )
