"""The client: one event loop's way to a broker, in this process or another.

Submitting, cancelling and re-ranking are synchronous: they put a message on the link and return.
The news that come back are dealt to *sinks*, one per task.  When the broker ends or is silent for
its lease, every sink is told that its task is lost and ``lost`` says why, so that no await outlives
the broker.  A client of a standing broker waits before that for the broker to come back, see
``client.coming_back``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import assert_never

from msgspec import structs

from steerio.client.campaign_line import CampaignLine
from steerio.client.client_tasks import ClientTasks
from steerio.client.coming_back import ComingBack, Finder
from steerio.client.joining import Joining
from steerio.client.line import Line, Recording
from steerio.client.requests import ClientRequests
from steerio.client.subscriptions import ClientWatch
from steerio.edge.encoding.refusing import refusing_pickles
from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.model import messages as ms
from steerio.model.objects import client_maker
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.model.tasks import EndedAs

LEFT = "this session was closed, and its tasks go on"
"""Why the tasks of a detached session are lost to it when it ends."""


class Client(ClientTasks):
    """One client of a broker.

    Args:
        link: the way to the broker.
        settings: beats and leases, until the broker tells its own.
        watched: whether the broker may vanish without this process noticing.
        clock: returns the time, in Unix seconds.
        finder: finds the broker again when it is gone; by default the client ends then.
    """

    def __init__(
        self,
        link: LinkEndpoint,
        settings: Settings | None = None,
        *,
        watched: bool,
        clock: Callable[[], float] = time.time,
        finder: Finder | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.closed_pools: frozenset[str] = frozenset()
        self.name = ""  # under which it joined
        self.allow: tuple[str, ...] | None = None
        """The functions that workers run, which then read no pickle; ``None``: any."""
        self._refusal = contextlib.ExitStack()
        """Refuses pickles in this process as long as it has such a client."""
        loop = asyncio.get_running_loop()
        line = Line(link, loop, self._deal, self._lose, self._part, self._look_around)
        super().__init__(line, loop, clock, comes_back=finder is not None)
        self.send = self._line.send
        self.refuse_threads = self._line.refuse_threads
        self._watched = watched
        self.requests = ClientRequests(self._line, self._loop)
        self.watch = ClientWatch(self._line, self._loop)
        self.campaign = CampaignLine(self._line)
        self._joining = Joining(self._line, self._loop)
        self._request = ms.JoinClient(ms.PROTOCOL, "")
        self._incarnation = 0
        self._coming_back: ComingBack | None = None
        if finder is not None:
            self._coming_back = ComingBack(finder, self._join_again, self._lose)
        self._on_lost: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        state = f"lost: {self.lost}" if self.lost else counted(len(self.sinks), "task")
        return f"<Client {self._number}: {state}>"

    # -- joining and leaving ----------------------------------------------------------------

    async def join(
        self,
        name: str,
        timeout_s: float = 10.0,
        worker: str = "",
        *,
        observes: bool = False,
        detached: bool = False,
    ) -> None:
        """Join the broker.

        Args:
            name: of this client, in status and events.
            timeout_s: longest wait for the broker's answer.
            worker: the worker in whose task this runs, as ``name:pid``.
            observes: whether it wants only to look on.
            detached: whether its tasks go on when it leaves.

        Raises:
            JoinRefused: the broker does not let this client in; the message says why.
            BrokerLost: the broker did not answer in time.
        """
        self.name = name
        request = ms.JoinClient(ms.PROTOCOL, name, worker, observes, detached=detached)
        accepted = await self._joining.ask(request, timeout_s)
        self._request = structs.replace(request, returns=accepted.number, session=accepted.session)
        self._detached = detached
        self._line.observes = accepted.observes
        if not accepted.incarnation:
            self._coming_back = None
            self._ends_with_broker()
        self._let_in(accepted)

    def _let_in(self, accepted: ms.Accepted) -> None:
        self._number, self.settings = accepted.number, accepted.settings
        self._incarnation = accepted.incarnation
        self._counter = max(self._counter, accepted.tasks)
        self.closed_pools = frozenset(accepted.pools)
        if accepted.allow is not None and self.allow is None:
            self._refusal.enter_context(refusing_pickles())
        self.allow = accepted.allow
        if self._watched:
            self._line.watch(self.settings)

    @property
    def silent_beats(self) -> int:
        """The number of beats in a row without a word of the broker."""
        return self._line.silent_beats

    @property
    def waits_s(self) -> float:
        """For how many seconds it waits at most for a broker that is gone; 0: it is there."""
        back = self._coming_back
        return back.left_s if back is not None and self._line.away else 0.0

    @property
    def may_return(self) -> bool:
        """Whether it looks for its broker, should that be gone."""
        return self._coming_back is not None

    @property
    def lost(self) -> str:
        """Why the broker is gone; empty as long as it is there."""
        return self._line.lost

    @property
    def observes(self) -> bool:
        """Whether the broker lets this client only look on."""
        return self._line.observes

    @property
    def is_remote(self) -> bool:
        """Whether the broker is in another process, whose log is not this one's."""
        return self._watched

    @property
    def maker(self) -> str:
        """The client's name as the maker of objects in the store."""
        return client_maker(self._number)

    def close(self) -> None:
        """Leave the broker and close the link."""
        if not self._line.lost and self._number >= 0:
            self.say(ms.Leave())
        self._line.flush_last()
        if self._detached:
            self._lose(LEFT, "lost")
        else:
            self._lose("this session was closed", "cancelled")
        self._line.close()

    async def wait_closed(self) -> None:
        """Wait, after `close`, until nothing is under way any more."""
        if self._coming_back is not None:
            await self._coming_back.ended()

    def record_by(self, recording: Recording | None) -> None:
        """Have each batch of messages taken in before it is dealt out; see `Line.recording`."""
        self._line.recording = recording

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call back with the reason when the broker is lost (at once if it is)."""
        if self.lost:
            callback(self.lost)
        else:
            self._on_lost.append(callback)

    def off_lost(self, callback: Callable[[str], None]) -> None:
        """Drop this callback, if it is registered."""
        if callback in self._on_lost:
            self._on_lost.remove(callback)

    # -- from the broker ------------------------------------------------------------------------

    def _deal(self, message: ms.ToClient, frames: Frames) -> None:
        match message:
            case ms.TaskSettled():
                self._deal_end(message, frames)
            case ms.TaskItem():
                self._deal_item(message, frames)
            case ms.Events():
                self.watch.happened(message)
            case ms.PoolStatus():
                self.watch.pools_told(message)
            case ms.TaskStates():
                self._deal_states(message)
            case ms.PassOrder() | ms.Announced():
                self.campaign.heard(message)
            case _:
                self._deal_rarely(message)

    def _deal_rarely(
        self,
        message: ms.Accepted
        | ms.Refused
        | ms.BeatAnswer
        | ms.Closing
        | ms.Status
        | ms.MoveNews
        | ms.VersionNews
        | ms.NodeNews
        | ms.LedgerTasks
        | ms.PauseNews
        | ms.TaskReason
        | ms.OrderNews,
    ) -> None:
        match message:
            case ms.MoveNews():
                self.requests.moved(message)
            case ms.VersionNews():
                self.objects.heard(message)
            case ms.Status() | ms.NodeNews() | ms.PauseNews() | ms.TaskReason() | ms.OrderNews():
                self.requests.answered(message)
            case ms.LedgerTasks():
                self.requests.ledger_told(message)
            case ms.Accepted():
                self._joining.accepted(message)
            case ms.Refused():
                if not self._joining.refused(message.reason, message.rejoin):
                    (self._part if message.rejoin else self._lose)(message.reason)
            case ms.Closing():
                self._lose(message.reason)
            case ms.BeatAnswer():
                pass  # it has no content: that it arrived is its news
            case _:
                assert_never(message)

    # -- while the broker is gone -----------------------------------------------------------------

    def _part(self, reason: str) -> None:
        """Take in that the broker is gone: wait for it if it may come back."""
        if self._coming_back is None or self._number < 0:
            self._lose(reason)
        elif not self._line.lost and not self._line.away:
            self._line.part(reason)
            self._coming_back.begin(reason, self.settings.away_s)

    def wait_no_longer(self, why: str) -> int | None:
        """Give up a broker that is gone, and end all tasks as cancelled; return their number.

        Args:
            why: it is not waited for.

        Returns:
            ``None`` if no broker is waited for, and nothing was given up.
        """
        if self._line.lost or not self._line.away:
            return None
        given_up = len(self.sinks)
        self._lose(why, "cancelled")
        return given_up

    def _look_around(self) -> None:
        if self._coming_back is not None:
            self._coming_back.look_around(self._part)

    async def _join_again(self, link: LinkEndpoint, timeout_s: float) -> None:
        """Join over a link, and say again all that the broker has to know.

        Raises:
            JoinRefused: the broker does not let this client in.
            BrokerLost: it does not answer.
        """
        # a line of its own: nothing else may be said before the broker has let it in
        line = Line(link, self._loop, self._deal, self._lose_joining)
        self._joining = Joining(line, self._loop)
        try:
            accepted = await self._joining.ask(self._request, timeout_s)
        finally:
            line.end("the client goes on by its own line")
        self._line.resume(link)
        another = accepted.incarnation != self._incarnation
        self._let_in(accepted)
        self._types.clear()
        self.watch.restate(accepted.events if another else None)
        self.objects.restate()
        self.campaign.restate(accepted.events)
        self.requests.restate(afresh=another)
        await self._submit_again()

    def _lose_joining(self, reason: str) -> None:
        self._joining.lose(reason)

    def _lose(self, reason: str, ended_as: EndedAs = "lost") -> None:
        if self._line.lost:
            return
        self._line.end(reason)
        if self._coming_back is not None:
            self._coming_back.cancel()
        self._reserved.clear()
        if self._outstanding is not None:
            self._outstanding.clear()
        self.objects.lose(reason)
        sinks, self.sinks = self.sinks, {}
        closed = ended_as == "cancelled" or reason == LEFT
        why = reason if closed else f"the broker is gone: {reason}"
        for number, sink in sinks.items():
            news = ms.TaskSettled.unknown(number, ended_as, self._clock(), why)
            try:
                sink.settled(news, ())
            except Exception as error:  # noqa: BLE001 - of a callback: the others get theirs
                self._line.callback_failed(news, error)
        self.requests.lose(reason, why)
        self.watch.lose(reason)
        self.campaign.lose()
        self._joining.lose(reason)
        for callback in list(self._on_lost):
            callback(reason)
        self._refusal.close()
