"""Hands out the entries of boards, whenever workers have nothing to do."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any

from steerio.campaign.board import Board
from steerio.campaign.board_watch import BoardWatch
from steerio.campaign.entry_calls import HandedOut, Lane
from steerio.campaign.found_boards import board_names, boards_in, boards_of, hidden_boards
from steerio.campaign.pool_tasks import NOBODY, PoolTasks
from steerio.campaign.shares import next_in_turn, share_out
from steerio.model.status import PoolLoad
from steerio.session.chains import NOTHING, chain_behind, chain_under_way
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.session import Session
from steerio.session.task import Task
from steerio.worker.random_streams import SEED_BITS, derive

log = logging.getLogger("steerio.campaign")


class Feeder:
    """Feeds the pools of a campaign from its boards.

    A board's entry goes out while its pool has more workers that fit it than the campaign has tasks
    there that just these workers fit.  The feeder counts the campaign's own tasks, instead of
    asking which workers are idle, so it waits for no answer; a task of a gang counts as many.

    It follows from this alone that no worker idles beside an entry that it fits: if as many tasks
    are out as there are workers that fit them, and one of these workers has nothing to do, then one
    of the tasks is queued, and the broker leaves no worker idle beside a queued task that it fits.
    Tasks that other workers fit, too, or only some of these, are counted apart: it is not known
    where they run, and tasks behind them would wait for workers that they do not need.

    Args:
        session: takes the tasks.
        fail: called with the error if an entry cannot be submitted.
        may_feed: returns whether the campaign still wants work to go out.
        changed: called when a board or a pool has changed.
        waits_until: waits, in an agent, for a condition.
        seed: the seed of the draws of boards.
    """

    def __init__(
        self,
        session: Session,
        fail: Callable[[Exception], None],
        may_feed: Callable[[], bool],
        changed: Callable[[], None],
        *,
        waits_until: Callable[[Callable[[], object]], Awaitable[object]],
        seed: int = 0,
    ) -> None:
        self._session = session
        self._fail = fail
        self._may_feed = may_feed
        self._told_changed = changed
        self._waits_until = waits_until
        self._seed = seed
        self._campaign: object = None
        self._boards: list[Board[Any]] = []
        self._in_pool: defaultdict[str, PoolTasks] = defaultdict(PoolTasks)
        self._of_board: dict[int, tuple[Board[Any], Any]] = {}
        self._made_by = ""
        self._watch = BoardWatch(session.client.campaign.announce)

    def __repr__(self) -> str:
        counts = {pool: tasks.taken.total() for pool, tasks in self._in_pool.items()}
        return f"<Feeder {self._boards}, in pools: {counts}>"

    @property
    def waiting(self) -> int:
        """How many entries boards have still to hand out."""
        return sum(board.left for board in self._boards)

    def uses(self, pool: str) -> bool:
        """Whether tasks of the campaign are outstanding, or wait on boards, for a pool."""
        if self._in_pool[pool].taken:
            return True
        return any(lane.pool == pool for board in self._boards for lane in board.lanes)

    def by_pool(self) -> Counter[str]:
        """Return how many entries boards have still to hand out, by pool."""
        counts: Counter[str] = Counter()
        if self._may_feed():
            for board in self._boards:
                for lane in board.lanes:
                    counts[lane.pool] += board.left_in(lane)
        return counts

    def begin(self, campaign: object) -> None:
        """Begin to feed from the boards of a campaign."""
        self._campaign = campaign
        self._session.pools.on_boards = self.by_pool
        self._made_by = f"{type(campaign).__name__}.__init__"
        self.find_boards()

    def find_boards(self) -> None:
        """Find the boards that the campaign has now, drop others, and feed."""
        if self._campaign is None:
            return
        self._let_go()
        self._boards = boards_of(self._campaign)
        names = board_names(self._campaign, self._boards)
        for board in self._boards:
            board.on_change, board.waits_until = self.changed, self._waits_until
        for name, board in names.items():
            board.seed(derive(self._seed, f"board {name}", SEED_BITS))
        self._watch.follow(names)
        self.feed()

    def name_unfed(self) -> None:
        """Warn of boards that were not found, and so not fed."""
        if self._campaign is None:
            return
        for path, board in hidden_boards(self._campaign).items():
            if len(board):
                log.warning(
                    "%d entries of the board %s were never handed out: keep it in an attribute of "
                    "the campaign itself, or in a list or dict there",
                    len(board),
                    path,
                )

    def reassigned(self, old: object, new: object) -> None:
        """Take in that an attribute of the campaign has another value."""
        if self._campaign is not None and (boards_in(new) or boards_in(old)):
            self.find_boards()

    def tell_boards(self) -> None:
        """Tell the record how the boards stand now."""
        self._watch.look()

    def close(self) -> None:
        """Let go of the boards."""
        self._watch.close()
        if self._campaign is not None:
            self._session.pools.on_boards = dict
        self._campaign = None
        self._let_go()

    def _let_go(self) -> None:
        for board in self._boards:
            board.on_change = board.waits_until = None

    def submitted(self, task: Task[Any]) -> None:
        """Take in that a task of the campaign was submitted, by a board or an agent."""
        self._in_pool[task.type.pool].count(task.needs, task.gang, 1)

    def waits(self, task: Task[Any], waits: bool) -> None:
        """Take in whether a task waits for others, so that it needs no worker yet."""
        self._in_pool[task.type.pool].count(task.needs, task.gang, -1 if waits else 1)
        if waits:
            self.feed()

    def came_from(self, task: Task[Any], boards: Iterable[Board[Any]]) -> bool:
        """Return whether a task came from one of these boards, and not one dropped since."""
        of_board = self._of_board.get(task.id)
        return of_board is not None and any(board is of_board[0] for board in boards)

    def ended(self, task: Task[Any]) -> bool:
        """Take in that a task of the campaign ended; return whether it came from a board."""
        self._in_pool[task.type.pool].ended(task.needs, task.gang)
        of_board = self._of_board.pop(task.id, None)
        if of_board is None:
            return False
        board, key = of_board
        board.ends(key)
        return True

    def changed(self) -> None:
        """Take in that a board or a pool has changed."""
        self._told_changed()
        self.feed()
        self._session.pools.boards_changed()

    def feed(self) -> None:
        """Hand out as many entries as may go out now."""
        shared: defaultdict[Lane, list[Board[Any]]] = defaultdict(list)
        for board in self._boards:
            if not board.left:
                continue
            if board.weight is None:
                for lanes in self._alike(board.lanes):
                    self._feed_from(board, lanes)
            else:
                for lane in dict.fromkeys(map(_single, board.lanes)):
                    shared[lane].append(board)
        for lane, boards in shared.items():
            self._feed_in_turn(boards, lane)
        self._watch.changed()

    def _alike(self, lanes: list[Lane]) -> Iterable[list[Lane]]:
        """Return lanes by the workers that fit them now: of those that are alike the best goes."""
        if len(lanes) == 1:
            return [lanes]
        alike: defaultdict[Hashable, list[Lane]] = defaultdict(list)
        for lane in lanes:
            tasks, load = self._in_pool[lane.pool], self._load_of(lane.pool)
            alike[lane.pool, tasks.workers_for(load, lane.needs)].append(lane)
        return alike.values()

    def _load_of(self, pool: str) -> PoolLoad:
        return self._session.client.watch.pools.get(pool, NOBODY)

    def _feed_from(self, board: Board[Any], lanes: Sequence[Lane]) -> None:
        """Hand out entries of a board for the same workers."""
        going = True
        while going and self._may_feed():
            able = self._with_room(lanes, board.ahead)
            entry = board.take_of(able) if able else None
            going = entry is not None and self._hand_out(board, entry)

    def _feed_in_turn(self, boards: Sequence[Board[Any]], lane: Lane) -> None:
        """Hand out entries of boards with a weight for the same workers, in turn by weight."""
        ahead, going = max(board.ahead for board in boards), True
        while going and self._may_feed():
            able = [
                (board, lanes)
                for board in boards
                if (lanes := self._with_room(_for_workers_of(board, lane), ahead))
            ]
            if not able:
                return
            board, lanes = self._in_turn(able, lane)
            entry = board.take_of(lanes)
            going = entry is not None and self._hand_out(board, entry)

    def _in_turn(
        self, able: Sequence[tuple[Board[Any], list[Lane]]], lane: Lane
    ) -> tuple[Board[Any], list[Lane]]:
        """Return the board that hands out next, of those with a weight, and note that it does."""
        for board, lanes in able:
            if any(map(board.had_out, lanes)):  # its turn was noted in the incarnation before
                return board, lanes
        weights = [board.weight or 0.0 for board, _ in able]
        lags = [board.lags.get(lane, 0.0) for board, _ in able]
        for board in self._boards:
            if board.lags and not _for_workers_of(board, lane):
                share_out(board.lags.pop(lane, 0.0), weights, lags)
        chosen = able[next_in_turn(weights, lags)]
        for (board, _), lag in zip(able, lags, strict=True):
            board.lags[lane] = lag
        return chosen

    def _with_room(self, lanes: Iterable[Lane], ahead: int) -> list[Lane]:
        """Return those lanes of which an entry may go out now."""
        return [
            lane
            for lane in lanes
            if self._in_pool[lane.pool].has_room(
                self._load_of(lane.pool), lane.needs, lane.gang, ahead
            )
        ]

    def idle(self, pool: str) -> int:
        """Return how many workers of a pool have nothing to do, now."""
        load = self._session.client.watch.pools.get(pool)
        if load is None or load.paused:
            return 0
        # tasks that are queued beside idle workers do not fit them
        at_workers = self._in_pool[pool].taken.total() - load.queued
        return max(0, min(load.idle, load.workers - load.starting - at_workers))

    def _hand_out(self, board: Board[Any], out: HandedOut) -> bool:
        """Submit the task of an entry; ``False``: it cannot be."""
        token = current_agent.set(out.cause or self._made_by)
        behind = results_behind.set(out.because)
        chain = chain_behind.set(NOTHING)  # an entry of a board begins something new
        under_way = chain_under_way.set(None)
        try:
            kind, call = board.placed(out)
            task = self._session.submit_with(kind, out.args, {}, call.options, call.tags)
        except Exception as error:  # noqa: BLE001 - of user values, in a callback: ends the campaign
            self._fail(error)
            return False
        finally:
            current_agent.reset(token)
            results_behind.reset(behind)
            chain_behind.reset(chain)
            chain_under_way.reset(under_way)
        if kind.kind == "generator":  # a board reads only how an entry ended
            task.ignore_items()
        board.runs(out.key, task)
        self._of_board[task.id] = (board, out.key)
        return True


def _single(lane: Lane) -> Lane:
    """Return the lane of single entries for the same workers."""
    return lane._replace(gang=1)


def _for_workers_of(board: Board[Any], lane: Lane) -> list[Lane]:
    """Return the lanes of a board that have entries for the workers of a lane."""
    return [each for each in board.lanes if _single(each) == lane]
