"""The view of a run counts what its lines say, in any state that a record may be left in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from steerio.view.figures import all_figures, remarks
from steerio.view.run_view import RunView
from steerio.view.seen_lines import SeenAttempt, SeenEvent, SeenTask
from steerio.view.shown_view import MOST_BOARDS, MOST_POOLS, RunFacts, snapshot_of
from steerio.view.snapshot import OTHER_POOLS, RunSnapshot


def ended(number: int, at: float, **fields: Any) -> SeenTask:
    """Return the line of a task of one second that ended well."""
    plain: dict[str, Any] = {
        "task_type": "m:f",
        "pool": "a",
        "ended_as": "succeeded",
        "attempt": 1,
        "worker": "a-1",
        "node": "n",
        "cause": "Search.react",
        "created": at - 1.5,
        "queued": at - 1.5,
        "sent": at - 1.0,
        "started": at - 1.0,
        "ended": at,
    }
    return SeenTask(number, at, **{**plain, **fields})


def event(kind: str, at: float, number: int | None = None, **fields: Any) -> SeenEvent:
    plain: dict[str, Any] = {"task_type": "m:f", "pool": "a", "node": "n"}
    return SeenEvent(kind, at, task_id=number, **{**plain, **fields})


def life(number: int, at: float, worker: str = "a-1") -> list[SeenEvent]:
    """Return the events of a task that ended at a time."""
    return [
        event("TaskQueued", at - 1.5, number),
        event("TaskStarted", at - 1.0, number, worker=worker),
        event("TaskEnded", at, number, worker=worker),
    ]


def joined(
    at: float = 0.0, worker: str = "a-1", ready: int = 1, pool: str = "a"
) -> list[SeenEvent]:
    return [
        event("WorkerJoined", at, worker=worker, pool=pool),
        event("PoolChanged", at, workers=ready, pool=pool),
    ]


def shown(view: RunView, now: float, *, live: bool = True) -> RunSnapshot:
    view.settle(over=not live)
    return snapshot_of(view, RunFacts(run="r", live=live), now)


def test_a_task_is_counted_once_its_line_and_its_event_are_there() -> None:
    view = RunView(0.0)
    view.take_events([*joined(), *life(1, 3.0)[:2]])
    snapshot = shown(view, 2.5)
    (pool,) = snapshot.pools
    assert (pool.workers, pool.busy, pool.queued, snapshot.header.open_tasks) == (1, 1, 0, 1)
    view.take_tasks([ended(1, 3.0)])
    assert shown(view, 3.0).ends.succeeded == 0
    view.take_events(life(1, 3.0)[2:])
    snapshot = shown(view, 4.0)
    (pool,) = snapshot.pools
    assert (pool.busy, pool.idle, snapshot.header.open_tasks) == (0, 1, 0)
    assert snapshot.ends.succeeded == 1
    assert snapshot.idle.busy_s == pytest.approx(1.0)
    assert snapshot.idle.by_cause["no_work"] == pytest.approx(2.5)
    assert snapshot.idle.by_cause["dispatch"] == pytest.approx(0.5)  # it was free, and waited


def test_the_line_may_come_after_the_event() -> None:
    view = RunView(0.0)
    view.take_events([*joined(), *life(1, 3.0)])
    assert shown(view, 3.0).header.tasks == 0
    view.take_tasks([ended(1, 3.0)])
    assert shown(view, 3.0).header.tasks == 1


def test_a_line_without_its_event_is_counted_when_the_run_is_over() -> None:
    view = RunView(0.0)
    view.take_tasks([ended(1, 3.0), ended(2, 4.0, worker="a-2")])
    view.take_events([*joined(), *life(1, 3.0), *life(2, 4.0)[:1]])
    assert shown(view, 4.0).header.tasks == 1
    snapshot = shown(view, 4.0, live=False)
    assert (snapshot.header.tasks, snapshot.header.open_tasks) == (2, 0)
    assert snapshot.header.until == 4.0


def test_a_line_whose_event_is_long_due_is_counted() -> None:
    view = RunView(0.0)
    view.take_tasks([ended(1, 3.0)])
    view.take_events([*joined(), event("NodeJoined", 60.0, workers={})])
    assert shown(view, 60.0).header.tasks == 1


def test_workers_of_a_process_that_was_cut_off_are_gone_with_it() -> None:
    view = RunView(0.0)
    view.take_tasks([ended(2, 104.0, incarnation=2)])
    first = [*joined(), event("TaskQueued", 1.0, 1), event("TaskStarted", 2.0, 1, worker="a-1")]
    again = [*joined(100.0), *life(2, 104.0)]
    view.take_events([*first, *(msgspec.structs.replace(each, incarnation=2) for each in again)])
    snapshot = shown(view, 104.0)
    assert snapshot.header.restarts == (100.0,)
    assert (snapshot.header.incarnation, snapshot.header.open_tasks) == (2, 0)
    assert snapshot.types[0].open == 0
    (pool,) = snapshot.pools
    assert (pool.workers, pool.busy) == (1, 0)
    assert snapshot.idle.busy_s + snapshot.idle.total_s == pytest.approx(2.0 + 4.0)


def test_an_agent_has_not_reacted_while_its_process_was_gone() -> None:
    view = RunView(0.0)
    lines = [
        ended(1, 3.0),
        ended(2, 104.0, incarnation=2, because=[1]),
        ended(3, 106.0, incarnation=2, because=[2]),
    ]
    view.take_tasks(lines)
    first = [*joined(), *life(1, 3.0)]
    again = [*joined(100.0), *life(2, 104.0), *life(3, 106.0)]
    view.take_events([*first, *(msgspec.structs.replace(each, incarnation=2) for each in again)])
    reaction = shown(view, 107.0).reaction
    assert (reaction.count, reaction.p50) == (1, pytest.approx(0.5, rel=0.1))


def test_failures_that_are_alike_are_counted_together_and_shown_apart() -> None:
    view = RunView(0.0)
    lines = [
        b'{"args":[[%d],{}],"traceback":"Traceback ...","tags":{"stage":"x"}}' % number
        for number in range(100)
    ]
    bad = [
        ended(number, 2.0 + number, ended_as="failed", error=f"ValueError: bad {number}\nmore")
        for number in range(100)
    ]
    view.take_tasks([*bad, ended(500, 300.0, ended_as="lost", reason="killed")])
    view.take_tasks([])
    view.take_tasks(
        [msgspec.structs.replace(bad[7], task_id=700, received=400.0)], b"\n".join(lines[7:8])
    )
    snapshot = shown(view, 500.0, live=False)
    assert [(group.error, group.count) for group in snapshot.failure_groups] == [
        ("ValueError: bad #", 101),
        ("killed", 1),
    ]
    assert len(snapshot.failures) == 50
    newest = snapshot.failures[0]
    assert (newest.task_id, newest.error_type, newest.message) == (700, "ValueError", "bad 7\nmore")
    assert (newest.args, newest.traceback, newest.tags) == (
        "[[7],{}]",
        "Traceback ...",
        {"stage": "x"},
    )
    assert snapshot.failures[1].error == "killed"
    assert (snapshot.ends.failed, snapshot.ends.lost) == (101, 1)
    assert sum(snapshot.ends.failed_bins) > 0


def test_attempts_before_the_last_are_counted() -> None:
    view = RunView(0.0)
    first = SeenAttempt(1, "failed", "a-1", "n", 1.0, 1.0, 2.0, 2.0)
    view.take_tasks([ended(1, 5.0, attempt=2, earlier=[first])])
    view.take_events(
        [
            *joined(),
            event("TaskQueued", 1.0, 1),
            event("TaskStarted", 1.0, 1, worker="a-1"),
            event("TaskRetried", 2.0, 1, attempt=1),
            event("TaskStarted", 4.0, 1, worker="a-1"),
            event("TaskEnded", 5.0, 1, worker="a-1"),
        ]
    )
    snapshot = shown(view, 5.0)
    assert (snapshot.ends.retried, snapshot.types[0].retried) == (1, 1)
    assert snapshot.idle.busy_s == pytest.approx(2.0)
    assert snapshot.idle.by_cause["dispatch"] == pytest.approx(2.0)  # it was queued, and free


def test_versions_tell_how_far_behind_tasks_were() -> None:
    view = RunView(0.0)
    published = [
        event("VersionPublished", float(at), name="model", version=number, nbytes=10 * number)
        for number, at in ((1, 1), (2, 5), (3, 6), (3, 7))
    ]
    view.take_events([*joined(), *published])
    for number, (version, sent) in enumerate([(1, 2.0), (1, 5.5), (3, 8.0), (9, 0.5)]):
        view.take_tasks([ended(number, 10.0 + number, versions={"model": version}, sent=sent)])
    (model,) = shown(view, 20.0, live=False).versions
    assert (model.newest, model.nbytes, model.uses) == (3, 30, 4)
    assert (model.lag.least, model.lag.most, model.lag.mean) == (0.0, 1.0, 0.25)
    assert (model.age_s.count, model.age_s.most) == (3, 4.5)
    assert model.published == ((1, 1.0), (2, 5.0), (3, 6.0))


def test_the_rate_is_that_of_the_last_seconds() -> None:
    view = RunView(0.0)
    view.take_tasks([ended(number, 100.0 + number / 4) for number in range(80)])
    view.count_late()
    snapshot = shown(view, 119.9)
    assert snapshot.ends.rate == pytest.approx(80 / 31 - 4 / 31, rel=0.02)
    assert shown(view, 119.9, live=False).ends.rate == 0.0


def test_limits_tell_the_time_that_is_left() -> None:
    view = RunView(0.0)
    view.take_tasks([ended(number, 2.0 + number) for number in range(10)])
    view.count_late()
    view.settle(over=False)
    facts = RunFacts(live=True, bounds={"tasks": 40.0, "failures": 1.0, "drain_s": 60.0})
    header = snapshot_of(view, facts, 20.0).header
    assert header.left_s == pytest.approx(60.0)
    assert [(limit.name, limit.used) for limit in header.limits] == [("tasks", 10), ("failures", 0)]


def test_a_look_ahead_does_not_change_what_is_counted_later() -> None:
    view = RunView(0.0)
    view.take_events(joined())
    for now in (1.0, 2.5, 3.5):
        assert shown(view, now).idle.by_cause["no_work"] == pytest.approx(now)
    view.take_tasks([ended(1, 3.0)])
    view.take_events(life(1, 3.0))
    assert shown(view, 3.5).idle.busy_s == pytest.approx(1.0)
    assert shown(view, 1000.0).idle.total_s == pytest.approx(999.0)


def test_events_that_are_not_known_are_passed_over() -> None:
    view = RunView(0.0)
    view.take_events(
        [event("Unheard", 1.0), event("TaskRetried", 2.0, 9), event("TaskEnded", 3.0, 9)]
    )
    view.take_events([event("WorkerLost", 4.0, worker="x"), event("WorkerMoved", 5.0, source="b")])
    view.take_events([event("WorkerRetired", 6.0, worker="x"), event("TaskStarted", 7.0, 5)])
    snapshot = shown(view, 8.0)
    assert (snapshot.header.events, snapshot.header.until) == (7, 8.0)
    assert snapshot.header.open_tasks == 1


def test_of_many_pools_the_others_are_summed_up() -> None:
    view = RunView(0.0)
    names = [f"p{number:02}" for number in range(MOST_POOLS + 20)]
    for number, name in enumerate(names):
        view.take_events(joined(worker=f"{name}-1", pool=name))
        view.take_events([event("TaskQueued", 1.0, 2 * number, pool=name)])
        view.take_events([event("TaskQueued", 1.0, 2 * number + 1, pool=name)])
        started = event("TaskStarted", 2.0, 2 * number, pool=name, worker=f"{name}-1")
        view.take_events([started])
    snapshot = shown(view, 10.0)
    header, idle = snapshot.header, snapshot.idle
    assert (header.workers, header.busy, header.queued) == (60, 60, 60)
    assert [*idle.by_pool] == [*names[:MOST_POOLS], OTHER_POOLS]
    for cause, seconds in idle.by_cause.items():
        assert seconds == pytest.approx(sum(one[cause] for one in idle.by_pool.values()))


def of_board(
    at: float, waiting: int, oldest_s: float, client: str = "Search", **fields: Any
) -> SeenEvent:
    return SeenEvent(
        "BoardChanged", at, name="Search.todo", pool="a", client=client, waiting=waiting,
        oldest_s=oldest_s, **fields,
    )  # fmt: skip


def test_the_age_of_a_queue_grows_although_no_task_leaves_it() -> None:
    view = RunView(0.0)
    view.take_events([event("TaskQueued", 1.0, 1), event("TaskQueued", 3.0, 2)])
    ages = shown(view, 10.0).pools[0].age_bins
    assert max(ages) == ages[-1] == pytest.approx(9.0)
    assert ages[round(5.0 / shown(view, 10.0).axis.width_s)] == pytest.approx(4.0, abs=0.1)
    view.take_events([event("TaskStarted", 10.0, 1, worker="a-1")])
    assert shown(view, 10.0).pools[0].oldest_s == pytest.approx(7.0)


def test_boards_are_counted_over_time_and_told_apart_by_campaign() -> None:
    view = RunView(0.0)
    view.take_events([of_board(1.0, 8, 0.0, out=2), of_board(1.0, 5, 0.0, "Other")])
    view.take_events([of_board(5.0, 2, 3.0, out=4, ended=4)])
    snapshot = shown(view, 9.0)
    board, other = snapshot.boards
    assert (board.name, board.campaign, other.campaign) == ("Search.todo", "Search", "Other")
    assert (board.waiting, board.out, board.ended, board.oldest_s) == (2, 4, 4, 7.0)
    width = snapshot.axis.width_s
    assert sum(board.waiting_bins) * width == pytest.approx(8 * 4.0 + 2 * 4.0, rel=0.05)
    assert board.age_bins[round(4.9 / width)] == pytest.approx(3.9, abs=2 * width)
    assert board.age_bins[-1] == pytest.approx(7.0)
    again = shown(view, 9.0)
    assert again.boards == snapshot.boards, "a look changes nothing"


def test_boards_are_empty_once_their_process_is_gone() -> None:
    view = RunView(0.0)
    view.take_events([of_board(1.0, 8, 0.0, out=2), of_board(6.0, 3, 1.0, incarnation=2)])
    (board,) = shown(view, 7.0).boards
    assert (board.waiting, board.oldest_s) == (3, 2.0)
    assert len(shown(view, 7.0).header.restarts) == 1


def test_of_many_boards_the_first_are_shown_and_wild_numbers_break_nothing() -> None:
    view = RunView(0.0)
    for number in range(300):
        view.take_events([of_board(1.0, 10**400, -5.0, f"c{number}", out=-3, ended=-1)])
    snapshot = shown(view, 2.0)
    assert (len(snapshot.boards), snapshot.more_boards) == (MOST_BOARDS, 160)
    assert (snapshot.boards[0].out, snapshot.boards[0].ended) == (0, 0)
    assert msgspec.json.encode(snapshot)


def test_stalls_of_the_event_loop_are_counted_by_agent() -> None:
    view = RunView(0.0)
    for at, agent, seconds in ((5.0, "S.think", 2.0), (9.0, "S.think", 1.5), (9.5, "S.look", 1.1)):
        where = f"think (search.py:{at:g})"
        view.take_events([SeenEvent("LoopStalled", at, agent=agent, seconds=seconds, where=where)])
    snapshot = shown(view, 10.0)
    first, second = snapshot.stalls
    assert (first.agent, first.count, first.total_s, first.longest_s) == ("S.think", 2, 3.5, 2.0)
    assert (first.last_at, first.where) == (9.0, "think (search.py:5)")
    assert (second.agent, second.count) == ("S.look", 1)
    assert [mark.at for mark in snapshot.marks if mark.kind == "loop_stalled"] == [3.0, 7.5, 8.4]
    assert "S.think held the event loop for 3.5 s in all" in "\n".join(remarks(snapshot))
    tables = {table.title: table for table in all_figures(snapshot)}
    assert tables["Event loop held by"].rows[0][:2] == ("S.think", "2")


def sized(workers: int, tasks: int, *, gantt: bool) -> int:
    """Return the size of a snapshot as JSON."""
    view = RunView(0.0)
    pools = [f"pool-{number}" for number in range(3)]
    for number in range(workers):
        pool = pools[number % 3]
        view.take_events(
            [
                event(
                    "WorkerJoined", 1.0, worker=f"w-{number}", node=f"n-{number // 50}", pool=pool
                ),
                event("PoolChanged", 1.0, pool=pool, workers=number // 3 + 1),
            ]
        )
    for number in range(tasks):
        at = 2.0 + 1000.0 * number / tasks
        worker = f"w-{number % workers}"
        kind = {"pool": pools[number % 3], "task_type": f"m:f{number % 3}", "worker": worker}
        fields = {**kind, "node": f"n-{number % workers // 50}"}
        bad = {"ended_as": "failed", "error": f"E: {number}"} if number % 10 == 0 else {}
        view.take_tasks([ended(number + 1, at, **fields, **bad)])
        view.take_events(
            [
                event("TaskQueued", at - 1.5, number + 1, **kind),
                event("TaskStarted", at - 1, number + 1, **kind),
                event("TaskEnded", at, number + 1, **kind),
            ]
        )
    view.settle(over=False)
    snapshot = snapshot_of(view, RunFacts(live=True), 1010.0, gantt=gantt)
    return len(msgspec.json.encode(snapshot))


def test_a_snapshot_does_not_grow_with_tasks_and_workers() -> None:
    few, many = sized(100, 5_000, gantt=False), sized(10_000, 20_000, gantt=False)
    assert many == pytest.approx(few, rel=0.2)
    assert many < 100_000
    assert sized(10_000, 20_000, gantt=True) < 600_000


def test_open_questions_are_counted_until_they_are_answered_or_their_campaign_is_gone() -> None:
    view = RunView(0.0)

    def questions(*events: SeenEvent, live: bool = True) -> int:
        view.take_events(list(events))
        return shown(view, 9.0, live=live).header.questions

    assert (
        questions(
            *(event("Asked", 1.0, client=name, question=n) for name in ("S", "T") for n in (1, 2))
        )
        == len("ST") * 2
    )
    assert questions(event("Asked", 2.0, client="S", question=1)) == 4
    assert questions(event("Answered", 2.0, client="S", question=1)) == 3
    assert questions(event("Answered", 2.0, client="S", question=7)) == 3
    assert questions(event("QuestionClosed", 2.5, client="S", question=2)) == 2
    assert questions(event("Asked", 2.6, client="S", question=2)) == 3
    assert questions(event("ClientLost", 3.0, client="T")) == 1
    assert questions(live=False) == 0
    assert questions(event("Asked", 4.0, client="S", question=3, incarnation=2)) == 1


def stalled(at: float, seconds: float) -> SeenEvent:
    return event("LoopStalled", at, agent="Search.think", seconds=seconds, where="think")


@pytest.mark.parametrize(
    ("because", "stalls", "policy_s"),
    [
        ([], [], 0.0),
        ([], [(9.0, 4.0)], 4.0),
        ([], [(9.0, 20.0)], 6.0),  # since the end of the first task
        ([1], [], 7.0),
        ([1], [(9.0, 4.0)], 7.0),
        ([], [(6.0, 2.0), (9.0, 1.0)], 3.0),
        ([], [(8.0, 1.0), (9.0, 4.0)], 4.0),  # of two campaigns at a broker
        ([], [(2.5, 1.0)], 0.0),  # the worker had a task
        ([], [(30.0, 15.0)], 0.0),  # it got no other task
    ],
)
def test_a_worker_that_idles_while_the_loop_is_held_waits_for_the_policy(
    because: list[int], stalls: list[tuple[float, float]], policy_s: float
) -> None:
    view = RunView(0.0)
    view.take_tasks([ended(1, 3.0), ended(2, 11.5, because=because)])
    events = [*joined(), *life(1, 3.0), *life(2, 11.5), *(stalled(*each) for each in stalls)]
    view.take_events(sorted(events, key=lambda each: each.at))
    idle = shown(view, 40.0).idle
    assert idle.by_cause["policy_busy"] == pytest.approx(policy_s)
    assert idle.total_s == pytest.approx(38.0)
    assert idle.by_cause["dispatch"] == pytest.approx(2 * 0.5)
    assert idle.by_cause["no_work"] == pytest.approx(37.0 - policy_s)
