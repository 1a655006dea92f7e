"""What holds for every test: its tier, its bounds, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import is_hypothesis_test as is_given

from steerio.edge.wire.memory import MemoryRouter
from tests import leaks
from tests.own_folders import SHARED_MEMORY_VARIABLE, own_folders

TESTS = Path(__file__).parent
TIERS = ("core", "simulated", "contract", "real", "docs")
STARTS_PROCESSES = ("contract", "real", "docs")

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
SEARCH_S = {"default": 480, "thorough": 1800}[PROFILE]
"""The bound of a hypothesis test: one that fails may look for its simplest case for 300 s."""

STOCK = pytest.StashKey[leaks.Stock]()
FAILED = pytest.StashKey[bool]()

# No deadline: how long one example takes says more about the machine's other users.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    print_blob=True,
    max_examples=2000,
    stateful_step_count=200,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(PROFILE)


def pytest_configure(config: pytest.Config) -> None:
    """Mark every descendant, and give them folders that nobody else uses."""
    MemoryRouter.encodes = True  # what passes in one process passes between two
    # Workers of pytest-xdist have to collect the same tests, and some names have the seed.
    os.environ.setdefault("STRESS_SEED", str(time.time_ns() % 1_000_000))
    os.environ[leaks.TOKEN] = f"{os.getpid()}-{time.time_ns()}"
    # Failed tests' own folders stay where pytest keeps them.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    temporary, shared = own_folders(config)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    if shared is not None:
        os.environ[SHARED_MEMORY_VARIABLE] = str(shared)
    if os.geteuid() == 0:
        # Containers run tests as root, which Open MPI has to be told twice.
        os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    # a progress bar has a thread that stays
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # libuv's first loop opens a pipe that stays for the life of the process: no test's leak.
    uvloop.new_event_loop().close()


@pytest.hookimpl(optionalhook=True)  # pytest-xdist is not among what tests need
def pytest_xdist_auto_num_workers() -> int:
    """Take one more than there are cores: tests of processes wait for most of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, which is the name of its folder, and a long search as such."""
    for item in items:
        tier = tier_of(item)
        if tier not in TIERS:
            raise pytest.UsageError(
                f"{item.nodeid} is in no tier: move it into one of tests/{{{','.join(TIERS)}}}"
            )
        item.add_marker(tier)
        if isinstance(item, pytest.Function) and is_given(item.obj):
            item.add_marker(pytest.mark.timeout(SEARCH_S))
            if PROFILE == "thorough":
                item.add_marker("stress")


def tier_of(item: pytest.Item) -> str:
    """Name the folder below tests/ that a test is in."""
    return item.path.relative_to(TESTS).parts[0]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Take stock before any fixture of the test is set up."""
    item.stash[FAILED] = False
    leaks.KILLED.clear()
    item.stash[STOCK] = leaks.take_stock(whole_machine=tier_of(item) in STARTS_PROCESSES)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Let an async test fail if tasks that it started outlive it."""
    if isinstance(item, pytest.Function) and "asyncio" in item.keywords:
        with pytest.MonkeyPatch.context() as patch:
            owner, name = (
                (item.obj.hypothesis, "inner_test") if is_given(item.obj) else (item, "obj")
            )
            test = ending_within(limit_s(item), getattr(owner, name))
            patch.setattr(owner, name, leaks.leaving_no_tasks(test))
            return (yield)
    return (yield)


def limit_s(item: pytest.Item) -> float:
    """Return the bound of a test, in seconds, as pytest-timeout understands it."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        return float(marker.args[0] if marker.args else marker.kwargs["timeout"])
    return float(item.config.getoption("timeout") or item.config.getini("timeout"))


def ending_within(
    limit_s: float, test: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Cancel an async test that takes too long, so that its traceback shows where it waits.

    pytest-timeout alone does not end it: what a signal's handler raises is lost in uvloop.  It
    comes second, for a test that blocks the loop.
    """

    @functools.wraps(test)
    async def bounded(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(0.8 * limit_s):
            await test(*args, **kwargs)

    return bounded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember a failure: its traceback keeps alive what the test held."""
    report = yield
    item.stash[FAILED] |= report.failed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Compare stocks once every fixture of the test is torn down."""
    yield
    whole_machine = tier_of(item) in STARTS_PROCESSES
    before = item.stash[STOCK]
    left = [] if item.stash[FAILED] else leaks.left_behind(before, whole_machine=whole_machine)
    killed = leaks.kill_strays(before) if whole_machine else []
    if killed and item.stash[FAILED]:
        item.add_report_section("teardown", "left running", "killed:\n" + "\n".join(killed))
    if left:
        pytest.fail("the test left behind:\n  " + "\n  ".join(left), pytrace=False)
