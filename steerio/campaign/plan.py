"""The plan of a run: how a campaign is to be run, checked before anything is opened for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from steerio.campaign.campaign import Campaign
from steerio.campaign.limits import Limits, check_limits
from steerio.edge.record.durable import Durability
from steerio.errors import UsageError
from steerio.launch.mpi import Followers
from steerio.launch.node_process import NodeProcess
from steerio.launch.workers import AskedWorkers
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.session.argument_checks import check_given, check_pin

DURABILITIES = (None, "none", *(level.value for level in Durability))
"""The names of how long results survive; by default ``machine``."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a run: how to run a campaign.

    ``resume`` is the run directory of a run to go on with, ``take_over`` whether the process that
    has it is known to have ended, ``durability`` how long its results survive (``none``: they are
    not kept), ``memo`` the folders of earlier runs whose results are known, ``file`` the file of
    the campaign, if it was loaded as one. ``allow`` has the functions that workers may run.
    ``node`` is a node process that was started ahead of time, ``join`` the run directory of a
    broker to use instead of an own one, ``repl`` whether prompts may attach, ``files`` the modules
    that workers shall load from files, ``followers`` the other ranks of an MPI job. ``on_record``
    is called with the run directory once the record there has begun.
    """

    workers: AskedWorkers | int | None = None
    run_dir: Path | str | None = None
    limits: Limits | None = None
    progress: str = "auto"
    pin: bool = True
    settings: Settings | None = None
    store: StoreSetting | None = None
    random_seed: int | None = None
    allow: tuple[str, ...] | None = None
    resume: Path | str | None = None
    take_over: bool = False
    durability: str | None = None
    memo: Sequence[Path] = ()
    file: str = ""
    files: list[tuple[str, str]] = msgspec.field(default_factory=list[tuple[str, str]])
    node: NodeProcess | None = None
    join: str | None = None
    repl: bool = False
    followers: Followers | None = None
    on_record: Callable[[Path], None] | None = None


class Expecting(Protocol):
    """A watchdog, which is told each step that must end, and how long it may take."""

    def expect(self, what: str, within_s: float | None) -> None:
        """Expect a step to be over in time, in place of the last one; ``None``: at any time."""
        ...


def check_plan(campaign: object, plan: Plan, by: str) -> None:
    """Refuse a campaign or a plan that cannot be run.

    Raises:
        UsageError: it is no campaign, ``progress`` is none of the known ways, or an argument is of
            a wrong type.
    """
    if not isinstance(campaign, Campaign):
        raise UsageError(f"{by} takes an instance of a Campaign, not {campaign!r}")
    campaign._refuse_to_run_twice()  # pyright: ignore[reportPrivateUsage]
    if plan.progress not in ("auto", "live", "plain", "off"):
        raise UsageError(f"progress is auto, live, plain or off, not {plan.progress!r}")
    check_limits(plan.limits)
    if plan.durability not in DURABILITIES:
        names = ", ".join(name for name in DURABILITIES if name)
        raise UsageError(f"durability is one of {names}, not {plan.durability!r}")
    if plan.resume is not None and plan.run_dir is not None:
        raise UsageError(
            f"a run goes on in its own run directory: leave out run_dir={str(plan.run_dir)!r}, as "
            f"resume={str(plan.resume)!r} names it"
        )
    if plan.take_over and plan.resume is None:
        raise UsageError(
            "take_over goes with resume: name the run directory of the run to go on with"
        )
    check_given(resume=plan.resume)
    check_given(run_dir=plan.run_dir, settings=plan.settings, store=plan.store)
    check_pin(plan.pin)
