"""Boards of vectors, records and named tuples; what they may be told by; what they keep."""

from __future__ import annotations

import math
import pickle
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio import Board, BoardFull, Campaign, Needs, Succeeded, Workers, on_success, task
from steerio.campaign import board_scores, entry_table
from steerio.campaign.entry_table import SLACK
from steerio.errors import UsageError
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders


@task
def norm(x: Any) -> float:
    return float(np.sum(x))


@task
def add(x: int, y: int) -> int:
    return x + y


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Mutable:
    x: int


class OfADevice:
    """An array in the memory of a device, as of PyTorch: NumPy cannot have it as it is."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.shape = scores, (len(scores),)

    def __iter__(self) -> Iterator[float]:
        return iter(self.scores)

    def __array__(self, *args: Any, **how: Any) -> Any:
        raise TypeError("copy it to the memory of the host first")

    def tolist(self) -> list[float]:
        return self.scores


def vectors(count: int) -> list[Any]:
    return [np.full(3, float(n)) for n in range(count)]


def by_bytes(items: list[Any]) -> Board[bytes]:
    return Board(norm, items, key=lambda item: item.tobytes())


# -- what is known by a key ---------------------------------------------------------------


def test_vectors_are_ranked_by_item_in_each_of_the_ways() -> None:
    items = vectors(4)
    board = by_bytes(items)
    assert board.waiting == [item.tobytes() for item in items]
    assert [item[0] for item in board.waiting_items] == [0, 1, 2, 3]
    assert board.rescore(zip(items, [1.0, 4.0, 2.0, 3.0], strict=True)) == 4
    assert [item[0] for item in board.waiting_items] == [1, 3, 2, 0]
    assert board.rescore(lambda item: item[0]) == 4
    assert [item[0] for item in board.waiting_items] == [3, 2, 1, 0]
    assert board.rescore(lambda item: 9.0 if item[0] == 1 else None) == 1
    assert [item[0] for item in board.waiting_items] == [1, 3, 2, 0]
    assert board.rescore({items[0].tobytes(): 10.0, b"gone": 3.0}) == 1
    assert np.array_equal(board.item(board.waiting[0]), items[0])
    assert board.score(items[0].tobytes()) == 10.0
    assert board.rescore([(np.full(3, 77.0), 3.0)]) == 0


def test_what_takes_all_items_at_once_ranks_them_in_their_order() -> None:
    board = by_bytes(vectors(50))
    rng = np.random.default_rng(1)
    items = board.waiting_items
    scores = rng.random(50)
    assert board.rescore(zip(items, scores, strict=True)) == 50
    assert board.waiting_items[0] is items[int(np.argmax(scores))]


@pytest.mark.parametrize("scores", [3, [1.0, 2.0], ["ab", "cd"], [(1, 2, 3)], None, "ab"])
def test_scores_in_another_form_are_refused(scores: Any) -> None:
    board = Board(add, [(1, 2), (3, 4)])
    with pytest.raises(UsageError, match=r"a dict of scores by key, pairs as from zip"):
        board.rescore(scores)


@pytest.mark.parametrize("score", ["high", None, [1.0], np.zeros(2), float("nan"), 1j])
def test_a_score_that_is_no_number_is_refused_and_nothing_is_changed(score: Any) -> None:
    board = Board(norm, [1.0, 2.0])
    ways: list[Callable[[], object]] = [
        lambda: board.rescore({2.0: 5.0, 1.0: score}),
        lambda: board.rescore([(2.0, 5.0), (1.0, score)]),
        lambda: board.add(3.0, score),
        lambda: board.replace([4.0, 5.0], [1.0, score]),
    ]
    for way in ways:
        with pytest.raises(UsageError, match="score"):
            way()
    assert board.waiting == [1.0, 2.0]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ({"x": 1}, "dict"),
        (np.zeros(3), "ndarray"),
        ([1, 2], "list"),
        ({1, 2}, "set"),
        ((np.zeros(2), 1), "tuple"),
        (Mutable(1), "Mutable"),
        (Point([], 1), "Point"),  # type: ignore[arg-type]
    ],
)
def test_an_item_that_cannot_be_a_key_is_refused_with_the_way_out(item: Any, kind: str) -> None:
    def told(make: Callable[[], object], *words: str) -> None:
        with pytest.raises(UsageError) as raised:
            make()
        for word in (*words, f"a {kind} cannot be a key", "key=lambda item"):
            assert word in str(raised.value)

    told(lambda: Board(norm, [item]))
    told(lambda: Board(norm).add(item))
    told(lambda: Board(norm).replace([item]))
    told(lambda: Board(norm).rescore([(item, 1.0)]))
    told(lambda: Board(norm, [1], key=lambda _: item), f"its key function returned a {kind}")
    board = Board(norm, [item], key=lambda _: "it")
    assert board.waiting == ["it"]


def test_a_campaign_may_steer_by_dicts_and_vectors() -> None:
    class Search(Campaign):
        workers: ClassVar = {"default": 2}

        def __init__(self) -> None:
            self.todo = by_bytes(vectors(12))
            self.seen: list[float] = []

        @on_success(norm)
        async def record(self, result: Succeeded) -> None:
            self.seen.append(result.args[0][0])
            self.todo.rescore(lambda item: item[0])
            if len(self.seen) == 4:
                self.todo.replace(vectors(20)[10:], scores=range(10))

    run = simulate(Search(), model=Model(1.0))
    seen = run.campaign.seen
    assert seen[:2] == [0, 1]
    assert sorted(seen) == sorted(set(seen)), "what was handed out is not replaced by itself"
    assert 19 in seen
    assert run.campaign.todo.waiting_items == []


# -- replacing ----------------------------------------------------------------------------


def test_replace_has_just_the_new_entries_wait() -> None:
    board = Board(norm, [1.0, 2.0, 3.0])
    told: list[int] = []
    board.on_change = lambda: told.append(len(board))
    assert board.replace([2.0, 5.0, 5.0, 4.0], [0.0, 1.0, 7.0, 9.0]) == 3
    assert board.waiting == [4.0, 5.0, 2.0]
    assert told == [3]
    assert board.replace([]) == 0
    assert not len(board)
    assert board.take() is None


def test_replace_is_all_or_nothing() -> None:
    board = Board(norm, [1.0], limit=2)
    with pytest.raises(BoardFull):
        board.replace([1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="2 items and 3 scores"):
        board.replace([1.0, 2.0], [1.0, 2.0, 3.0])
    assert board.waiting == [1.0]


# -- tuples -------------------------------------------------------------------------------


def test_a_plain_tuple_is_all_arguments_and_a_named_one_is_one() -> None:
    board = Board(norm, [(1, 2), Point(3, 4), "ab", [5]], key=repr)
    taken = [entry[1] for _ in range(4) if (entry := board.take())]
    assert taken == [(1, 2), (Point(3, 4),), ("ab",), ([5],)]
    assert type(taken[1][0]) is Point


def test_map_takes_named_tuples_as_boards_do() -> None:
    class Mapped(Campaign):
        workers: ClassVar = {"default": 1}
        args: ClassVar[list[Any]] = []

        async def setup(self) -> None:
            self.map(norm, [Point(1, 2)])
            self.map(add, [(1, 2)])

        @on_success(norm)
        @on_success(add)
        async def record(self, result: Succeeded) -> None:
            self.args.append(result.args)

    simulate(Mapped(), model=Model(1.0))
    assert Mapped.args == [(Point(1, 2),), (1, 2)]


# -- options ------------------------------------------------------------------------------


def test_the_tasks_of_a_board_have_its_options() -> None:
    class Two(Campaign):
        workers: ClassVar = {"default": Workers(2, cpus=2)}

        def __init__(self) -> None:
            self.first = Board(norm, range(3), timeout_s=5.0, priority=1.0, needs=Needs(cpus=2))
            self.second = Board(norm, range(10, 13))

    run = simulate(Two(), model=Model(1.0))
    assert run.ended == {"succeeded": 6}
    options = run.campaign.first.options
    assert (options.timeout_s, options.priority) == (5.0, 1.0)
    assert run.campaign.second.options == norm.options
    with pytest.raises(UsageError, match="timeout_s"):
        Board(norm, timeout_s="3")  # type: ignore[arg-type]


def test_a_boards_tasks_are_out_of_time_by_its_own_bound() -> None:
    class Hasty(Campaign):
        workers: ClassVar = {"default": 1}

        def __init__(self) -> None:
            self.todo = Board(norm, [1, 2], timeout_s=2.0)

        async def finish(self) -> None:
            assert self.todo.ended == {1, 2}

    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        simulate(Hasty(), model=Model(10.0))


# -- what it keeps ------------------------------------------------------------------------


def assert_compact(board: Board[Any]) -> None:
    """See that a board keeps no more than twice the entries that wait on it, or a few."""
    entries = board._entries
    assert max(len(entries.table.keys), entries.searched) <= 2 * len(board) + SLACK


def test_a_newest_first_stack_keeps_no_more_than_it_has() -> None:
    board = Board(norm)
    for number in range(20_000):
        board.add(number, score=float(number))
        if len(board) > 32:
            board.discard(min(board.waiting))
        assert_compact(board)
    assert len(board) == 32


def test_one_that_is_worked_off_from_the_top_keeps_no_more_either() -> None:
    board = Board(norm, range(1000))
    for number in range(500):
        board.discard(number)
    for number in range(1000, 3000):
        board.add(number, score=float(number))
        assert board.take() == (number, (number,), "", (), None)
        assert_compact(board)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "discard", "take", "rescore", "replace"]),
            st.integers(0, 40),
            st.integers(-3, 3),
        ),
        max_size=80,
    )
)
def test_a_board_does_as_a_sorted_list_would(steps: list[tuple[str, int, int]]) -> None:
    board: Board[int] = Board(norm)
    entries: dict[int, tuple[int, int]] = {}
    order = 0
    for step, item, score in steps:
        order += 1
        if step == "add":
            assert board.add(item, score) == (item not in entries)
            entries.setdefault(item, (-score, order))
        elif step == "discard":
            assert board.discard(item) == (entries.pop(item, None) is not None)
        elif step == "take":
            best = min(entries, key=lambda key: entries[key], default=None)
            taken = board.take()
            assert (taken[0] if taken else None) == best
            entries.pop(best, None)  # type: ignore[arg-type]
        elif step == "rescore":
            board.rescore(lambda key: key % 5 * score)  # noqa: B023 - called at once
            entries = {key: (-(key % 5) * score, at) for key, (_, at) in entries.items()}
        else:
            board.replace(range(item), [score] * item)
            entries = {key: (-score, order + key) for key in range(item)}
            order += item
        assert board.waiting == sorted(entries, key=lambda key: entries[key])
        assert_compact(board)


# -- all at once --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        np.ma.array,
        partial(np.array, dtype="float32"),
        partial(np.array, dtype="float16"),
        partial(np.array, dtype=">f8"),
        partial(np.array, dtype="int8"),
        partial(np.array, dtype="longdouble"),
        partial(np.array, dtype=object),
        lambda scores: np.array([scores, scores]).T[:, 1],
        OfADevice,
        partial(array, "f"),
        partial(array, "d"),
        iter,
    ],
)
def test_all_items_are_ranked_at_once_by_numbers_in_any_form(form: Any) -> None:
    board = Board(norm, range(6))
    board.discard(2)
    assert board.rescore_all(lambda items: form([float(-item) for item in items])) == 5
    assert board.waiting == [0, 1, 3, 4, 5]
    assert board.best(2) == [0, 1]
    assert board.best(99) == board.waiting
    assert [board.score(key) for key in board.waiting] == [0, -1, -3, -4, -5]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda items: None, "returned None for 3 items"),
        (lambda items: ["1", "2", "3"], "score of 1 must be a number, not '1'"),
        (lambda items: np.zeros((len(items), 1)), r"array of shape \(3, 1\) for 3 items"),
        (lambda items: [1.0], "1 score for 3 items"),
        (lambda items: [1.0, math.nan, 2.0], "the score of 2 is nan"),
        (lambda items: np.array([1.0, 2.0, math.inf]), "the score of 3 is inf"),
        (lambda items: np.ma.masked_less([1.0, -1.0, 2.0], 0), "score of 2 must be a number"),
        (lambda items: [1.0, "high", 2.0], "the score of 2 must be a number"),
        ([1.0, 2.0, 3.0], "takes a function of the list of all items"),
    ],
)
def test_a_function_that_does_not_rank_all_items_is_refused(function: Any, said: str) -> None:
    board = Board(norm, [1, 2, 3])
    with pytest.raises(UsageError, match=said):
        board.rescore_all(function)
    assert [board.score(key) for key in board.waiting] == [0, 0, 0]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_function_that_changes_the_board_is_refused(gone: int) -> None:
    board = Board(norm, [1, 2, 3])

    def rank(items: list[Any]) -> list[float]:
        board.add(4)
        for key in [1, 2, 3][:gone]:
            board.discard(key)
        return [0.0 for _ in items]

    with pytest.raises(UsageError, match="has changed the board"):
        board.rescore_all(rank)


@pytest.mark.parametrize("large", [0, 10**6])
def test_a_function_of_an_item_may_change_the_board(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_table, "LARGE", large)
    board = Board(norm, [1, 2, 3, 4])

    def rank(item: int) -> float | None:
        if item == 2:
            board.discard(1)
            board.add(5, score=9.0)
        return None if item == 3 else float(item)

    assert board.rescore(rank) == 2
    assert {key: board.score(key) for key in board.waiting} == {5: 9.0, 4: 4.0, 2: 2.0, 3: 0.0}


@pytest.mark.parametrize("large", [0, 10**6])
def test_a_board_that_draws_names_the_first_score_that_it_cannot_have(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_scores, "LARGE", large)
    board = Board(norm, [1, 2, 3], draw=True)
    ways: list[Callable[[Any], object]] = [
        lambda scores: board.rescore_all(lambda _: scores),
        lambda scores: board.rescore_listing(board.listing(), scores),
        lambda scores: board.rescore(dict(zip([1, 2, 3], scores, strict=True))),
    ]
    for way in ways:
        with pytest.raises(UsageError, match=r"score of 2 is -1\.0"):
            way(np.array([1.0, -1.0, -2.0]))
        with pytest.raises(UsageError, match=r"score of 3 is 1e\+201"):
            way(np.array([1.0, 0.0, 1e201]))
        assert [board.score(key) for key in board.waiting] == [0, 0, 0]
    assert board.rescore_all(lambda _: np.array([1.0, 0.0, 1e200])) == 3
    assert board.waiting == [3, 1, 2]
    assert Board(norm, draw=True).rescore_all(np.array) == 0


def test_finite_scores_with_an_infinite_sum_are_taken() -> None:
    board = Board(norm, [1, 2])
    board.rescore({1: -1.7e308, 2: -1.7e308})
    board.rescore_all(lambda items: [1.7e308, 1.6e308])
    assert board.waiting == [1, 2]


# -- a listing ----------------------------------------------------------------------------


@pytest.mark.parametrize("large", [0, 10**6])
@pytest.mark.parametrize("slack", [0, SLACK])
def test_a_listing_is_ranked_while_the_board_goes_on(
    slack: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_table, "LARGE", large)
    monkeypatch.setattr(entry_table, "SLACK", slack)  # 0: columns are closed up soon
    chance = Random(7)
    for _ in range(100):
        board: Board[int] = Board(norm, range(20))
        numbers = dict(zip(board.waiting, range(20), strict=True))
        for key in chance.sample(range(20), chance.randrange(15)):
            board.discard(key)
        listing = board.listing()
        assert listing.keys is not listing.items
        assert listing.keys == listing.items == sorted(listing.keys, key=lambda key: numbers[key])
        scores = dict.fromkeys(listing.keys, 0.0)
        for key in chance.sample(listing.keys, chance.randrange(len(listing) + 1)):
            board.discard(key)
            del scores[key]
            if chance.random() < 0.3:
                board.add(key, score=3.0)  # it is another entry than that of the listing
                scores[key] = 3.0
        for key in range(30, 30 + chance.randrange(5)):
            board.add(key, score=5.0)
            scores[key] = 5.0
        new = [float(chance.randrange(9)) for _ in listing.keys]
        stayed = [key for key in listing.keys if scores.get(key) == 0.0]
        scores |= {key: new[listing.keys.index(key)] for key in stayed}
        assert board.rescore_listing(listing, np.array(new)) == len(stayed)
        assert {key: board.score(key) for key in board.waiting} == scores
        ranks = [board.score(key) for key in board.waiting]
        assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([1.0], "was given 1 score for 3 items"),
        (2.0, "was given 2.0 for 3 items"),
        (np.zeros((3, 1)), r"was given an array of shape \(3, 1\)"),
        ([1.0, math.nan, 2.0], "the score of 2 is nan"),
    ],
)
def test_wrong_scores_of_a_listing_are_refused(scores: Any, said: str) -> None:
    board = Board(norm, [1, 2, 3])
    with pytest.raises(UsageError, match=said):
        board.rescore_listing(board.listing(), scores)
    assert [board.score(key) for key in board.waiting] == [0, 0, 0]


def test_a_listing_of_another_board_is_refused() -> None:
    board, other = Board(norm, [1, 2, 3]), Board(norm, [1, 2, 3])
    with pytest.raises(UsageError, match="is of another board"):
        board.rescore_listing(other.listing(), [1.0, 2.0, 3.0])
    later = pickle.loads(pickle.dumps(board.listing()))  # as in a snapshot that is resumed
    with pytest.raises(UsageError, match="or of a run before"):
        board.rescore_listing(later, [1.0, 2.0, 3.0])
    listed: Any = [1, 2, 3]
    with pytest.raises(UsageError, match=r"takes a listing of the board, as board.listing\(\)"):
        board.rescore_listing(listed, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("large", [0, 10**6])
def test_scores_by_pairs_and_by_key_are_the_same_at_any_size(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_table, "LARGE", large)
    board = Board(norm, range(12))
    board.discard(4)
    assert board.rescore([(3, 1.0), (4, 9.0), (5, 2.0), (3, 7.0)]) == 2
    assert board.waiting[:3] == [3, 5, 0]
    assert board.rescore({11: 8.0, 4: 1.0, 0: -1.0}) == 2
    assert board.waiting == [11, 3, 5, 1, 2, 6, 7, 8, 9, 10, 0]
    assert board.rescore(lambda key: None if key % 2 else -float(key)) == 5
    assert board.waiting == [11, 3, 5, 0, 1, 7, 9, 2, 6, 8, 10]
