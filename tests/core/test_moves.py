"""Workers that move between pools, one case at a time; the machine does all at once."""

from __future__ import annotations

from typing import Any

import pytest

from steerio.core.effects import AskToStop, Retire, Signal, Start, TellMove
from steerio.core.lifecycle import State
from steerio.core.records import MoveRecord, TaskRecord
from steerio.model.events import PoolFailed, TaskRetried, WorkerLost, WorkerMoved, WorkerRetired
from steerio.model.moving import How
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, NODE, Scene

SETTINGS = Settings(join_s=60.0)


class MovingScene(Scene):
    """Pools ``simulate``, with workers, and ``learn``, with none unless asked for."""

    def __init__(self, simulate: int = 2, learn: int = 0, **options: Any) -> None:
        super().__init__({"simulate": simulate, "learn": learn}, settings=SETTINGS, **options)
        self.requests = 0

    def ask(self, count: int, source: str = "simulate", target: str = "learn", **how: Any) -> str:
        """Ask for workers; returns why that cannot be, or nothing."""
        self.requests += 1
        refusal = self.core.ask_move(CLIENT, self.requests, source, target, count, self.now, **how)
        self.settle_down()
        return refusal

    def end(self, request: int = 1, how: How = "drain") -> None:
        """End a move or lease."""
        self.core.end_move(CLIENT, request, how, self.now)
        self.settle_down()

    def move(self, request: int = 1) -> MoveRecord:
        """Return a move that is not over."""
        return self.core.moves[CLIENT, request]

    def told(self) -> list[tuple[str, list[str]]]:
        """Return what the client was told, in order."""
        told: list[tuple[str, list[str]]] = []
        there: dict[int, list[str]] = {}
        for effect in self.effects(TellMove):
            workers = [*there.get(effect.move.number, ()), *effect.came]
            workers = [name for name in workers if name not in effect.gone]
            there[effect.move.number] = [] if effect.state == "ended" else workers
            told.append((effect.state, there[effect.move.number]))
        return told

    def sizes(self) -> tuple[int, int]:
        """Return how many workers are in each pool."""
        return self.pool("simulate").workers, self.pool("learn").workers

    def train(self) -> TaskRecord:
        """Submit a task for ``learn``."""
        return self.submit(self.task_type("train", "learn"))


def test_an_idle_worker_moves_at_once_and_takes_what_waits_there() -> None:
    scene = MovingScene()
    waiting = scene.train()
    assert waiting.state == State.QUEUED
    assert scene.ask(1) == ""
    assert waiting.state == State.RUNNING
    assert scene.sizes() == (1, 1)
    assert scene.told() == [("granted", ["simulate-1"])]
    (moved,) = scene.events(WorkerMoved)
    assert (moved.worker, moved.source, moved.pool) == ("simulate-1", "simulate", "learn")
    assert not moved.lent
    assert scene.worker().home == "learn"
    assert scene.core.moves == {}


def test_busy_workers_move_when_they_are_free_whichever_is_first() -> None:
    scene = MovingScene()
    first, second = scene.submit(), scene.submit()
    third = scene.submit()
    scene.ask(1)
    assert scene.told() == [("waiting", [])]
    assert scene.pool().load().promised == 1
    scene.report(second)
    assert scene.told()[-1] == ("granted", ["simulate-1"])
    assert (first.state, third.state) == (State.RUNNING, State.QUEUED)
    scene.report(first)
    assert third.state == State.RUNNING


def test_step_by_step_each_goes_as_it_becomes_free() -> None:
    scene = MovingScene()
    running = scene.submit()
    scene.ask(2)
    assert scene.told()[-1] == ("waiting", ["simulate-1"])
    assert scene.sizes() == (1, 1)
    scene.report(running)
    assert scene.told()[-1] == ("granted", ["simulate-1", "simulate-2"])


def test_together_nobody_goes_before_all_can() -> None:
    scene = MovingScene()
    running = scene.submit()
    scene.ask(2, together=True)
    assert scene.sizes() == (2, 0)
    assert scene.worker("simulate-1").phase == "reserved"
    scene.report(running)
    assert scene.sizes() == (0, 2)
    assert scene.told()[-1][0] == "granted"


def test_a_worker_that_waited_for_others_goes_on_where_it_is_when_the_move_is_undone() -> None:
    scene = MovingScene()
    scene.submit()
    scene.ask(2, together=True)
    queued = scene.submit()
    assert queued.state == State.QUEUED
    scene.end()
    assert queued.state == State.RUNNING
    assert scene.told()[-1] == ("ended", [])


