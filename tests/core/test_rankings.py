"""The entries of a board are in the order that sorting all of them would give, at any size."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from steerio import task
from steerio.campaign import entry_order, entry_table, lottery
from steerio.campaign.entry_calls import EntryCall, Lane
from steerio.campaign.entry_table import LARGE
from steerio.campaign.lottery import Lottery
from steerio.campaign.ranked_entries import RankedEntries
from steerio.campaign.ranking import LEAST
from steerio.model.tasks import TaskOptions

HERE = Lane("default", None)
BY = ("", ())


@task
def noted(number: int) -> None:
    """Do nothing; it is never run."""


def ranked(*, newest_first: bool = False, chance: Random | None = None) -> RankedEntries[int]:
    return RankedEntries(HERE, newest_first=newest_first, chance=chance)


def taken(entries: RankedEntries[int], most: int) -> list[int]:
    """Take so many of them out, and return their keys."""
    keys: list[int] = []
    while len(keys) < most and (slot := entries.best()) is not None:
        keys.append(entries.table.keys[slot])
        entries.remove(slot)
    return keys


def spread(kind: str, chance: Random) -> float:
    """Return a score of a spread that a sample could be wrong about."""
    match kind:
        case "equal":
            return 0.0
        case "few":
            return float(chance.randrange(3))
        case "one above":
            return float(chance.random() < 0.001) * 5
        case _:
            return chance.lognormvariate(0, 5)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("kind", ["equal", "few", "one above", "any"])
def test_they_go_in_the_order_of_a_sorted_list(kind: str, newest_first: bool) -> None:
    chance, entries, scores = Random(kind), ranked(newest_first=newest_first), {}

    def rank(key: int) -> tuple[float, int]:
        return -scores[key], -key if newest_first else key

    number = 0
    for step in range(40):
        for _ in range(chance.choice((0, 10, 40 * LEAST // 10))):
            number += 1
            scores[number] = spread(kind, chance)
            entries.add(number, number, scores[number], number, BY, None)
        match step % 4:
            case 1:
                some = chance.sample(sorted(scores), min(len(scores), 20))
                new = [spread(kind, chance) for _ in some]
                slots = [entries.table.slots[key] for key in some]
                entries.rescore(slots, array("d", new), BY)
                scores.update(zip(some, new, strict=True))
            case 2:
                fresh = array("d", [spread(kind, chance) for _ in scores])
                entries.rescore_all(fresh, BY)
                scores.update(zip(sorted(scores), fresh, strict=True))
            case 3:
                for key in chance.sample(sorted(scores), len(scores) // 3):
                    entries.remove(entries.table.slots[key])
                    del scores[key]
            case _:
                pass
        expected = sorted(scores, key=rank)
        assert [entries.table.keys[slot] for slot in entries.table.best(5)] == expected[:5]
        assert [entries.table.keys[slot] for slot in entries.table.order()] == expected
        gone = taken(entries, chance.choice((1, 30, len(scores) // 2)))
        assert gone == expected[: len(gone)]
        for key in gone:
            del scores[key]
    assert number > 10 * LEAST


@pytest.mark.parametrize("kind", ["equal", "few", "any"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_numpy_makes_no_difference(
    kind: str, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    orders: list[Any] = []
    for with_numpy in (True, False):
        if not with_numpy:
            monkeypatch.delitem(sys.modules, "numpy")
        chance, entries = Random(1), ranked(newest_first=newest_first)
        for key in range(2 * LARGE):
            entries.add(key, key, spread(kind, chance), key, BY, None)
        entries.rescore_all(array("d", [spread(kind, chance) for _ in range(2 * LARGE)]), BY)
        for slot in range(0, LARGE, 7):
            entries.remove(slot)
        orders.append((entries.table.order(), entries.table.best(9), taken(entries, 2_000)))
    assert orders[0] == orders[1]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("kind", ["alike", "signs", "tiny", "huge", "any"])
def test_all_scores_are_sorted_exactly(
    kind: str, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(entry_order, "LARGE", 10)
    chance = Random(kind)
    draw: dict[str, Callable[[], float]] = {
        "alike": lambda: 1 + chance.randrange(50) * 2.0**-52,  # rounding makes most of them equal
        "signs": lambda: chance.choice([0.0, -0.0, 1.0, -1.0]),
        "tiny": lambda: chance.choice([5e-324, -5e-324, 0.0, chance.random()]),
        "huge": lambda: chance.uniform(-1e300, 1e300),
        "any": lambda: chance.choice([chance.gauss(0, 1), -1 - chance.randrange(3) * 2.0**-50]),
    }
    for _ in range(50):
        scores = array("d", [draw[kind]() for _ in range(chance.randrange(11, 300))])
        waits = bytearray(chance.choice([0, 1, 1, 1]) for _ in scores)
        slots = [slot for slot, there in enumerate(waits) if there]
        expected = sorted(slots[:: -1 if newest_first else 1], key=lambda slot: -scores[slot])
        order = entry_order.best_first(scores, waits, newest_first=newest_first)
        assert order.places(waits) == expected
        assert order.places(waits, 5) == expected[:5]
        assert order.keys([str(slot) for slot in range(len(waits))], waits) == [
            str(slot) for slot in expected
        ]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("large", [10, 10**6])
@pytest.mark.parametrize("rare", [3, 10**6])
def test_looks_leave_out_those_that_are_gone(
    rare: int, large: int, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(entry_order, "RARE", rare)
    monkeypatch.setattr(entry_order, "BLOCK", 7)  # many blocks
    for module in (entry_order, entry_table):
        monkeypatch.setattr(module, "LARGE", large)
    chance, entries = Random(rare + large), ranked(newest_first=newest_first)
    scores: dict[int, float] = {}
    number = 0
    for _ in range(200):
        for _ in range(chance.choice((0, 0, 0, 5, 40))):
            number += 1
            scores[number] = float(chance.randrange(9))
            entries.add(number, (number,), scores[number], number, BY, None)  # type: ignore[arg-type]
        if chance.random() < 0.2:
            fresh = array("d", [chance.choice((0.0, -0.0, 0.1 + 0.2, 0.3, 1e300)) for _ in scores])
            entries.rescore_all(fresh, BY)
            scores.update(zip(sorted(scores), fresh, strict=True))
        for key in chance.sample(sorted(scores), min(len(scores), chance.choice((0, 1, 3, 20)))):
            entries.remove(entries.table.slots[key])
            del scores[key]
        sign = -1 if newest_first else 1
        expected = sorted(scores, key=lambda key: (-scores[key], sign * key))
        table, most = entries.table, chance.randrange(30)
        for look in chance.sample(range(4), 2):  # each may be the first behind a change
            match look:
                case 0:
                    assert table.ordered_keys() == expected
                case 1:
                    assert table.ordered_items() == [(key,) for key in expected]
                case 2:
                    assert [table.keys[slot] for slot in table.best(most)] == expected[:most]
                case _:
                    assert [table.keys[slot] for slot in table.order()] == expected
        assert table.all_keys() == sorted(scores)
        assert [item for (item,) in table.all_items()] == sorted(scores)


def test_keys_that_are_sequences_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    for module in (entry_order, entry_table):
        monkeypatch.setattr(module, "LARGE", 3)
    entries: RankedEntries[tuple[int, int]] = RankedEntries(HERE, newest_first=False, chance=None)
    keys = [(number, number) for number in range(9)]
    for number, key in enumerate(keys[:5]):
        entries.add(key, key, float(number), number, BY, None)
    assert entries.table.ordered_keys() == keys[4::-1]
    for number, key in enumerate(keys[5:], 5):
        entries.add(key, key, float(number), number, BY, None)
    assert entries.table.ordered_keys() == keys[::-1] == entries.table.ordered_items()
    assert entries.table.ordered_keys()[0] is keys[-1]


@pytest.mark.parametrize("draw", [False, True])
def test_lanes_of_a_large_board_are_the_same_without_numpy(
    draw: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    orders: list[Any] = []
    for large in (10, 10**6):
        for module in (entry_order, entry_table, lottery):
            monkeypatch.setattr(module, "LARGE", large)
        chance, entries = Random(1), ranked(chance=Random(2) if draw else None)
        calls = [None, *(EntryCall(noted, pool, TaskOptions(), None) for pool in "ab")]
        for key in range(3_000):
            call = chance.choice(calls)
            entries.add(key, key, float(chance.randrange(50)), key, BY, call)
        for slot in chance.sample(range(3_000), 500):
            entries.remove(slot)
        entries.rescore_all(array("d", [chance.random() for _ in range(2_500)]), BY)
        went: list[tuple[int, str]] = []
        while (lane := entries.next_lane(entries.lanes)) and len(went) < 500:
            slot = entries.best(lane)
            assert slot is not None
            went.append((entries.table.keys[slot], lane.pool))
            entries.remove(slot)
        orders.append(went)
    assert orders[0] == orders[1]
    assert {pool for _, pool in orders[0]} == {"default", "a", "b"}


@pytest.mark.parametrize("large", [10, 10**6])
def test_the_order_is_kept_while_entries_go(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(entry_order, "LARGE", large)
    sorts: list[int] = []
    sort = entry_order.best_first
    monkeypatch.setattr(
        entry_table, "best_first", lambda *args, **how: sorts.append(1) or sort(*args, **how)
    )
    entries = ranked()
    for key in range(200):
        entries.add(key, -key, float(key * 37 % 101), key, BY, None)
    table = entries.table
    expected = table.ordered_keys()
    while len(expected) > 100:
        gone = taken(entries, 3)
        assert gone == expected[:3]
        del expected[:3]
        entries.remove(table.slots[expected.pop(7)])
        listed = table.ordered_keys()
        assert listed == expected == [-item for item in table.ordered_items()]
        assert table.best(5) == table.order()[:5]
        listed.clear()  # it is the caller's
    assert len(sorts) == 1
    entries.add(999, 0, 50.0, 999, BY, None)
    assert 999 in table.ordered_keys()
    assert len(sorts) == 2


def test_only_a_share_of_a_large_board_is_kept_in_order() -> None:
    entries = ranked()
    for key in range(50_000):
        entries.add(key, key, float(key % 977), key, BY, None)
    entries.rescore_all(array("d", [float(key % 991) for key in range(50_000)]), BY)
    assert entries.searched == 0
    taken(entries, 1)
    assert 0 < entries.searched < 5_000
    assert sorted(taken(entries, 50_000)) == sorted(set(range(50_000)) - {990})


def test_draws_are_in_proportion_to_the_scores() -> None:
    counts, draws = dict.fromkeys(range(4), 0), 4_000
    entries = ranked(chance=Random(3))
    for key in range(4):
        entries.add(key, key, float(key), key, BY, None)
    for _ in range(draws):
        slot = entries.best()
        assert slot is not None
        counts[entries.table.keys[slot]] += 1
    assert counts[0] == 0
    assert [round(6 * counts[key] / draws, 1) for key in (1, 2, 3)] == pytest.approx(
        [1, 2, 3], abs=0.15
    )


def test_draws_take_each_entry_once_and_those_of_score_0_last() -> None:
    entries, chance = ranked(chance=Random(5)), Random(6)
    for key in range(500):
        entries.add(key, key, chance.choice((0.0, 1e-300, 1.0, 1e200)), key, BY, None)
    for key in range(0, 500, 3):
        entries.rescore([entries.table.slots[key]], array("d", [float(key % 2)]), BY)
    for key in range(0, 500, 5):
        entries.remove(entries.table.slots[key])
    zeros = {key for key, slot in entries.table.slots.items() if not entries.table.scores[slot]}
    there = set(entries.table.slots)
    order = taken(entries, 500)
    assert set(order) == there
    assert len(order) == len(there)
    assert set(order[-len(zeros) :]) == zeros


def test_the_tree_of_draws_stays_right_while_entries_come_and_go() -> None:
    chance, entries = Random(7), ranked(chance=Random(8))
    number = 0
    for _ in range(300):
        for _ in range(chance.randrange(4)):
            number += 1
            entries.add(number, number, chance.random(), number, BY, None)
        taken(entries, chance.randrange(3))
        (order,) = entries._orders
        assert isinstance(order, Lottery)
        if order._leaves:
            leaves = order._sums[order._leaves :]
            waiting = {slot: entries.table.scores[slot] for slot in entries.table.slots.values()}
            assert {slot: leaves[slot] for slot in waiting} == waiting
            assert order._sums[1] == pytest.approx(sum(waiting.values()))
