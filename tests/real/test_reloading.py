"""Workers run the code that a program has, though a module's file was changed meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.real import reloading
from tests.real.programs import python, running
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

MODULE = ("-m", "tests.real.reloading")


async def told(folder: Path, *arguments: str) -> str:
    """Return what another program is told by the workers at the broker."""
    with running(*python(*MODULE, "broker", *arguments), cwd=folder) as program:
        assert await asyncio.to_thread(program.status) == 0, program
        return program.output.partition("told: ")[2]


async def test_a_module_that_is_reloaded_is_what_workers_run(tmp_path: Path) -> None:
    with running(*python(*MODULE), cwd=tmp_path) as program:
        assert await asyncio.to_thread(program.status) == 0, program


@pytest.mark.timeout(240)
async def test_workers_that_loaded_an_earlier_state_of_a_file_load_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reloading.write("helpers", reloading.HELPERS, 1)
    reloading.write("scale", reloading.SCALE, 1)
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "default=1"):
        assert await told(tmp_path) == "1001\n"
        reloading.write("scale", reloading.SCALE, 2)
        assert await told(tmp_path) == "2001\n"
        assert await told(tmp_path, "3") == "2001\n", "which the worker has still"
        refused = await told(tmp_path, "4")
        assert "scale of scale has other code here than in the process that submitted it" in refused
        assert "reload the module there" in refused
        assert await told(tmp_path) == "4001\n"