def test_preempting_queues_what_ran_again_free_of_charge() -> None:
    scene = MovingScene(1)
    running = scene.submit(retries=scene.retries(lost=0))
    scene.ask(1, how="preempt")
    assert running.state == State.STOPPING
    assert [effect.run for effect in scene.effects(AskToStop)] == [running.run]
    scene.report(running, "cancelled")
    assert running.state == State.QUEUED
    assert (running.failures, running.losses, running.timeouts) == (0, 0, 0)
    (retried,) = scene.events(TaskRetried)
    assert retried.reason.startswith("preempted")
    assert scene.sizes() == (0, 1)


def test_what_ends_well_while_it_is_preempted_has_succeeded() -> None:
    scene = MovingScene(1)
    running = scene.submit()
    scene.ask(1, how="preempt")
    scene.report(running)
    assert scene.ending(running).ended_as == "succeeded"


def test_what_is_cancelled_while_it_is_preempted_is_cancelled() -> None:
    scene = MovingScene(1)
    running = scene.submit()
    scene.ask(1, how="preempt")
    scene.cancel(running)
    scene.report(running, "cancelled")
    assert scene.ending(running).ended_as == "cancelled"


def test_of_those_that_run_the_last_begun_is_preempted() -> None:
    scene = MovingScene()
    first = scene.submit()
    scene.tick(5.0)
    second = scene.submit()
    scene.ask(1, how="preempt")
    assert (first.state, second.state) == (State.RUNNING, State.STOPPING)


def test_draining_becomes_preempting_when_its_time_is_over() -> None:
    scene = MovingScene(1)
    running = scene.submit()
    scene.ask(1, preempt_after_s=10.0)
    scene.tick(9.9)
    assert running.state == State.RUNNING
    scene.tick(0.2)
    assert running.state == State.STOPPING


def test_the_time_of_a_move_that_is_over_means_nothing() -> None:
    scene = MovingScene(1)
    running = scene.submit()
    scene.ask(1, preempt_after_s=10.0)
    scene.end()
    scene.tick(11.0)
    assert running.state == State.RUNNING


def test_a_lease_brings_everybody_home() -> None:
    scene = MovingScene()
    scene.ask(2, lease=True)
    assert scene.sizes() == (0, 2)
    assert scene.worker().home == "simulate"
    training = scene.train()
    scene.end()
    assert scene.sizes() == (1, 1)
    assert scene.told()[-1] == ("returning", ["simulate-2"])
    scene.report(training)
    assert scene.sizes() == (2, 0)
    assert scene.told()[-1] == ("ended", [])
    moved = [(event.pool, event.lent) for event in scene.events(WorkerMoved)]
    assert moved == [("learn", True)] * 2 + [("simulate", False)] * 2


def test_a_lease_can_be_taken_back_from_what_runs() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    training = scene.train()
    scene.end(how="preempt")
    assert training.state == State.STOPPING
    scene.report(training, "cancelled")
    assert training.state == State.QUEUED
    assert scene.sizes() == (1, 0)


def test_giving_back_twice_is_giving_back_once() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    training = scene.train()
    scene.end()
    scene.end()
    scene.report(training)
    assert [state for state, _ in scene.told()] == ["granted", "returning", "ended"]
    scene.end()


def test_what_a_client_was_lent_goes_home_when_it_leaves() -> None:
    scene = MovingScene()
    scene.ask(1, lease=True)
    busy = scene.submit()
    scene.ask(1)
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.settle_down()
    assert scene.core.moves == {}
    scene.report(busy, "cancelled")
    assert scene.sizes() == (2, 0)


def test_a_lent_worker_that_dies_is_replaced_and_its_successor_goes_home() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    scene.exit(scene.worker())
    (fresh,) = scene.roster.workers.values()
    assert (fresh.pool, fresh.home) == ("learn", "simulate")
    scene.end()
    assert scene.told()[-1][0] == "returning"
    scene.join(fresh)
    assert scene.sizes() == (1, 0)
    assert scene.told()[-1] == ("ended", [])


def test_a_reserved_worker_that_dies_is_replaced_in_its_own_pool() -> None:
    scene = MovingScene()
    running = scene.submit()
    scene.ask(2, together=True)
    scene.exit(scene.worker("simulate-1"))
    scene.join(scene.worker("simulate-3"))
    assert scene.sizes() == (2, 0)
    scene.report(running)
    assert scene.sizes() == (0, 2)


def test_moves_for_the_same_workers_are_served_in_order() -> None:
    scene = MovingScene(3)
    running = [scene.submit() for _ in range(3)]
    scene.ask(2)
    scene.ask(1)
    scene.report(running[0])
    scene.report(running[1])
    assert (CLIENT, 1) not in scene.core.moves
    assert scene.move(2).state == "waiting"
    scene.report(running[2])
    assert scene.sizes() == (0, 3)


