"""Notebooks and brokers die while tasks of detached sessions run: each result is there once."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import BrokerLost, JoinRefused, Lost, NotAllowed, UsageError
from tests.real import deeds
from tests.real.programs import Program, python, running, steerio_command
from tests.real.test_restarted_brokers import killed_and_started, wait_for_lines
from tests.real.test_standing_broker import broker_in, workers_in

TASKS = 12
NOTEBOOK = """
import asyncio, json, sys, time
import numpy
import steerio

@steerio.task(pool="simulate")
def measure(x, shift=0):
    with open("ran", "a") as ran:
        ran.write(f"{x}\\n")
    time.sleep(0.3)
    return x * x + int(numpy.sum(shift))

@steerio.task(pool="simulate")
def grow(size):
    return numpy.ones(size)

async def main(what):
    async with steerio.connect("broker", name="note book", detach=True) as session:
        if what == "submit":
            for x in range(12):
                shift = numpy.ones(100_000) if x % 3 == 0 else 0
                session.options(key=f"x{x}").submit(measure, x, shift)
            session.options(key="grown").submit(grow, 400_000)
            await session.status()
            print("submitted", flush=True)
            await asyncio.Event().wait()
        told = {}
        for task in session.earlier:
            result = await task.result()
            value = getattr(result, "value", result.ended_as)
            told[task.tags["key"]] = value if isinstance(value, str) else int(numpy.sum(value))
        print(json.dumps(told), flush=True)
        if what == "forget":
            session.forget(*session.earlier)

asyncio.run(main(sys.argv[1]))
"""


def notebook(stack: ExitStack, folder: Path, what: str) -> Program:
    """Start the program, to ``submit``, ``get`` or ``forget``."""
    (folder / "notebook.py").write_text(NOTEBOOK)
    return stack.enter_context(running(*python("notebook.py", what), cwd=folder))


def told_by(stack: ExitStack, folder: Path, what: str) -> dict[str, Any]:
    """Return the results that another session of the name finds."""
    program = notebook(stack, folder, what)
    assert program.status(within_s=100) == 0, program
    told: dict[str, Any] = json.loads(program.output.splitlines()[-1])
    return told


def stop_broker(folder: Path) -> None:
    """Have the broker end in good order."""
    with running(*steerio_command("stop", "broker"), cwd=folder) as stop:
        assert stop.status() == 0, stop


EXPECTED = {f"x{x}": x * x + (100_000 if x % 3 == 0 else 0) for x in range(TASKS)} | {
    "grown": 400_000
}


@pytest.mark.parametrize("dies", ["notebook", "notebook, then broker", "both at once"])
def test_each_result_of_a_notebook_that_died_is_there_once(tmp_path: Path, dies: str) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        node = stack.enter_context(workers_in(tmp_path, "--workers", "simulate=2"))
        first = notebook(stack, tmp_path, "submit")
        first.wait_for("submitted")
        wait_for_lines(tmp_path / "ran", 3)
        first.signal(signal.SIGKILL)
        if dies != "both at once":
            first.status()
        if dies == "notebook, then broker":
            wait_for_lines(tmp_path / "ran", 5)
        if "broker" in dies or "both" in dies:
            broker = killed_and_started(stack, tmp_path, broker)
        assert told_by(stack, tmp_path, "get") == EXPECTED
        if dies == "notebook":
            assert len((tmp_path / "ran").read_text().splitlines()) == TASKS
            broker = killed_and_started(stack, tmp_path, broker)
        assert told_by(stack, tmp_path, "forget") == EXPECTED
        assert told_by(stack, tmp_path, "get") == {}
        assert list((tmp_path / "broker" / "clients").iterdir()) == []
        stop_broker(tmp_path)
        assert node.status() == 0, node
        assert broker.status() == 0, broker


def test_a_notebook_that_is_there_goes_on_as_its_broker_dies(tmp_path: Path) -> None:
    async def go_on(stack: ExitStack, broker: Program) -> None:
        async with steerio.connect(tmp_path / "broker", name="nb", detach=True) as session:
            tasks = [session.submit(deeds.wait_and_return, n, 0.5) for n in range(6)]
            assert await tasks[0] == 0
            await asyncio.to_thread(killed_and_started, stack, tmp_path, broker)
            assert [await task for task in tasks] == list(range(6))
        async with steerio.connect(tmp_path / "broker", name="nb", detach=True) as session:
            assert [await task for task in session.earlier] == list(range(6))

    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        stack.enter_context(workers_in(tmp_path))
        asyncio.run(go_on(stack, broker))
        stop_broker(tmp_path)


def test_what_a_stopped_broker_took_along_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        stack.enter_context(workers_in(tmp_path, "--workers", "simulate=2"))
        first = notebook(stack, tmp_path, "submit")
        first.wait_for("submitted")
        wait_for_lines(tmp_path / "ran", TASKS)
        told_by(stack, tmp_path, "get")
        stop_broker(tmp_path)
        assert broker.status() == 0, broker
        stack.enter_context(broker_in(tmp_path))
        assert told_by(stack, tmp_path, "get") == EXPECTED | {"grown": "lost"}
        stop_broker(tmp_path)


def test_wrong_use_is_refused_in_words(tmp_path: Path) -> None:
    place = tmp_path / "broker"

    async def misuse() -> None:
        with pytest.raises(UsageError, match="needs a name"):
            async with steerio.connect(place, detach=True):
                raise AssertionError
        with pytest.raises(JoinRefused, match="too long for a file"):
            async with steerio.connect(place, name="é" * 50, detach=True):
                raise AssertionError
        with pytest.raises(NotAllowed, match="go on without it"):
            async with steerio.connect(place / "observer.json", name="nb", detach=True):
                raise AssertionError
        async with steerio.connect(place, name="nb", detach=True) as first:
            task = first.submit(deeds.double, 1)
            with pytest.raises(UsageError, match="is a generator"):
                first.submit(deeds.count_to, 3)
            async with steerio.connect(place, name="nb", detach=True) as second:
                assert isinstance(await task.result(), Lost)
                with pytest.raises(BrokerLost, match="has taken the name 'nb'"):
                    first.submit(deeds.double, 2)
                (same,) = second.earlier
                with pytest.raises(UsageError, match="has not ended: cancel it"):
                    second.forget(same)
                same.cancel("not needed")
                await same.result()
                second.forget(same)

    async def join_again() -> None:
        with pytest.raises(JoinRefused, match=r"nb\.ledger, byte .* or move it away"):
            async with steerio.connect(place, name="nb", detach=True):
                raise AssertionError
        (place / "clients" / "nb.ledger").rename(tmp_path / "away")
        async with steerio.connect(place, name="nb", detach=True) as session:
            assert len(session.earlier) == 0

    async def leave_two() -> None:
        async with steerio.connect(place, name="nb", detach=True) as session:
            for number in (1, 2):
                session.submit(deeds.double, number)

    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        asyncio.run(misuse())
        asyncio.run(leave_two())
        broker.signal(signal.SIGKILL)
        broker.status()
        ledger = place / "clients" / "nb.ledger"
        spoilt = bytearray(ledger.read_bytes())
        spoilt[60] ^= 1
        ledger.write_bytes(spoilt)
        broker = stack.enter_context(broker_in(tmp_path))
        asyncio.run(join_again())
        stop_broker(tmp_path)
        broker.status()
        assert "the ledger of the detached client 'nb' cannot be read" in broker.output
