"""A node: the supervisor on one host that starts, watches, kills and replaces its workers.

It carries out the broker's orders, tells it of every worker that ended, and beats. Its beats speak
for its workers, whose own thread belongs to the task.  With each answer it measures how far its
clock is from the broker's (`clock_difference`).

On another host its workers speak to it, and it passes their words on: one connection carries all.
Both ends count the messages about its workers, and beats compare the counts; if any message was
lost, the node gives an account of each worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import assert_never, cast

from msgspec import structs

from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.errors import EncodingError, ProtocolError
from steerio.model import messages as ms
from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.model.settings import Settings
from steerio.node.clock_difference import ClockDifference
from steerio.node.finding_again import FindsBroker, look_for
from steerio.node.forker import Forker
from steerio.node.object_cache import Copies
from steerio.node.orders import Orders
from steerio.node.relay import Relay
from steerio.node.silence import Silence, why_given_up
from steerio.node.words_of_workers import WordsOfWorkers

log = logging.getLogger("steerio.node")

CLEAR_S = 0.2
"""Time between two looks of a node that begins again for the end of its workers."""


class Node:
    """One node, over any link and any forker.

    Args:
        link: the way to the broker.
        forker: starts workers.
        joins: the message by which it joins: its name, host and process, and its offer of workers.
        settings: bounds and leases, until the broker says by which it goes.
        same_clock: whether the broker is on this host, so that their clocks are one.
        clock: monotonic seconds.
        copies: of objects, if the store is not on this host.
        relay: the workers' streams, if the workers do not speak to the broker themselves. With it
            they go on with their tasks while no broker is there.
        again: whether it was let in before, by another broker, as another process.
        find: finds the broker again, or another in its place, when it is gone; by default the node
            ends then.
    """

    def __init__(
        self,
        link: LinkEndpoint,
        forker: Forker,
        joins: ms.JoinNode,
        *,
        settings: Settings,
        same_clock: bool = True,
        clock: Callable[[], float] | None = None,
        copies: Copies | None = None,
        relay: Relay | None = None,
        again: bool = False,
        find: FindsBroker | None = None,
    ) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._link = link
        self._forker = forker
        self._copies = copies
        self._words = WordsOfWorkers(link, forker, relay, self.ended)
        self._find = find
        self.name = joins.name
        self._joins = joins
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._began = self._loop.time()
        self._silence = Silence()
        self._difference = ClockDifference(same_clock)
        self._orders = Orders(forker, copies, self._tell_not_begun)
        self._timer: asyncio.TimerHandle | None = None
        self._joined = False
        self._rejoins = again
        """Whether it was let in before, and has to be again."""
        self._clears = False
        """Whether it waits for the end of its workers, or for a broker, to begin again."""
        self.on_joined: Callable[[], None] | None = None
        """Called once the broker has let it in."""
        self.failed = False
        """Whether it ended because no broker let it in, or because of a failure of its own."""
        self.broker_gone = False
        """Whether it ended because the broker was gone without a word."""

    def start(self) -> None:
        """Join the broker and begin to follow it; ``ended`` says when and why that is over."""
        self._link.attach(self._loop, self._wake)
        self._words.attach(self._loop, self._hear_workers)
        self._say(self._joins)
        self._beat()

    def worker_exited(self, worker: str, run: int, reason: str) -> None:
        """Tell the broker that a worker ended, after its last words."""
        self._words.exited(worker)
        if self._joined and not self.ended.done():
            left = self._copies.left_by(worker) if self._copies is not None else []
            self._words.said += 1
            self._say(ms.WorkerExited(worker, run, cut(reason, REASON_CHARACTERS), left))

    def left_over(self, worker: str, names: list[bytes]) -> None:
        """Tell of objects that a worker has put which has ended since: they are not needed."""
        if self._joined and not self.ended.done():
            self._words.said += 1
            self._say(ms.WorkerExited(worker, 0, "", names))

    def leave(self, reason: str) -> None:
        """Leave the broker in good order, after all words of workers."""
        if not self.ended.done():
            self._words.hear_all()
            self._say(ms.Leave(cut(reason, REASON_CHARACTERS)))
            self._end(reason)

    def fail(self, reason: str) -> None:
        """Leave the broker because of a failure of its own."""
        if not self.ended.done():
            self.failed = True
            self.leave(reason)

    def lose_broker(self, reason: str) -> None:
        """Take in that the broker is gone: look for it, or for another in its place, or end."""
        if self.ended.done() or self._clears:
            return
        find = self._find
        if find is None:
            self.failed = True
            self._end(reason)
            return
        until = self._loop.time() + self._patience_s(True)
        self._begin_again(reason)
        self._clear(lambda: self._begin_search(find, reason, until))

    def _begin_search(self, find: FindsBroker, reason: str, until: float) -> None:
        search = self._loop.create_task(self._search(find, reason, until), name="steerio search")
        self.ended.add_done_callback(lambda _: search.cancel())

    async def _search(self, find: FindsBroker, reason: str, until: float) -> None:
        """Look for a broker, and join it."""
        link = await look_for(find, until, self.ended)
        if self.ended.done():
            return
        if link is not None:
            self._link = self._words.link = link
            self._join()
        elif find.wants_fresh:
            self.failed = self.broker_gone = True
            self._end("nothing of this node can go on with the broker that is there")
        else:
            self.failed = True
            self._end(f"{reason}; no other broker has begun in its place")

    @property
    def silent_s(self) -> float:
        """How long the broker has said nothing, in seconds."""
        return self._silence.beats * self._settings.beat_s

    def _say(self, message: ms.ToBroker) -> None:
        self._link.send(message)
        self._flush()

    def _hear_workers(self) -> None:
        """Pass on the words of workers that have come."""
        self._words.hear()
        if not self.ended.done():
            self._flush()

    def _flush(self) -> None:
        try:
            self._link.flush()
        except EncodingError as error:
            self.fail(f"a message to the broker could not be sent: {error}")
            return
        if self._link.ready():
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        if self.ended.done() or self._clears:
            return
        try:
            received = self._link.receive(1_000)
        except ProtocolError as error:
            self.fail(f"a message of the broker could not be read: {error}")
            return
        except OSError as error:
            self.lose_broker(str(error))
            return
        for message, frames in received:
            self._silence.heard = True
            self._follow(cast("ms.ToNode", message), frames)  # its link decodes no other
            if isinstance(message, ms.Refused):  # all that follows is of a session that is over
                return
        self._words.flush()
        if not self.ended.done() and self._link.ready():
            self._loop.call_soon(self._wake)

    def _follow(self, message: ms.ToNode, frames: Frames) -> None:
        match message:
            case ms.TellWorker():
                self._words.tell(message, frames)
            case ms.StartWorker() | ms.StopRunning() | ms.TakeBack() | ms.SignalWorker():
                if isinstance(message, ms.StartWorker):
                    self._words.started(message.worker, message.pool)
                self._orders.treat(message)
            case ms.BeatAnswer():
                self._beat_answered(message)
            case ms.AskAccount():
                self._give_account(message.now, orders_lost=False)
            case ms.Accepted():
                self._let_in(message)
            case ms.Refused():
                self._refused(message)
            case ms.Closing():
                self._end(message.reason)
            case ms.FetchAhead() | ms.ForgetObjects():
                self._orders.copy(message)
            case _:
                assert_never(message)

    def _refused(self, message: ms.Refused) -> None:
        if message.rejoin:
            if not self._clears:  # else it is said again of the same session
                self._begin_again(message.reason)
                self._clear(self._join_anew)
        else:
            self.failed = True
            self._end(message.reason)

    def _begin_again(self, reason: str) -> None:
        """Leave the link; workers that work on a task are kept."""
        log.warning(
            "node %s looks for its broker again (%s); tasks that run go on", self.name, reason
        )
        self._rejoins |= self._joined
        self._joined, self._clears = False, True
        self._link.detach()
        self._words.keep()

    def _clear(self, then: Callable[[], object]) -> None:
        """Wait for the end of the workers that are not kept."""
        if self.ended.done():
            return
        left = self._words.not_kept()
        if not left:
            then()
            return
        for worker in left:
            self._forker.signal(worker, 0, "kill")
        self._loop.call_later(CLEAR_S, self._clear, then)

    def _join_anew(self) -> None:
        """Ask the same broker to be let in again."""
        self._link.renew()
        self._join()

    def _join(self) -> None:
        self._clears = False
        self._silence.beats = 0
        self._difference.forget()
        self._link.attach(self._loop, self._wake)
        walltime_s = self._joins.walltime_s
        if walltime_s is not None:
            walltime_s -= self._loop.time() - self._began
        keeps = self._words.begin_again()
        self._say(structs.replace(self._joins, walltime_s=walltime_s, keeps=keeps))

    def _let_in(self, message: ms.Accepted) -> None:
        self._joined, self._settings = True, message.settings
        self.name = message.name or self.name
        if self.on_joined is not None:
            self.on_joined()
        if self._difference.same_clock or not self._words.tells_of_kept:
            self._pass_on()
        else:  # their times would be wrong
            self._say(self._own_beat())

    def _pass_on(self) -> None:
        self._words.pass_on()
        self._flush()

    def _tell_not_begun(self, worker: str, run: int) -> None:
        if not self.ended.done():
            self._say(ms.NotBegun(worker, run))

    def _beat(self) -> None:
        if self.ended.done():
            return
        settings = self._settings
        if self._clears:  # it looks for a broker, and has its own patience
            self._timer = self._loop.call_later(settings.beat_s, self._beat)
            return
        self._silence.beat(self._link.packets)
        was_in = self._joined or self._rejoins
        if self.silent_s > self._patience_s(was_in) and not self._link.ready():
            self.failed = True
            self._end(why_given_up(self.silent_s, was_in=was_in))
            return
        self._hear_workers()  # it may have had no descriptors to take new workers in
        if self._joined:
            self._say(self._own_beat())
        self._link.tick()
        if self._link.ready():  # a message that came while it sent does not wake it
            self._loop.call_soon(self._wake)
        self._timer = self._loop.call_later(settings.beat_s, self._beat)

    def _patience_s(self, was_in: bool) -> float:
        """Return how long a broker may be silent before this node gives it up."""
        if not was_in:
            return self._settings.lease_s
        return self._settings.rejoin_s if self._joins.walltime_s is None else inf

    def _own_beat(self) -> ms.Beat:
        its = self._difference
        return ms.Beat(self._clock(), its.offset_s, its.trip_s, self._words.said)

    def _beat_answered(self, answer: ms.BeatAnswer) -> None:
        self._difference.measure(answer.sent, answer.now, self._clock())
        if self._joined and not self._words.passes_on and self._difference.offset_s is not None:
            self._say(self._own_beat())
            self._pass_on()
        if not self._words.beat_answered(answer.told):
            self._give_account(answer.now, orders_lost=True)
        self._words.forget_old()

    def _give_account(self, heard: float, *, orders_lost: bool) -> None:
        """Give an account of each worker, after all its words.

        Args:
            heard: the broker's clock at the last of its messages that have come.
            orders_lost: whether messages to workers were lost.
        """
        self._say(ms.Account(heard, self._words.accounts(), orders_lost))

    def _end(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(reason)
            self._link.detach()
            self._words.detach()