def test_a_move_that_presses_gets_those_before_it_served_too() -> None:
    scene = MovingScene(2)
    running = [scene.submit() for _ in range(2)]
    scene.ask(1)
    scene.ask(1, how="preempt")
    assert [record.state for record in running] == [State.STOPPING] * 2


def test_opposite_moves_pass_each_other() -> None:
    scene = MovingScene(1, 1)
    simulating, training = scene.submit(), scene.train()
    scene.ask(1)
    scene.ask(1, "learn", "simulate")
    scene.report(simulating)
    scene.report(training)
    assert scene.sizes() == (1, 1)
    assert scene.core.moves == {}


def test_what_has_come_for_good_may_be_wanted_elsewhere_at_once() -> None:
    scene = MovingScene(2, 1)
    scene.train()
    simulating = scene.submit()
    scene.ask(2, "simulate", "learn")
    scene.ask(1, "learn", "simulate")
    scene.report(simulating)
    assert scene.core.moves == {}
    assert scene.sizes() == (1, 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"count": 3}, "'simulate' has 2 workers of its own, and was asked for 3"),
        ({"count": 0}, "0 workers cannot be moved"),
        ({"count": 1, "source": "nowhere"}, "no pool 'nowhere' (there are: learn, simulate)"),
        ({"count": 1, "target": "nowhere"}, "no pool 'nowhere' (there are: learn, simulate)"),
        ({"count": 1, "target": "simulate"}, "are in 'simulate' already"),
        ({"count": 1, "preempt_after_s": float("nan")}, "preempt_after_s is a number of seconds"),
    ],
)
def test_what_can_never_be_is_refused_at_once_with_the_numbers(asked: Any, said: str) -> None:
    scene = MovingScene()
    assert said in scene.ask(**asked)
    assert scene.core.moves == {}
    assert scene.told() == []


def test_what_others_will_take_for_good_cannot_be_asked_for() -> None:
    scene = MovingScene()
    scene.submit()
    scene.ask(2)
    assert "of which 2 are to leave for good, and was asked for 1" in scene.ask(1)


def test_a_request_is_made_once() -> None:
    scene = MovingScene()
    scene.ask(1, lease=True)
    scene.requests = 0
    assert scene.ask(1) == "request 1 was made already"


def test_borrowed_workers_are_not_given_away() -> None:
    scene = MovingScene(2)
    scene.ask(2, lease=True)
    assert "'learn' has 0 workers of its own" in scene.ask(1, "learn", "simulate")


def test_a_move_ends_when_too_few_workers_are_left_for_it_for_long() -> None:
    scene = MovingScene(1)
    scene.node({"simulate": 1}, peer=NODE + 1)
    scene.submit()
    scene.submit()
    scene.ask(2)
    scene.core.node_lost(NODE + 1, "power", scene.now)
    scene.settle_down()
    scene.tick(SETTINGS.join_s - 0.1)
    assert scene.move().state == "waiting"
    scene.tick(0.2)
    (last,) = [effect for effect in scene.effects(TellMove) if effect.state == "ended"]
    assert last.reason == "'simulate' has only 1 worker, and was asked for 2"
    assert scene.sizes() == (1, 0)


def test_workers_that_are_announced_may_be_asked_for_before_they_come() -> None:
    scene = MovingScene(0, pools=("simulate", "learn"))
    scene.pool("simulate").announced = 2
    assert "'simulate' has 2 workers of its own, and was asked for 3" in scene.ask(3)
    assert scene.ask(2) == ""
    scene.node({"simulate": 2}, peer=NODE + 1)
    assert scene.sizes() == (0, 2)
    scene.tick(100.0)
    assert (scene.pool("simulate").announced, scene.pool("learn").announced) == (0, 2)
    assert scene.told()[-1][0] == "granted"


def test_a_lease_outlives_its_workers() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    scene.core.node_lost(NODE, "power", scene.now)
    scene.settle_down()
    assert scene.move().state == "granted"
    scene.end()
    assert scene.told()[-1] == ("ended", [])


def test_a_process_that_lacks_what_its_new_pool_needs_is_replaced() -> None:
    scene = MovingScene(1)
    scene.roster.nodes["node"].requires = {"learn": ["torch"]}
    training = scene.train()
    scene.ask(1, lease=True)
    (order,) = scene.effects(Retire)
    assert order.worker.phase == "retiring"
    assert scene.told()[-1] == ("granted", ["simulate-1"])
    assert (scene.pool("learn").workers, scene.pool("learn").ready) == (1, 0)
    (retired,) = scene.events(WorkerRetired)
    assert (retired.worker, retired.pool) == ("simulate-1", "learn")
    assert retired.reason == "it has moved to a pool that needs another process"
    scene.forget()
    scene.exit(order.worker, reason="its process exited with status 0")
    (start,) = scene.effects(Start)
    assert (start.worker.pool, start.worker.home) == ("learn", "simulate")
    assert scene.events(WorkerLost) == []
    scene.join(start.worker)
    assert training.state == State.RUNNING


