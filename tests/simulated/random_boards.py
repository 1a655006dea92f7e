"""Boards of random campaigns, at any place, ranked anew in any way."""

from __future__ import annotations

from random import Random
from typing import Any

from steerio import Board, Succeeded, on_success
from tests.simulated.random_parts import Feature, all_singly, listed
from tests.simulated.random_tasks import measure, step

FIRST = 1000
"""The argument of the task by whose result a board is made."""


def second(item: tuple[str, int]) -> int:
    """Return the key of an item."""
    return item[1]


class Placed:
    """A board, and its place in a campaign."""

    def __init__(self, random: Random, who: str) -> None:
        self.place = random.choice(("attribute", "list", "dict", "setup", "later"))
        self.style = random.choice(("", "rescore", "discard", "replace"))
        self.who, self.most = who, random.randint(2, 4)
        self._name = f"{who}_board"
        self._items = [(who, x) for x in range(random.randint(4, 10))]
        self._key = random.choice((None, second))
        options: list[dict[str, Any]] = [{}, {"ahead": 2}, {"priority": 3, "tags": {"a": "b"}}]
        options += [{"draw": True}, {"newest_first": True}, {"weight": 2}]
        self._options = random.choice(options)

    def begin(self, campaign: Any) -> Any:
        if self.place not in ("setup", "later"):
            self.make(campaign)
        return {"seen": {}, "steps": 0, "batches": 0}

    async def prepare(self, campaign: Any) -> None:
        if self.place == "setup":
            self.make(campaign)
        if self.place == "later":
            campaign.submit(measure, self.who, FIRST)

    def make(self, campaign: Any) -> None:
        made: Board[Any] = Board(measure, self._items, key=self._key, **self._options)
        value: Any = {"list": [made], "dict": {"it": made}}.get(self.place, made)
        setattr(campaign, self._name, value)

    def find(self, campaign: Any) -> Board[Any] | None:
        value: Any = getattr(campaign, self._name, None)
        if self.place == "list":
            value = value[0]
        elif self.place == "dict":
            value = value["it"]
        found: Board[Any] | None = value
        return found

    def hear(self, campaign: Any, result: Any) -> None:
        """Note a result, which there is once, and decide by it."""
        seen, x = campaign.state[self.who]["seen"], result.args[1]
        assert x not in seen
        seen[x] = result.value
        campaign.table["latest"] = x
        if x == FIRST:
            self.make(campaign)
        elif x % 3 == 0:
            campaign.submit(step, self.who, x % self.most)

    def rank(self, campaign: Any, best: int) -> None:
        """Rank the entries anew, in the way of this board; others run what it gives up."""
        board = self.find(campaign)
        if board is None:
            return
        left = board.waiting_items
        if self.style == "rescore":
            board.rescore(lambda item: float(item[1] * best % 7))
        elif self.style == "discard":
            for item in left[-1:]:
                assert board.discard(self._key(item) if self._key else item)
                campaign.submit(measure, *item)
        elif self.style == "replace":
            board.replace(left[1:], [float(best % (n + 2)) for n in range(len(left) - 1)])
            for item in left[:1]:
                campaign.submit(measure, *item)

    def outcome(self, campaign: Any) -> Any:
        board = self.find(campaign)
        assert board is not None
        ended = None if self.style in ("discard", "replace") else sorted(board.ended)
        return len(board), len(board.running), ended


def board(random: Random, who: str) -> Feature:
    """A board that is ranked anew, with follow-up tasks."""
    placed = Placed(random, who)

    @on_success(measure, **all_singly(random))
    async def hear(self: Any, given: Any) -> None:
        for result in listed(given, who):
            placed.hear(self, result)

    @on_success(measure, every=placed.most)
    async def rank(self: Any, results: list[Succeeded]) -> None:
        self.state[who]["batches"] += 1
        placed.rank(self, max(result.value for result in results))

    @on_success(step)
    async def follow(self: Any, result: Succeeded) -> None:
        if result.args[0] == who:
            self.state[who]["steps"] += 1
            if result.value > 0:
                self.submit(step, who, result.value)

    methods = {"hear": hear, "rank": rank, "follow": follow}
    return Feature(methods, placed.begin, placed.prepare, placed.outcome)
