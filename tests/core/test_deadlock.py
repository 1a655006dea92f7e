"""Leases that wait for each other: found at once, and only where nobody could ever go on."""

from __future__ import annotations

from steerio.core.deadlock import LOOK_S as DEADLOCK_LOOK_S
from steerio.core.deadlock import find_circle
from steerio.core.effects import TellMove
from tests.core.scene import CLIENT, Scene

OTHER = 2


class Lenders(Scene):
    """Pools ``a``, ``b`` and ``c`` lend workers to ``t``; agents hold some and wait for others."""

    def __init__(self, a: int = 1, b: int = 1, c: int = 1) -> None:
        super().__init__({"a": a, "b": b, "c": c, "t": 0})
        self.core.client_joined(OTHER, "other", watched=False, now=self.now)
        self.requests = 0
        self.holds: dict[str, list[int]] = {}
        self.clients: dict[str, int] = {}

    def lend(
        self,
        to: str,
        pool: str,
        count: int = 1,
        *,
        at_least: int | None = None,
        together: bool = False,
        lease: bool = True,
    ) -> str:
        """Let somebody ask for workers and wait for them; returns how the request stands."""
        client = self.clients.get(to, CLIENT)
        self.requests += 1
        request = self.requests
        core = self.core
        refusal = core.ask_move(
            client, request, pool, "t", count, self.now, lease=lease, together=together
        )
        assert not refusal, refusal
        awaited = count if at_least is None else at_least
        core.await_move(client, request, awaited, self.holds.get(to, []), to, self.now)
        self.settle_down()
        state = self.state(request)
        if state == "granted" or self.taken(request) >= awaited:
            self.holds.setdefault(to, []).append(request)
        return state

    def leaves(self, who: str) -> None:
        """Let somebody leave all his scopes."""
        for request in self.holds.pop(who):
            self.core.end_move(self.clients.get(who, CLIENT), request, "drain", self.now)
        self.settle_down()

    def taken(self, request: int) -> int:
        """Return how many workers a request has."""
        moves = self.core.moves.items()
        return next((len(move.taken) for key, move in moves if key[1] == request), 0)

    def state(self, request: int) -> str:
        """Return what was said of a request last."""
        told = [effect for effect in self.effects(TellMove) if effect.move.request == request]
        return told[-1].state

    def reason(self) -> str:
        """Return what the last to be told of a deadlock was told."""
        (*_, told) = [e for e in self.effects(TellMove) if e.state == "deadlocked"]
        return told.reason

    @property
    def deadlocks(self) -> list[int]:
        """The requests that were given up for a deadlock."""
        return [e.move.request for e in self.effects(TellMove) if e.state == "deadlocked"]


def test_the_last_of_two_that_wait_for_each_other_is_told_who_holds_and_waits_for_what() -> None:
    scene = Lenders()
    assert scene.lend("Ann", "a") == scene.lend("Bob", "b") == "granted"
    assert scene.lend("Ann", "b") == "waiting"
    assert scene.deadlocks == []
    assert scene.lend("Bob", "a") == "ended"
    assert scene.deadlocks == [4]
    assert scene.reason() == (
        "deadlock: Bob holds 1 of 'b' (lent to 't') and waits for 1 of 'a', "
        "Ann holds 1 of 'a' (lent to 't') and waits for 1 of 'b'; "
        "take leases in one order everywhere"
    )
    scene.leaves("Bob")
    assert scene.state(3) == "granted", "the other goes on"


def test_those_of_two_clients_are_found_too() -> None:
    scene = Lenders()
    scene.clients["Bob"] = OTHER
    scene.lend("Ann", "a")
    scene.lend("Bob", "b")
    scene.lend("Ann", "b")
    scene.lend("Bob", "a")
    assert scene.deadlocks == [4]


def test_workers_that_were_announced_and_never_came_do_not_hide_a_deadlock() -> None:
    scene = Lenders()
    scene.pool("a").announced = 5
    scene.lend("Ann", "a")
    scene.lend("Bob", "b")
    scene.lend("Ann", "b")
    scene.lend("Bob", "a")
    assert scene.deadlocks == [4]


def test_three_in_a_circle_are_found_and_who_only_waits_for_them_is_none_of_them() -> None:
    scene = Lenders()
    for who, pool in (("Ann", "a"), ("Bob", "b"), ("Cid", "c")):
        scene.lend(who, pool)
    scene.lend("Ann", "b")
    scene.lend("Bob", "c")
    assert scene.deadlocks == []
    scene.lend("Cid", "a")
    assert scene.deadlocks == [6]
    assert scene.reason().count("holds") == 3

    scene = Lenders(c=2)
    scene.lend("Ann", "a")
    scene.lend("Bob", "b")
    scene.lend("Dan", "c")
    scene.lend("Ann", "b")
    scene.lend("Dan", "a")
    assert scene.deadlocks == []
    scene.lend("Bob", "a")
    assert scene.deadlocks == [6]
    assert "Dan" not in scene.reason()


def test_who_holds_all_workers_of_a_pool_and_waits_for_one_more_waits_for_himself() -> None:
    scene = Lenders(a=2)
    scene.lend("Ann", "a", 2)
    scene.lend("Ann", "a")
    assert scene.deadlocks == [2]
    assert scene.reason().startswith(
        "deadlock: Ann holds 2 of 'a' (lent to 't') and waits for 1 of 'a';"
    )