def test_a_process_that_does_not_make_room_is_killed() -> None:
    scene = MovingScene(1)
    scene.roster.nodes["node"].requires = {"learn": ["torch"]}
    scene.ask(1)
    scene.tick(SETTINGS.start_s + 0.1)
    assert [effect.signal for effect in scene.effects(Signal)] == ["kill"]


def test_a_pool_without_workers_waits_for_a_move_but_not_for_ever() -> None:
    scene = MovingScene(1)
    scene.pool("learn").may_be_empty = True
    scene.tick(1000.0)
    assert scene.events(PoolFailed) == []
    training = scene.train()
    scene.tick(59.0)
    assert training.state == State.QUEUED
    scene.tick(2.0)
    (failed,) = scene.events(PoolFailed)
    assert failed.reason == "no worker joined it within 60 s, and none was moved to it"
    assert scene.ending(training).ended_as == "lost"


def test_a_pool_that_a_move_is_under_way_to_goes_on_waiting() -> None:
    scene = MovingScene(1)
    scene.pool("learn").may_be_empty = True
    simulating = scene.submit()
    training = scene.train()
    scene.ask(1)
    scene.tick(61.0)
    assert training.state == State.QUEUED
    scene.report(simulating)
    assert training.state == State.RUNNING


def test_a_pool_that_has_lent_all_it_has_waits_for_them() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    simulating = scene.submit()
    scene.tick(200.0)
    assert simulating.state == State.QUEUED
    scene.end()
    assert simulating.state == State.RUNNING


def test_what_waits_where_the_last_ready_worker_moves_away_is_for_one_that_still_starts() -> None:
    scene = MovingScene(1)
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)
    running, waiting = scene.submit(), scene.submit()
    scene.ask(1)
    scene.report(running)
    assert scene.sizes() == (1, 1)
    scene.tick(SETTINGS.join_s + 0.1)
    assert scene.events(PoolFailed) == []
    assert waiting.state == State.QUEUED
    scene.join(scene.worker("simulate-2"))
    assert waiting.state == State.RUNNING


def test_a_pool_that_nobody_wants_anything_of_any_more_does_not_fail() -> None:
    scene = MovingScene(1)
    scene.pool("learn").may_be_empty = True
    scene.cancel(scene.train())
    scene.tick(100.0)
    assert scene.events(PoolFailed) == []


def test_a_move_to_a_pool_that_had_failed_makes_it_work() -> None:
    scene = MovingScene(1)
    scene.core.fail_pool("learn", "no torch", scene.now)
    scene.ask(1)
    assert scene.train().state == State.RUNNING


def test_held_tasks_are_recalled_for_a_move() -> None:
    scene = MovingScene(1)
    first, held = scene.holding(2)
    scene.ask(1)
    scene.give_back(held)
    scene.report(first)
    assert held.state == State.QUEUED
    assert scene.sizes() == (0, 1)


def test_what_is_being_stopped_already_is_not_preempted() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    training = scene.train()
    scene.cancel(training)
    scene.end(how="preempt")
    scene.report(training, "cancelled")
    assert scene.ending(training).ended_as == "cancelled"
    assert scene.sizes() == (1, 0)


def test_a_pool_at_a_glance_says_who_is_busy() -> None:
    scene = MovingScene(2)
    scene.submit()
    assert (scene.pool().load().busy, scene.pool().load().idle) == (1, 1)


def test_a_move_for_which_enough_have_come_goes_on_waiting_for_them() -> None:
    scene = MovingScene(0, pools=("simulate", "learn"))
    scene.pool("simulate").announced = 1
    scene.ask(1)
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)
    scene.tick(SETTINGS.join_s + 0.1)
    assert scene.move().state == "waiting"
    scene.join(scene.worker())
    assert scene.told()[-1][0] == "granted"


@pytest.mark.borders
def test_long_patience_of_moves_that_are_over_does_not_pile_up() -> None:
    scene = MovingScene(1)
    busy = scene.submit()
    for _ in range(3000):
        scene.requests += 1
        core = scene.core
        core.ask_move(
            CLIENT, scene.requests, "simulate", "learn", 1, scene.now, preempt_after_s=1e5
        )
        core.end_move(CLIENT, scene.requests, "drain", scene.now)
    scene.settle_down()
    assert len(scene.core.cluster.deadlines) < 2500
    scene.ask(1, preempt_after_s=10.0)
    scene.tick(10.0)
    assert busy.state == State.STOPPING
