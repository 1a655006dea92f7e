"""A client whose loop stands still while its tasks end: all of their results wait for it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path

import pytest

import steerio
from steerio import ClientLost, Session
from tests.real import deeds
from tests.real.programs import running, steerio_command
from tests.real.test_broken_links import until
from tests.real.test_standing_broker import broker_in
from tests.real.test_strangers import node_of, seen_from_afar

FEW, MANY = 20_000, 700_000
ABSENT_S = 120.0
"""How long the client of the long test computes at least: twice the bound for silence."""
LOOK_S = 0.1


async def all_have_ended(place: Path, count: int) -> None:
    """Look on until so many tasks have ended."""
    async with steerio.connect(place / "observer.json", name="watch") as observer:
        while sum((await observer.status()).ended.values()) < count:  # noqa: ASYNC110 - of a broker
            await asyncio.sleep(LOOK_S)


def stand_still(place: Path, count: int, least_s: float, most_s: float) -> None:
    """Keep this thread, and with it its loop, until so many tasks have ended."""
    watch = threading.Thread(target=asyncio.run, args=(all_have_ended(place, count),), daemon=True)
    watch.start()
    if least_s:
        threading.Event().wait(least_s)
    watch.join(most_s)
    assert not watch.is_alive(), "not all tasks have ended in time"


def ends_of_clients(place: Path) -> set[str]:
    """Return why the clients of a broker that has ended were taken to be gone."""
    lines = (place / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if ClientLost.__name__ in line]
    return {event["reason"] for event in events}


async def comes_back(folder: Path, where: str, count: int, least_s: float, most_s: float) -> None:
    """Have a client submit tasks and stand still until they have ended; it gets every result."""
    place, afar = folder / "broker", folder / "afar"
    with broker_in(folder, "--host", "127.0.0.1") as broker:
        seen_from_afar(place, afar)
        with node_of(folder, place):
            async with steerio.connect(afar if where == "afar" else place, name="busy") as session:
                values = await _submit_and_stand_still(session, folder, count, least_s, most_s)
                assert values == Counter(range(count))
                assert session.pending == []
                assert await session.run(abs, -count) == count
                status = await session.status()
                assert status.ended == {"succeeded": count + 2}
                assert "busy" in status.clients
        log = (place / "campaign.log").read_text() + broker.output
        assert "Traceback" not in log
        assert ends_of_clients(place) == {"it left"}
        with running(*steerio_command("stop", str(place)), cwd=folder) as stop:
            assert await asyncio.to_thread(stop.status) == 0, stop
        assert await asyncio.to_thread(broker.status) == 0, broker


async def _submit_and_stand_still(
    session: Session, folder: Path, count: int, least_s: float, most_s: float
) -> Counter[int]:
    """Stand still from the moment when the broker has all tasks, and none of them has begun."""
    told: Counter[int] = Counter()
    gate = session.submit(deeds.answer_when_told, folder)
    await until((folder / "begun").exists)
    tasks = session.map(abs, [-number for number in range(count)])
    for task in tasks:
        task.add_done_callback(lambda done: told.update([done.id]))
    while (await session.status()).pools["default"].queued < count:
        pass
    (folder / "go").touch()
    stand_still(folder / "broker", count + 1, least_s, most_s)
    assert not told
    assert await gate == 42
    values = Counter(await session.gather(*tasks))
    assert set(told.values()) == {1}, "each handle is told once"
    assert len(told) == count
    return values


@pytest.mark.parametrize("where", ["here", "afar"])
async def test_every_success_reaches_a_client_that_stood_still_meanwhile(
    tmp_path: Path, where: str
) -> None:
    await comes_back(tmp_path, where, FEW, 0.0, 60.0)


@pytest.mark.stress
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("where", ["here", "afar"])
async def test_every_one_of_700_000_successes_reaches_a_client_that_computed_for_120_s(
    tmp_path: Path, where: str
) -> None:
    await comes_back(tmp_path, where, MANY, ABSENT_S, 900.0)
