"""What workers see of a real device, and that it is free again when they have gone.

Skipped where there is no NVIDIA device, or no torch to use it with.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import steerio
from steerio import Cancelled, TaskProgress, Workers
from steerio.cli.commands import steerio as command
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.model.places import WorkerNeeds, say_bytes
from steerio.node.probe import probe
from steerio.session.session import Session
from tests.real.on_device import HELD_BYTES, free_bytes, hold_memory, look, look_together

DEVICES = {d.id: d for d in probe().accelerators if d.vendor == "nvidia"}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
SOON_S = 90.0
"""A bound for what takes far less once torch was read from disk."""

pytestmark = [
    pytest.mark.skipif(not DEVICES, reason="takes an NVIDIA device that may be used"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="takes torch"),
    pytest.mark.skipif(CORES < 3, reason="takes three cores: two workers', the campaign's"),
    pytest.mark.timeout(150),
]


def check(found: dict[str, Any]) -> None:
    """Check that one device was seen, the one that was told, and that it computes."""
    assert found["devices"] == 1, found
    assert found["visible"] in DEVICES, found
    assert found["visible"].partition("-")[2] == found["uuid"].removeprefix("GPU-"), found
    assert found["sum"] == 64 * 64 * 64 * 4, found


def test_the_device_is_shown_as_its_driver_knows_it() -> None:
    asked = ["nodes", "--explain", "--workers", "a=1:gpus=1"]
    shown = CliRunner().invoke(command, asked, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert re.search(r"a-1: .*nvidia", shown.output), shown.output
    assert any(f"CUDA_VISIBLE_DEVICES={id_}" in shown.output for id_ in DEVICES), shown.output
    smi = shutil.which("nvidia-smi")
    if smi is None:
        pytest.skip("no nvidia-smi to compare with")
    fields = "--query-gpu=uuid,name,memory.total,pci.bus_id"
    told = subprocess.run(
        [smi, fields, "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True
    )
    boards = [[cell.strip() for cell in line.split(",")] for line in told.stdout.splitlines()]
    compared = 0
    for uuid, name, megabytes, bus in boards:
        if uuid not in DEVICES:
            continue  # cut into slices, or not ours to use
        folder = Path("/sys/bus/pci/devices") / bus.lower()[-len("0000:00:00.0") :]
        numa = folder / "numa_node"
        numa_node = numa.read_text().strip() if numa.exists() else "-1"
        row = next(line for line in shown.output.splitlines() if f"{uuid} " in line)
        cells = [cell.strip() for cell in re.split("[│|]", row)]
        assert name in cells, row
        assert say_bytes(DEVICES[uuid].memory_bytes) in cells, row
        assert DEVICES[uuid].memory_bytes >> 20 == int(megabytes)
        assert ("?" if numa_node == "-1" else numa_node) in cells, row
        compared += 1
    assert compared or all(device.lone for device in DEVICES.values()), boards


async def test_two_halves_are_of_one_device_and_on_cores_of_their_own(tmp_path: Path) -> None:
    workers = {"default": Workers(2, gpus=0.5)}
    async with steerio.open_session(workers=workers) as session, asyncio.timeout(SOON_S):
        first, second = await session.gather(
            *(session.submit(look_together, 2, tmp_path) for _ in range(2))
        )
    for found in (first, second):
        check(found)
        near = set(DEVICES[found["visible"]].cores)
        assert len(near) < 3 or set(found["cores"]) <= near, found
    assert first["pid"] != second["pid"]
    assert first["uuid"] == second["uuid"]
    assert (len(first["cores"]), len(second["cores"])) == (1, 1)
    assert first["cores"] != second["cores"]


async def test_who_asks_for_no_device_sees_none_beside_one_who_does() -> None:
    workers = {"default": 1, "learn": Workers(1, gpus=1)}
    async with steerio.open_session(workers=workers) as session, asyncio.timeout(SOON_S):
        found, learner = await session.gather(
            session.submit(look), session.submit(steerio.task(pool="learn")(look))
        )
    check(learner)
    assert (found["devices"], found["visible"]) == (0, "-1")
    assert found["cores"] != learner["cores"]


async def test_a_limit_of_memory_leaves_a_worker_its_device() -> None:
    """CUDA reserves more addresses than there is memory: they do not count."""
    workers = {"default": Workers(1, gpus=1, memory="16G")}
    async with steerio.open_session(workers=workers) as session, asyncio.timeout(SOON_S):
        check(await session.run(look))


async def test_a_worker_forked_with_torch_loaded_uses_the_device() -> None:
    workers = {"default": Workers(1, gpus=1)}
    opened = steerio.open_session(workers=workers, preload=["torch"])
    async with opened as session, asyncio.timeout(SOON_S):
        before = await session.run(look)
        with pytest.raises(steerio.TaskLost):
            await session.options(retries={"lost": 0}).run(os._exit, 3)
        after = await session.run(look)
    for found in (before, after):
        check(found)
        assert found["warm"], "torch came with the fork"
    assert before["pid"] != after["pid"]
    assert before["cores"] == after["cores"]


async def test_a_module_that_opens_the_device_is_refused_and_another_pool_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "opens_cuda.py").write_text("import torch\ntorch.zeros(1, device='cuda')\n")
    hosting = Hosting(
        BrokerSetup(
            workers={"default": 1, "opens": 1},
            needs={"default": WorkerNeeds(gpus=1)},
            preload={"default": ["torch"], "opens": ["opens_cuda"]},
        )
    )
    await hosting.start()
    try:
        session = Session(await hosting.join("test"), None)
        try:
            async with asyncio.timeout(SOON_S):
                with pytest.raises(steerio.TaskLost) as raised:
                    await session.run(steerio.task(pool="opens")(os.getpid))
                found = await session.run(look)
        finally:
            session.close()
    finally:
        await hosting.close()
    told = str(raised.value)
    assert "preloading opens_cuda is refused" in told
    assert "opens /dev/nvidia" in told
    assert "initialises CUDA" in told
    check(found)
    assert found["warm"]


async def test_what_a_cancelled_task_held_of_the_device_is_free_again(tmp_path: Path) -> None:
    workers = {"default": Workers(2, gpus=0.5)}
    async with (
        steerio.open_session(workers=workers) as session,
        session.events(TaskProgress) as events,
        asyncio.timeout(SOON_S),
    ):
        before = await session.run(free_bytes)
        if before < 2 * HELD_BYTES:
            pytest.skip("others use the device, and leave too little of its memory")
        task = session.submit(hold_memory)
        holder = int((await anext(events)).message)
        assert before - await session.run(free_bytes) > HELD_BYTES // 2
        task.cancel()
        assert isinstance(await task.result(), Cancelled)
        # the driver frees it as the process ends, which is not for us to see
        while before - await session.run(free_bytes) > HELD_BYTES // 2:
            pass
        found = await session.gather(
            *(session.submit(look_together, 2, tmp_path) for _ in range(2))
        )
    for each in found:
        check(each)
        assert each["pid"] != holder
