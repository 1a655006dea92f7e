"""Hands out what boards have, whenever workers have nothing to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from steerio.campaign.board import Board, boards_in, boards_of
from steerio.campaign.handle import Task
from steerio.campaign.session import Session
from steerio.campaign.submitting import current_agent


class Feeder:
    """Feeds the pools of a campaign from its boards.

    A board's entry goes out while its pool has more workers than the campaign has tasks
    there.  Counting one's own tasks, instead of asking who is idle, needs no answer.

    Args:
        session: what tasks are submitted to.
        fail: called with the error where an entry cannot be submitted.
        may_feed: whether the campaign still wants work to go out.
    """

    def __init__(
        self, session: Session, fail: Callable[[Exception], None], may_feed: Callable[[], bool]
    ) -> None:
        self._session = session
        self._fail = fail
        self._may_feed = may_feed
        self._campaign: object = None
        self._boards: list[Board[Any]] = []
        self._in_pool: defaultdict[str, int] = defaultdict(int)
        self._of_board: dict[int, tuple[Board[Any], Any]] = {}
        self._made_by = ""

    def __repr__(self) -> str:
        return f"<Feeder {self._boards}, in pools: {dict(self._in_pool)}>"

    @property
    def waiting(self) -> int:
        """How many entries wait on boards."""
        return sum(len(board) for board in self._boards)

    def uses(self, pool: str) -> bool:
        """Whether tasks of the campaign are outstanding, or wait on boards, for a pool."""
        if self._in_pool[pool] > 0:
            return True
        return any(len(board) > 0 and board.task_type.pool == pool for board in self._boards)

    def begin(self, campaign: object) -> None:
        """Begin to feed from the boards of a campaign."""
        self._campaign = campaign
        self._made_by = f"{type(campaign).__name__}.__init__"
        self.find_boards()

    def find_boards(self) -> None:
        """Take on the boards that the campaign has now, let go of others, and feed."""
        if self._campaign is None:
            return
        self._let_go()
        self._boards = boards_of(self._campaign)
        for board in self._boards:
            board.on_change = self.feed
        self.feed()

    def reassigned(self, old: object, new: object) -> None:
        """An attribute of the campaign was given another value."""
        if self._campaign is not None and (boards_in(new) or boards_in(old)):
            self.find_boards()

    def close(self) -> None:
        """Let go of the boards."""
        self._campaign = None
        self._let_go()

    def _let_go(self) -> None:
        for board in self._boards:
            board.on_change = None

    def submitted(self, task: Task[Any]) -> None:
        """A task of the campaign was submitted, by whomever."""
        self._in_pool[task.type.pool] += 1

    def ended(self, task: Task[Any]) -> bool:
        """A task of the campaign ended; returns whether it was a board's."""
        self._in_pool[task.type.pool] -= 1
        of_board = self._of_board.pop(task.id, None)
        if of_board is None:
            return False
        board, key = of_board
        board.running.pop(key, None)
        board.ended.add(key)
        return True

    def feed(self) -> None:
        """Hand out what there is to hand out now."""
        for board in self._boards:
            pool = board.task_type.pool
            load = self._session.client.pools.get(pool)
            # one goes out even where no worker is: then the broker says if none will ever be
            room = max(1, load.workers if load else 0) + board.ahead
            while self._may_feed() and self._in_pool[pool] < room:
                entry = board.take()
                if entry is None:
                    break
                self._hand_out(board, *entry)

    def idle(self, pool: str) -> int:
        """Return how many workers of a pool have nothing to do, now."""
        load = self._session.client.pools.get(pool)
        if load is None or load.queued:
            return 0
        return max(0, min(load.idle, load.workers - self._in_pool[pool]))

    def _hand_out(self, board: Board[Any], key: Any, args: tuple[Any, ...], cause: str) -> None:
        token = current_agent.set(cause or self._made_by)
        try:
            kind = board.task_type
            task = self._session.submit_with(kind, args, {}, kind.options, board.tags)
        except Exception as error:  # noqa: BLE001 - of user values, in a callback: ends the campaign
            self._fail(error)
            return
        finally:
            current_agent.reset(token)
        board.running[key] = task
        self._of_board[task.id] = (board, key)
