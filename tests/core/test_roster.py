from __future__ import annotations

from steerio.core.roster import Pool, Roster
from steerio.model.settings import Settings
from steerio.model.status import PoolLoad


def test_a_closed_roster_has_just_the_pools_it_was_given() -> None:
    roster = Roster(Settings(), ["simulate"], closed=True)
    assert roster.pool("simulate") is roster.pools["simulate"]
    assert roster.pool("learn") is None
    assert list(roster.pools) == ["simulate"]


def test_an_open_roster_makes_a_pool_on_first_mention() -> None:
    roster = Roster(Settings(), [], closed=False)
    pool = roster.pool("learn")
    assert pool is not None
    assert roster.pool("learn") is pool


def test_nodes_of_one_name_are_told_apart() -> None:
    roster = Roster(Settings(), ["simulate"], closed=True)
    names = [roster.add_node("n", "host", peer, {}, 0.0)[0].name for peer in (1, 2, 3)]
    assert names == ["n", "n~2", "n~3"]


def test_workers_are_named_after_their_pool_and_no_name_comes_twice() -> None:
    roster = Roster(Settings(), ["simulate", "learn"], closed=True)
    node, started = roster.add_node("n", "host", 1, {"simulate": 2, "learn": 1}, 0.0)
    assert [worker.name for worker in started] == ["simulate-1", "simulate-2", "learn-1"]
    roster.remove_worker(started[0])
    assert roster.add_worker(node, "simulate").name == "simulate-3"


def test_a_worker_of_a_pool_that_was_not_mentioned_makes_it() -> None:
    roster = Roster(Settings(), [], closed=False)
    node, _ = roster.add_node("n", "host", 1, {}, 0.0)
    roster.add_worker(node, "learn")
    assert roster.pools["learn"].workers == 1


def test_a_worker_counts_from_its_start_and_is_ready_once_it_joined() -> None:
    roster = Roster(Settings(), ["simulate"], closed=True)
    _, (worker,) = roster.add_node("n", "host", 1, {"simulate": 1}, 0.0)
    pool = roster.pools["simulate"]
    assert (pool.workers, pool.ready) == (1, 0)
    assert (pool.load().workers, pool.load().starting, pool.load().busy) == (1, 1, 0)
    assert worker.phase == "starting"
    roster.worker_ready(worker, 7, 4711)
    roster.set_idle(worker)
    assert (worker.peer, worker.pid, worker.phase) == (7, 4711, "idle")
    assert pool.load() == PoolLoad(
        1, idle=1, queued=0, running=0, at_home=1, nodes={"n": 1}, makes=[(worker.make, 1)]
    )
    roster.remove_worker(worker)
    assert worker.phase == "gone"
    assert (pool.workers, pool.ready, len(pool.idle)) == (0, 0, 0)
    assert pool.start_failures == 0


def test_only_deaths_in_a_row_count_against_a_pool() -> None:
    roster = Roster(Settings(start_failures=2), ["simulate"], closed=True)
    node, _ = roster.add_node("n", "host", 1, {}, 0.0)
    pool = roster.pools["simulate"]
    roster.remove_worker(roster.add_worker(node, "simulate"))
    assert roster.may_start(pool)
    roster.worker_ready(roster.add_worker(node, "simulate"), 2, 1)
    roster.remove_worker(roster.add_worker(node, "simulate"))
    assert roster.may_start(pool)
    roster.remove_worker(roster.add_worker(node, "simulate"))
    assert not roster.may_start(pool)


def test_removing_a_node_names_its_workers() -> None:
    roster = Roster(Settings(), ["simulate"], closed=True)
    node, started = roster.add_node("n", "host", 1, {"simulate": 2}, 0.0)
    assert roster.remove_node(node) == started
    assert roster.nodes == {}
    for worker in started:
        roster.remove_worker(worker)
    assert (roster.workers, roster.by_number) == ({}, {})


def test_a_pool_describes_itself() -> None:
    text = "<Pool 'simulate': 0 workers, 0 idle, 0 queued, 0 running>"
    assert repr(Pool("simulate")) == text
