"""The line of a client to its broker: messages out and in, and whether the broker is still there.

Messages are collected, and flushed before the loop next waits.  Messages that arrive are dealt out
one by one.  All of that happens on the loop's thread: `Line.refuse_threads` refuses others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from math import ceil
from threading import get_ident
from typing import Protocol, cast

from steerio.client.nowhere import Nowhere
from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.edge.wire.headers import refuse_unreadable
from steerio.errors import EncodingError, NotAllowed, ProtocolError, UsageError
from steerio.model import messages as ms
from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.model.settings import Settings

log = logging.getLogger("steerio.client")

DEEDS: dict[type, str] = {
    ms.DefineTask: "submit tasks",
    ms.SubmitTask: "submit tasks",
    ms.CancelTasks: "cancel tasks",
    ms.Reprioritise: "re-rank tasks",
    ms.ReassignTasks: "move tasks to another pool",
    ms.GrantItems: "read the items of tasks",
    ms.WatchTasks: "watch tasks of its own, which it cannot have",
    ms.Publish: "publish events",
    ms.HoldObject: "put values into the store",
    ms.PublishVersion: "publish versions",
    ms.AskVersion: "read versions",
    ms.AskMove: "move workers",
    ms.AskDrain: "drain nodes",
    ms.AskUndrain: "undrain nodes",
    ms.AskPause: "pause pools",
    ms.GiveOrder: "give orders",
    ms.TakeOrders: "run campaigns",
    ms.Announce: "run campaigns",
    ms.AskResume: "resume pools",
    ms.ForgetTasks: "forget results",
    ms.StopBroker: "stop the broker",
}
"""Requests of clients that are more than looking on, in words."""
Received = Sequence[tuple[ms.FromBroker, Frames]]
"""A batch of messages, each with its frames."""


class Recording(Protocol):
    """A recorder of results, as seen by the line."""

    def take_in(self, received: Received) -> Received:
        """Take a batch in before it is dealt out; return the part to deal out now."""
        ...

    def dealt(self) -> None:
        """Take in that this part is dealt out."""
        ...


SILENT_BEATS = 3
"""Beats without a word of the broker after which another one is looked for."""
RECEIVED_AT_ONCE = 1_000
"""Most messages that are dealt out before other callbacks of the loop have their turn."""


class Line:
    """One client's end of the link to its broker.

    Args:
        link: the way to the broker.
        loop: the client's loop.
        deal: takes in one message of the broker, and its frames.
        lose: is called with the reason when a message of the broker cannot be read, or the broker
            is silent for too long; it has to call `end`.
        part: is called with the reason when the broker is gone; it has to call `end` or `part`.
        silent: is called at each beat when the broker has said nothing for some.
    """

    def __init__(
        self,
        link: LinkEndpoint,
        loop: asyncio.AbstractEventLoop,
        deal: Callable[[ms.ToClient, Frames], None],
        lose: Callable[[str], None],
        part: Callable[[str], None] | None = None,
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        self.lost = ""
        """Why the broker is gone for good; empty as long as it is there, or may come back."""
        self.away = ""
        """Why the broker is gone for now."""
        self.observes = False
        """Whether the broker lets this client only look on."""
        self.recording: Recording | None = None
        """Takes each batch in before it is dealt out."""
        self._link = link
        self._loop = loop
        self._deal = deal
        self._lose = lose
        self._part = part or lose
        self._on_silence = silent
        self._thread = get_ident()
        self._flush_due = False
        self.silent_beats = 0
        """The number of beats in a row without a word of the broker."""
        self._heard = True
        self._settings = Settings()
        self._beat_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Line by {self._link!r}{f', lost: {self.lost}' if self.lost else ''}>"

    # -- beginning and ending -----------------------------------------------------------------

    def open(self) -> None:
        """Begin to receive messages of the broker."""
        self._link.attach(self._loop, self._wake)

    @contextlib.contextmanager
    def asking(self) -> Generator[None, None, None]:
        """Have lost messages sent again until the broker has answered: no beats do that yet."""
        self._ask_later()
        try:
            yield
        finally:
            self._stop_beats()

    def _ask_later(self) -> None:
        self._beat_timer = self._loop.call_later(self._settings.beat_s, self._ask)

    def _ask(self) -> None:
        self._link.tick()
        self._ask_later()

    def watch(self, settings: Settings) -> None:
        """Send beats from now on, and give the broker up when it is silent for too long."""
        self._heard = True
        self._settings = settings
        self._beat()

    def part(self, reason: str) -> None:
        """Send and receive nothing until `resume`: the broker is gone for now."""
        self.away = reason
        self._stop_beats()
        self._link.detach()
        self._link = Nowhere()

    def resume(self, link: LinkEndpoint) -> None:
        """Go on over another link, or the same that was renewed: the client is in again."""
        self.away = ""
        self._link = link
        self.open()

    def end(self, reason: str) -> None:
        """Send and receive nothing from now on."""
        self.lost = reason
        self._stop_beats()
        self._link.detach()

    def flush_last(self) -> None:
        """Flush, for the last time: a message that cannot be sent is dropped."""
        with contextlib.suppress(EncodingError):
            self._link.flush()

    def close(self) -> None:
        """Close the link."""
        self._link.close()

    def _stop_beats(self) -> None:
        if self._beat_timer is not None:
            self._beat_timer.cancel()

    # -- out ------------------------------------------------------------------------------------

    def send(self, message: ms.ToBroker) -> None:
        """Put a message on the link, to be flushed before the loop next waits.

        Raises:
            UsageError: a broker could not read the message (raised here over every kind of link),
                or the caller is on another thread than the loop's.
            NotAllowed: the broker lets this client only look on.
        """
        self.refuse_threads()
        refuse_unreadable(message)
        self.say(message)

    def refuse_threads(self) -> None:
        """Refuse calls from other threads: the loop would not wake, so a wait would never end.

        Raises:
            UsageError: the caller is on another thread.
        """
        if get_ident() != self._thread:
            raise UsageError(
                "a session belongs to the thread of its event loop, and this is another; go "
                "by the loop: asyncio.run_coroutine_threadsafe(session.run(...), loop).result()"
            )

    def say(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Put a message on the link, whose parts that users gave have been checked already.

        Raises:
            NotAllowed: the broker lets this client only look on.
        """
        if self.observes:
            self._refuse_deeds(message)
        self._link.send(message, frames)
        if not self._flush_due and not self._link.immediate:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _refuse_deeds(self, message: ms.ToBroker) -> None:
        """Refuse a message that is more than looking on.

        Raises:
            NotAllowed: it is.
        """
        if not isinstance(message, ms.FromObserver):
            raise NotAllowed(DEEDS.get(type(message), f"send {type(message).__name__}"))

    def _flush(self) -> None:
        self._flush_due = False
        if not self._is_lost():
            try:
                self._link.flush()
            except EncodingError as error:
                self._give_up(f"a message to the broker could not be sent: {error}")
                return
            if self._link.ready():
                self._loop.call_soon(self._wake)

    def _give_up(self, reason: str) -> None:
        """Leave a broker with which messages fail, so that nothing waits for it."""
        self._link.send(ms.Leave(cut(reason, REASON_CHARACTERS)))
        self._link.flush()
        self._lose(reason)

    # -- in -------------------------------------------------------------------------------------

    def _is_lost(self) -> bool:
        """Whether the broker is lost by now: the message just dealt out may have been its last."""
        return bool(self.lost)

    def _wake(self) -> None:
        if self._is_lost():
            return
        self._heard = True
        try:
            received = self._link.receive(RECEIVED_AT_ONCE)
        except ProtocolError as error:
            self._give_up(f"a message of the broker could not be read: {error}")
            return
        except OSError as error:
            self._part(str(error))
            return
        recording = self.recording
        if recording is None:
            self.deal_all(received)
        else:
            self.deal_all(recording.take_in(received))
            recording.dealt()
        if not self._is_lost() and self._link.ready():
            self._loop.call_soon(self._wake)

    def deal_all(self, received: Received) -> None:
        """Deal out a batch of messages."""
        for message, frames in received:
            try:
                self._deal(cast("ms.ToClient", message), frames)  # its link decodes no other
            except Exception as error:  # noqa: BLE001 - of a callback: the others get theirs
                self.callback_failed(message, error)

    def callback_failed(self, message: ms.FromBroker, error: Exception) -> None:
        """Have the loop report a callback that raised; the other callbacks get their news."""
        context = {"message": f"a callback of {message!r} failed", "exception": error}
        self._loop.call_exception_handler(context)

    def _beat(self) -> None:
        settings = self._settings
        self.silent_beats, self._heard = 0 if self._heard else self.silent_beats + 1, False
        # counted in our own beats: this process may have been stopped itself
        silent_s = self.silent_beats * settings.beat_s
        if silent_s > settings.away_s and not self._link.ready():
            self._lose(f"the broker has been silent for {silent_s:.0f} s")
            return
        if self.silent_beats >= SILENT_BEATS:
            self._on_silence()
        if self.silent_beats == ceil(settings.lease_s / settings.beat_s):
            log.warning(
                "the broker has been silent for %.0f s; this client waits for it up to %.0f s",
                silent_s,
                settings.away_s,
            )
        self.say(ms.Beat(self._loop.time(), None))
        self._link.tick()
        self._beat_timer = self._loop.call_later(self._settings.beat_s, self._beat)
