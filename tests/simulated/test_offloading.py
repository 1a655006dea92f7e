"""Heavy code of decisions, called in threads."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from steerio import Campaign, agent, task
from steerio.errors import UsageError
from steerio.testing import Model, simulate


@task
def one(x: int) -> int:
    return x


def heavy(x: int, *, plus: int = 0) -> tuple[int, bool]:
    return x + plus, threading.current_thread() is threading.main_thread()


def broken() -> None:
    raise LookupError("nothing there")


async def no_function() -> None: ...


def yields() -> Iterator[int]:
    yield 1


class Deciding(Campaign):
    workers: ClassVar = {"default": 1}
    found: ClassVar[list[Any]] = []


def test_a_function_is_called_in_a_thread_and_takes_no_virtual_time() -> None:
    class Heavy(Deciding):
        @agent
        async def decide(self) -> None:
            x = await self.run(one, 3)
            self.found.append(await self.offload(heavy, x, plus=4))

    Heavy.found.clear()
    run = simulate(Heavy(), model=Model(2.0))
    assert Heavy.found == [(7, False)]
    assert run.duration_s == 2.0


def test_its_error_is_raised_with_its_traceback() -> None:
    class Failing(Deciding):
        @agent
        async def decide(self) -> None:
            try:
                await self.offload(broken)
            except LookupError as error:
                self.found.append("".join(traceback.format_exception(error)))

    Failing.found.clear()
    simulate(Failing(), model=Model(1.0))
    assert "in broken" in Failing.found[0]


@pytest.mark.parametrize("wrong", [no_function, yields, task(yields), 3])
def test_only_plain_functions_are_taken(wrong: Any) -> None:
    class Wrong(Deciding):
        @agent
        async def decide(self) -> None:
            await self.offload(wrong)

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Wrong(), model=Model(1.0))
    assert caught.group_contains(UsageError, match="offload takes a plain function")
