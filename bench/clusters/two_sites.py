"""Short tasks of a far site against those of a near one: the latency of the link must not rule."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.ours.two_sites import FAR, NEAR
from bench.pairs import Pair, alternate
from tests.real.slow_link import LinkRefused, Profile, SlowLink, slow_link

TASKS = 1_000
TASK_S = 0.01
ROUND_S = 180.0
CLAIMS = (
    Claim(
        f"{TASKS:,} queued 10 ms tasks behind 50 ms, 1 % loss, 100 Mbit/s: tasks/s against near",
        0.8,
        0.95,
        "higher",
        "x",
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """The same tasks on two workers at each site, in turn."""
    try:
        with slow_link(Profile()) as link:
            return [CLAIMS[0].against_floor(_measured(link, effort), "tasks/s")]
    except LinkRefused as refused:
        return [CLAIMS[0].not_measured(f"no link between network namespaces: {refused}")]


def _measured(link: SlowLink, effort: Effort) -> list[Pair]:
    with Contestant("bench.ours.two_sites", link.namespace, link.here) as sites:

        def tasks_per_s(site: str) -> float:
            return sites.ask(Round(site, TASKS, TASK_S), ROUND_S)["tasks_per_s"][0]

        return alternate(partial(tasks_per_s, NEAR), partial(tasks_per_s, FAR), effort.of(6, 2))
