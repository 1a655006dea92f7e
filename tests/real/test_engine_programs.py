"""Parsl, Dask and MPI themselves serve pools: each alone, and in one campaign beside workers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.real.programs import python, running

WITHIN_S = 300.0
"""Longest run: these programs take seconds to load, and more where others compute."""
MPI = {
    "MPI4PY_MPIABI": "openmpi",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
"""Has mpi4py find Debian's Open MPI, which then starts processes for any user."""
PATH = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
"""Has Parsl find its own commands, as in an environment that is activated."""

ENGINES = """
import contextlib
import logging

import steerio


@contextlib.contextmanager
def parsl():
    from parsl.concurrent import ParslPoolExecutor
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    htex = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=1e-6,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    with ParslPoolExecutor(Config([htex], run_dir="parsl", initialize_logging=False)) as executor:
        yield executor


@contextlib.contextmanager
def dask():
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            yield client.get_executor()


@contextlib.contextmanager
def mpi():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor(2) as executor:
        yield executor


@contextlib.contextmanager
def served(*names):
    logging.getLogger("parsl").setLevel(logging.ERROR)
    with contextlib.ExitStack() as opened:
        yield {
            name: steerio.OnExecutor(opened.enter_context(globals()[name]()), slots=2)
            for name in names
        }
"""

WORK = """
import os

import numpy as np


def double(x):
    return 2 * x


def process_id():
    return os.getpid()


def total(values):
    return float(values.sum()), values * 2


def count(number):
    yield from range(number)


def fail(what):
    raise ValueError(what)


def end_process(mark):
    if not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return os.getpid()
"""

ALONE = """
import asyncio
import sys

import numpy as np

import steerio
import work
from engines import served


async def use(name, on):
    async with steerio.open_session(workers={name: on}) as session:
        double, process_id, total, count, fail = (
            steerio.task(each, pool=name)
            for each in (work.double, work.process_id, work.total, work.count, work.fail)
        )
        tasks = [session.submit(double, x) for x in range(300)]
        assert [await each for each in tasks] == [2 * x for x in range(300)]
        factor = 3
        assert await session.submit(steerio.task(lambda x: x * factor, pool=name), 5) == 15
        values = np.arange(300_000.0)
        for given in (values, await session.put(values)):
            summed, doubled = await session.submit(total, given)
            assert summed == values.sum() and (doubled == 2 * values).all()
        assert [x async for x in session.stream(count, 30)] == list(range(30))
        try:
            await session.submit(fail, "on purpose")
        except steerio.TaskFailed as error:
            assert isinstance(error.__cause__, ValueError) and "in fail" in str(error)
        else:
            raise AssertionError("it failed")
        waiting = [session.submit(double, x) for x in range(50)]
        session.cancel(waiting[25:])
        assert [await each for each in waiting[:25]] == [2 * x for x in range(25)]
    print(f"{name} has served.", flush=True)


if __name__ == "__main__":
    with served(sys.argv[1]) as on:
        asyncio.run(use(sys.argv[1], on[sys.argv[1]]))
"""

TOGETHER = """
import sys

import steerio
import work
from engines import served
from steerio import Campaign, agent, on_success

NAMES = sys.argv[1:]
WORK = {name: steerio.task(work.process_id, pool=name) for name in [*NAMES, "native"]}


class Together(Campaign):
    def __init__(self):
        self.by_pool = {name: set() for name in WORK}

    @agent
    async def begin(self):
        handles = {name: [self.submit(kind) for _ in range(50)] for name, kind in WORK.items()}
        for name, each in handles.items():
            for handle in each:
                self.by_pool[name].add(await handle)


if __name__ == "__main__":
    with served(*NAMES) as on:
        done = steerio.run(Together(), workers={"native": 2, **on}, run_dir="run", progress="off")
    found = [process for processes in done.by_pool.values() for process in processes]
    assert all(done.by_pool.values()) and len(found) == len(set(found)), done.by_pool
    print(f"{len(done.by_pool)} pools have served.", flush=True)
"""


def missing(name: str) -> str:
    """Say why an engine cannot be tested here, or return an empty text."""
    package = {"mpi": "mpi4py", "dask": "distributed"}.get(name, name)
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed: pip install {package}"
    if name == "mpi" and shutil.which("mpiexec.openmpi") is None:
        return "there is no Open MPI: apt-get install openmpi-bin"
    return ""


def need(*names: str) -> None:
    """Skip a test of engines that are not here."""
    for name in names:
        if reason := missing(name):
            pytest.skip(reason)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return one with the programs."""
    for name, text in {
        "engines": ENGINES,
        "work": WORK,
        "alone": ALONE,
        "together": TOGETHER,
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.timeout(WITHIN_S + 60)
@pytest.mark.parametrize("name", ["parsl", "dask", "mpi"])
def test_a_program_serves_a_pool(folder: Path, name: str) -> None:
    need(name)
    env = MPI if name == "mpi" else {}
    with running(*python("alone.py", name), cwd=folder, env=PATH | env) as program:
        program.wait_for(f"{name} has served.", WITHIN_S)
        assert program.status() == 0, program


@pytest.mark.timeout(WITHIN_S + 60)
def test_pools_on_three_programs_and_a_native_one_serve_one_campaign(folder: Path) -> None:
    need("parsl", "dask", "mpi")
    command = python("together.py", "parsl", "dask", "mpi")
    with running(*command, cwd=folder, env=PATH | MPI) as program:
        program.wait_for("4 pools have served.", WITHIN_S)
        assert program.status() == 0, program
