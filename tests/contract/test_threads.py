"""Threads call what they are given, hold nothing of it afterwards, and keep nobody waiting."""

from __future__ import annotations

import asyncio
import threading
import weakref

import pytest

from steerio.edge.system.threads import DaemonThreads, in_thread

END_S = 60.0


class Local:
    """Something that a frame holds."""


def test_calls_are_made_in_order_and_their_values_and_errors_come_back() -> None:
    threads = DaemonThreads(1, "test")
    asked = [threads.submit(divmod, 7, number) for number in (2, 0, 3)]
    assert asked[0].result(END_S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asked[1].result(END_S)
    assert asked[2].result(END_S) == (2, 1)
    threads.close(END_S)


def test_an_error_holds_nothing_of_the_frames_that_it_came_through() -> None:
    held: list[weakref.ref[Local]] = []

    def fail() -> None:
        first = Local()
        held.append(weakref.ref(first))
        try:
            inner()
        except ValueError as error:
            raise KeyError(str(first)) from error

    def inner() -> None:
        second = Local()
        held.append(weakref.ref(second))
        raise ValueError(str(second))

    threads = DaemonThreads(1, "test")
    with pytest.raises(KeyError) as raised:
        threads.submit(fail).result(END_S)
    threads.close(END_S)
    assert raised.value.__context__ is not None
    assert [reference() for reference in held] == [None, None]


async def test_the_loop_goes_on_while_a_thread_waits() -> None:
    go_on = threading.Event()
    waiting = asyncio.ensure_future(in_thread(go_on.wait, END_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    assert await waiting


def test_a_call_that_does_not_return_is_left_behind() -> None:
    go_on = threading.Event()
    threads = DaemonThreads(1, "test")
    stuck = threads.submit(go_on.wait, END_S)
    threads.close(0.0)
    assert not stuck.done()
    go_on.set()
    assert stuck.result(END_S)
