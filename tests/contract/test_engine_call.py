"""The functions that an engine calls: their answers, whatever the process that they run in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.system.machine import process_space
from steerio.edge.wire.cutting import batches
from steerio.edge.wire.headers import reader
from steerio.model import messages as ms
from steerio.model.objects import StoredObject, StoreSetting
from steerio.model.tasks import TaskSpec
from steerio.worker import engine_runs
from steerio.worker.engine_call import Batch, run_call, say_ready
from steerio.worker.engine_runs import EngineSetup


def double(x: int) -> int:
    return 2 * x


def count(number: int) -> Iterator[int]:
    yield from range(number)
    raise ValueError("at its end")


def call_of(
    *runs: int, function: Any = double, unread: bool = False, **changes: Any
) -> list[Batch]:
    """Return a call of attempts with these runs, each with its run for its argument."""
    kind = "generator" if function is count else "function"
    spec = TaskSpec(f"{__name__}:{function.__name__}", "engine", kind)
    codec = CallCodec(function, spec.name, checked=True)
    messages: list[Any] = [ms.DefineTask(1, spec)]
    for run in runs:
        body, _ = codec.pack((run,), {})
        messages.append(structs.replace(ms.RunTask(run, run, 1, 1, body, 0), **changes))
    if unread:
        messages += [ms.GrantRun(run, 0) for run in runs]
    return [[header, *frames] for header, *frames in batches(messages, ())]


def told(setup: EngineSetup, call: list[Batch]) -> list[Any]:
    """Have a call run; return the words about its attempts."""
    read = reader("behind")
    answers = run_call(setup.packed(), call)
    return [message for header, *frames in answers for message, _ in read(header, frames)]


def test_a_call_tells_the_end_of_each_attempt_before_its_own() -> None:
    said = told(EngineSetup(), call_of(7, 8, 9))
    assert [(each.run, each.ended_as) for each in said] == [(run, "succeeded") for run in (7, 8, 9)]
    times = [time for each in said for time in (each.started, each.ended)]
    assert times == sorted(times)
    assert times[-1] <= 0


def test_attempts_behind_one_that_took_long_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runs, "GIVE_BACK_S", -1.0)
    first, *others = told(EngineSetup(), call_of(7, 8, 9))
    assert isinstance(first, ms.Report)
    assert others == [ms.ReturnTask(8), ms.ReturnTask(9)]


@pytest.mark.parametrize("unread", [False, True])
def test_items_come_before_the_error_that_ends_them_if_they_are_read(unread: bool) -> None:
    *items, end = told(EngineSetup(), call_of(3, function=count, unread=unread))
    assert [item.index for item in items] == ([] if unread else [0, 1, 2])
    assert (end.ended_as, end.error.message) == ("failed", "at its end")


def test_a_value_in_the_memory_of_another_host_is_refused_with_advice() -> None:
    setup = EngineSetup(store=StoreSetting(), objects="/nowhere", host="login1")
    (end,) = told(setup, call_of(7, stored=StoredObject(b"some", 9)))
    assert end.ended_as == "failed"
    assert "in the shared memory of login1" in end.error.message
    assert "'file'" in end.error.message
    (other,) = told(setup, call_of(7))  # its argument has come with the call
    assert other.ended_as == "succeeded"


def test_an_engine_is_ready_if_versions_are_the_same() -> None:
    setup = EngineSetup(space=process_space())
    assert say_ready(setup.packed(), b"") == ""
    older = structs.replace(setup, protocol=1)
    assert "install the same version on both sides" in say_ready(older.packed(), b"")
    other = structs.replace(setup, python=(3, 9))
    assert "and the session Python 3.9" in say_ready(other.packed(), b"")