def test_a_worker_that_is_only_busy_or_lent_to_one_who_goes_on_will_come() -> None:
    scene = Lenders(a=2)
    busy = scene.submit(scene.task_type("work", "a"))
    scene.lend("Ann", "a")
    scene.lend("Bob", "b")
    scene.lend("Ann", "b")
    assert scene.lend("Bob", "a") == "waiting"
    scene.report(busy)
    assert scene.state(4) == "granted"
    assert scene.deadlocks == []

    scene = Lenders()
    scene.lend("Cid", "b")
    scene.lend("Ann", "a")
    assert scene.lend("Ann", "b") == "waiting"
    assert scene.deadlocks == [], "Cid holds what Ann waits for, and waits for nothing"
    scene.leaves("Cid")
    assert scene.state(3) == "granted"


def test_who_has_enough_to_begin_is_not_waiting() -> None:
    scene = Lenders(a=2)
    scene.lend("Bob", "a", 2, at_least=1)
    scene.lend("Ann", "b")
    scene.lend("Ann", "a", 2, at_least=1)
    assert scene.deadlocks == [], "Bob's scope has begun and will end"
    scene.lend("Bob", "b")
    assert scene.deadlocks == [4]


def test_who_has_some_of_the_workers_that_he_waits_for_still_waits() -> None:
    scene = Lenders(a=2)
    first, second = [scene.submit(scene.task_type("work", "a")) for _ in range(2)]
    scene.lend("Ann", "a", 2)
    move = scene.core.moves[CLIENT, 1]
    scene.report(first)
    assert (len(move.taken), move.blocked) == (1, True)
    scene.report(second)
    assert (len(move.taken), move.blocked) == (2, False)


def test_who_waits_behind_those_that_wait_for_each_other_does_not_hide_them() -> None:
    scene = Lenders(a=2, b=1)
    scene.lend("Ann", "a", 1)
    scene.lend("Bob", "b")
    assert scene.lend("Cid", "a", 2, together=True) == "waiting"
    scene.lend("Ann", "b")
    scene.lend("Bob", "a")
    assert scene.deadlocks == [5]


def test_what_is_moved_for_good_is_thought_of_as_moved() -> None:
    scene = Lenders(a=2, b=1)
    busy = scene.submit(scene.task_type("work", "a"))
    scene.lend("Ann", "a")
    scene.lend("Cid", "a", lease=False)
    scene.lend("Bob", "b")
    scene.lend("Ann", "b")
    assert scene.deadlocks == []
    scene.lend("Bob", "a")
    assert scene.deadlocks == [5], "the one that is busy goes to Cid, and the other is Ann's"
    scene.report(busy)
    assert scene.state(2) == "granted"


class Losing(Lenders):
    """One worker of ``a`` is busy, on a node that is about to be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.node({"a": 1}, peer=200)
        busy = self.submit(self.task_type("work", "a"))
        assert busy.worker is not None
        assert busy.worker.node.peer == 200

    def lose(self) -> None:
        """Lose it."""
        self.core.node_lost(200, "it left", self.now)
        self.settle_down()


def test_a_deadlock_that_a_loss_makes_is_found_soon() -> None:
    scene = Losing()
    scene.lend("Ann", "a")
    scene.lend("Bob", "b")
    scene.lend("Ann", "b")
    scene.lend("Bob", "a")
    scene.lose()
    assert scene.deadlocks == []
    scene.tick(DEADLOCK_LOOK_S)
    assert scene.deadlocks == [4]


def test_what_waits_for_more_than_are_left_ends_for_that_when_its_time_is_over() -> None:
    scene = Losing()
    scene.lend("Bob", "b")
    scene.lend("Bob", "a", 2)
    scene.lose()
    scene.tick(DEADLOCK_LOOK_S)
    scene.tick(scene.settings.join_s)
    assert scene.deadlocks == []
    (*_, told) = scene.effects(TellMove)
    assert "has only 1 worker, and was asked for 2" in told.reason


def test_a_scope_that_has_begun_goes_on_though_its_workers_are_lost() -> None:
    scene = Lenders(a=2)
    scene.node({"a": 1}, peer=200)
    for _ in range(3):
        scene.submit(scene.task_type("work", "a"))
    scene.report(next(iter(scene.roster.nodes["node~2"].workers.values())).in_hand[0])
    scene.lend("Ann", "a", 2, at_least=1)
    move = scene.core.moves[CLIENT, 1]
    assert (move.state, len(move.taken)) == ("waiting", 1)
    scene.core.node_lost(200, "it left", scene.now)
    scene.settle_down()
    assert (move.state, len(move.taken), move.blocked) == ("waiting", 0, False)


def test_a_wait_for_what_is_over_or_not_known_is_none() -> None:
    scene = Lenders()
    scene.lend("Ann", "a")
    core = scene.core
    core.await_move(CLIENT, 1, 1, [1], "Ann", scene.now)
    core.await_move(CLIENT, 77, 1, [1], "Ann", scene.now)
    scene.holds["Ann"] = [1, 99]
    assert scene.lend("Ann", "a") == "ended"
    assert find_circle(core.moves, scene.roster.pools) == []
