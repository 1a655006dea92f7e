"""The snapshot of a run's view, made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

from msgspec import Struct, structs

from steerio.view.bins import MOST_BINS, passing
from steerio.view.campaign_news import BoardFigures
from steerio.view.pool_figures import PoolFigures, added_up
from steerio.view.run_view import RunView
from steerio.view.sketch import shown
from steerio.view.snapshot import (
    IDLE_CAUSES,
    OTHER_POOLS,
    BoardView,
    CauseView,
    EndsView,
    IdleView,
    LimitUse,
    PoolView,
    RunHeader,
    RunSnapshot,
    Series,
    TimeAxis,
    TypeView,
)
from steerio.view.task_figures import ENDS, CauseFigures, TypeFigures

MOST_POOLS, MOST_BOARDS, MOST_CAUSES, SHOWN_TYPES = 40, 40, 40, 20
TYPES_OF_CAUSE = 8
MOST_RESTARTS = 50
EARLY = 0.01
"""The share of a limit from which on the time left is estimated."""


class RunFacts(Struct, frozen=True):
    """All that the other files of a run directory say.

    Attributes:
        run: the name of the run directory; campaign: the class, or empty.
        state, live, because, joined: as in `RunHeader`.
        bounds: the limits that were set, by name.
        facts: the rest, as text.
        seconds: that the run has taken until now, if it was summed up.
        incarnation: of ``record.json``.
    """

    run: str = ""
    campaign: str = ""
    state: str = "unknown"
    live: bool = False
    because: str = ""
    joined: str = ""
    bounds: dict[str, float] = {}
    facts: dict[str, str] = {}
    seconds: float | None = None
    incarnation: int = 1


def snapshot_of(
    view: RunView, facts: RunFacts, now: float, *, gantt: bool = False, unread: int = 0
) -> RunSnapshot:
    """Return the snapshot of a view.

    Args:
        view: the view.
        facts: of the run.
        now: the time, in Unix seconds; it counts only while the run goes on.
        gantt: whether to have the rows of the Gantt in it.
        unread: lines that could not be read.
    """
    until = max(view.last_at, now) if facts.live else view.last_at
    levels = chain(view.cluster.levels(), view.boards.levels())
    with passing(levels, view.axis, until):
        return _snapshot(view, facts, now, until, gantt=gantt, unread=unread)


def _snapshot(
    view: RunView, facts: RunFacts, now: float, until: float, *, gantt: bool, unread: int
) -> RunSnapshot:
    last = view.axis.index(until)
    count = min(MOST_BINS, last + 1)
    axis = TimeAxis(view.axis.began, view.axis.width_s, count)
    widths = [axis.width_s] * count
    widths[-1] = max(until - (axis.began + last * axis.width_s), axis.width_s / 100)
    tasks = view.tasks
    types = sorted(tasks.types.values(), key=lambda kind: -kind.ends.total())
    named = tuple(kind.name for kind in sorted(types, key=lambda kind: kind.number))
    pools = view.cluster.pools
    causes = sorted(tasks.causes.values(), key=lambda cause: -cause.ended)
    return RunSnapshot(
        number=view.number,
        made_at=now,
        header=_header(view, facts, until, unread),
        axis=axis,
        pools=tuple(_pool(pools[name], until, widths) for name in sorted(pools)[:MOST_POOLS]),
        more_pools=max(0, len(pools) - MOST_POOLS),
        marks=view.marks.view(),
        boards=tuple(
            _board(campaign, board, until, widths)
            for (campaign, _), board in islice(view.boards.boards.items(), MOST_BOARDS)
        ),
        more_boards=max(0, len(view.boards.boards) - MOST_BOARDS),
        causes=tuple(map(_cause, causes[:MOST_CAUSES])),
        ends=_ends(view, facts, until, widths),
        types=tuple(_type(kind, widths) for kind in types[:SHOWN_TYPES]),
        failures=view.failures.last(),
        failure_groups=view.failures.groups(),
        reaction=tasks.reaction().spread(),
        decision=tasks.decision.spread(),
        queueing=tasks.together("wait").spread(),
        dispatch=tasks.dispatch.spread(),
        run=tasks.together("run").spread(),
        report=tasks.report.spread(),
        args_bytes=tasks.together("args_bytes").spread(),
        value_bytes=tasks.together("value_bytes").spread(),
        data_bins=_rates(tasks.data.values, widths),
        idle=_idle([pools[name] for name in sorted(pools)], widths),
        stalls=view.stalls.view(),
        versions=view.versions.view(count),
        notes=view.notes.view(),
        gantt=view.gantt.view(axis, named) if gantt else None,
    )


def _rates(values: list[float], widths: list[float]) -> Series:
    """Return sums as means over their bins."""
    return tuple(
        shown(value / width) if value else 0.0 for value, width in zip(values, widths, strict=False)
    )


def _header(view: RunView, facts: RunFacts, until: float, unread: int) -> RunHeader:
    seconds = until - view.began if facts.seconds is None else facts.seconds
    tasks = view.tasks
    successes = int(tasks.ends["succeeded"].total)
    used: dict[str, float] = {
        "tasks": tasks.ended,
        "successes": successes,
        "failures": tasks.ended - successes,
        "worker_s": round(tasks.run_s, 3),
        "wall_s": round(seconds, 3),
    }
    limits = tuple(
        LimitUse(name, used[name], bound)
        for name, bound in facts.bounds.items()
        if name in used and bound > 0
    )
    share = max((use.used / use.bound for use in limits if use.name != "failures"), default=0.0)
    left_s = seconds / share - seconds if facts.live and EARLY < share < 1 else None
    pools = view.cluster.pools.values()
    return RunHeader(
        run=facts.run,
        campaign=facts.campaign,
        state=facts.state,
        live=facts.live,
        because=facts.because,
        began=view.began,
        until=until,
        incarnation=max(view.incarnation, facts.incarnation),
        restarts=tuple(view.restarts[-MOST_RESTARTS:]),
        joined=facts.joined,
        tasks=tasks.ended,
        open_tasks=len(view.open),
        events=view.events,
        worker_s=round(tasks.run_s, 3),
        limits=limits,
        left_s=None if left_s is None else shown(left_s),
        facts=facts.facts,
        unread=unread,
        workers=sum(pool.ready.value for pool in pools),
        busy=sum(_busy(pool) for pool in pools),
        queued=sum(pool.queued.value for pool in pools),
        questions=len(view.questions) if facts.live else 0,
    )


def _busy(pool: PoolFigures) -> int:
    return min(pool.running.value, pool.ready.value)


def _pool(pool: PoolFigures, until: float, widths: list[float]) -> PoolView:
    workers = pool.ready.value
    busy = _busy(pool)
    idle = pool.idle_bins()
    expected = added_up((idle["moving"], idle["starting"]), MOST_BINS)
    at_work = added_up(
        (idle[name] for name in IDLE_CAUSES if name not in ("moving", "starting")), MOST_BINS
    )
    return PoolView(
        name=pool.name,
        workers=workers,
        busy=busy,
        idle=workers - busy,
        starting=pool.starting.value + pool.restarting.value,
        lent=pool.lent.value,
        borrowed=pool.borrowed,
        lost=pool.lost,
        queued=pool.queued.value,
        oldest_s=shown(pool.oldest_s(until)),
        paused=pool.paused,
        stalled=pool.stalled,
        failed=pool.failure,
        busy_share=shown(min(1.0, pool.busy_s / pool.ready.total)) if pool.ready.total else 0.0,
        busy_bins=_rates(pool.busy_bins(), widths),
        idle_bins=_rates(at_work, widths),
        starting_bins=_rates(expected, widths),
        lent_bins=_rates(pool.lent.values, widths),
        queued_bins=_rates(pool.queued.values, widths),
        age_bins=_ages(pool, until, widths),
        ended_bins=_rates(pool.ended.values, widths),
    )


def _ages(of: PoolFigures | BoardFigures, until: float, widths: list[float]) -> Series:
    return tuple(shown(age) for age in of.ages.ahead(until, of.since)[: len(widths)])


def _board(campaign: str, board: BoardFigures, until: float, widths: list[float]) -> BoardView:
    return BoardView(
        name=board.name,
        campaign=campaign,
        pool=board.pool,
        waiting=board.waiting.value,
        out=board.out.value,
        ended=board.ended,
        oldest_s=shown(board.oldest_s(until)),
        waiting_bins=_rates(board.waiting.values, widths),
        out_bins=_rates(board.out.values, widths),
        age_bins=_ages(board, until, widths),
    )


def _cause(cause: CauseFigures) -> CauseView:
    return CauseView(
        cause=cause.name,
        task_types=tuple(name for name, _ in cause.types.most_common(TYPES_OF_CAUSE)),
        ended=cause.ended,
        failed=cause.not_well,
        run_s=shown(cause.run_s),
        reaction=structs.replace(cause.reaction.spread(), edges=(), counts=()),
    )


def _ends(view: RunView, facts: RunFacts, until: float, widths: list[float]) -> EndsView:
    ends = view.tasks.ends
    recent, seconds = view.tasks.ends_in_last(until, view.began)
    whole_s = until - view.began
    return EndsView(
        **{name: int(ends[name].total) for name in ENDS},  # type: ignore[arg-type]
        **{f"{name}_bins": _rates(ends[name].values, widths) for name in ENDS},  # type: ignore[arg-type]
        retried=view.tasks.retried,
        rate=shown(recent / seconds) if facts.live else 0.0,
        mean_rate=shown(view.tasks.ended / whole_s) if whole_s > 0 else 0.0,
    )


def _type(kind: TypeFigures, widths: list[float]) -> TypeView:
    return TypeView(
        task_type=kind.name,
        pool=kind.pool.name,
        **{name: kind.ends[name] for name in ENDS},
        retried=kind.retried,
        open=kind.open,
        run_s=shown(kind.run_s),
        run=kind.run.spread(),
        wait=kind.wait.spread(),
        args_bytes=kind.args_bytes.spread(),
        value_bytes=kind.value_bytes.spread(),
        ended_bins=_rates(kind.ended.values, widths),
        failed_bins=_rates(kind.not_well.values, widths),
    )


def _idle(pools: Sequence[PoolFigures], widths: list[float]) -> IdleView:
    idle = [pool.idle_s() for pool in pools]
    bins = [pool.idle_bins() for pool in pools]
    by_cause = {cause: sum(one[cause] for one in idle) for cause in IDLE_CAUSES}
    by_pool = {pool.name: own for pool, own in zip(pools, idle[:MOST_POOLS], strict=False)}
    if others := idle[MOST_POOLS:]:
        by_pool[OTHER_POOLS] = {cause: sum(one[cause] for one in others) for cause in IDLE_CAUSES}
    return IdleView(
        busy_s=sum(pool.busy_s for pool in pools),
        total_s=sum(by_cause.values()),
        by_cause=by_cause,
        by_pool=by_pool,
        bins={
            cause: _rates(added_up((one[cause] for one in bins), MOST_BINS), widths)
            for cause in IDLE_CAUSES
        },
    )
