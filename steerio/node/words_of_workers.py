"""The words of a node's workers to the broker, and back: passed on and counted, or kept.

Workers of the broker's own host speak to it themselves: then there is nothing to pass on, and a
node has only to count the exits that it tells of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.model import messages as ms
from steerio.node.forker import Forker
from steerio.node.kept_workers import KeepsWorkers
from steerio.node.relay import Relay, Words


class WordsOfWorkers:
    """Passes on the words of a node's workers, or keeps them while no broker is there.

    Args:
        link: the way to the broker.
        forker: knows the workers.
        relay: the workers' streams, if the workers do not speak to the broker themselves.
        ended: is done when nothing is passed on any more.
    """

    def __init__(
        self,
        link: LinkEndpoint,
        forker: Forker,
        relay: Relay | None,
        ended: asyncio.Future[str],
    ) -> None:
        self.link = link
        """The way to the broker that is there now."""
        self.said = 0
        """How many messages about workers were sent to the broker."""
        self.passes_on = False
        """Whether the words of workers go to the broker at once: it knows the workers."""
        self._told = 0
        """How many messages for workers have come from it."""
        self._forker = forker
        self._relay = relay
        self._keeps: KeepsWorkers | None = None
        if relay is not None:
            self._keeps = KeepsWorkers(relay, forker.works_on, forker.recall, forker.signal)
        self._ended = ended

    def __repr__(self) -> str:
        return f"<WordsOfWorkers: {self.said} said, {self._told} told>"

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever workers may have said something."""
        if self._relay is not None:
            self._relay.attach(loop, wake)

    def detach(self) -> None:
        """Call ``wake`` no more."""
        if self._relay is not None:
            self._relay.detach()

    # -- to the broker --------------------------------------------------------------------------

    def hear(self) -> None:
        """Have the words of workers that have come sent with the next flush of the link."""
        if self._relay is not None:
            self._collect(self._relay.heard())

    def hear_all(self) -> None:
        """Have all words of workers sent that are written by now."""
        if self._relay is not None:
            self._collect(self._relay.words_of(list(self._forker.workers)))

    def exited(self, worker: str) -> None:
        """Have the last words of a worker sent, which has ended."""
        if self._relay is not None:
            self._collect(self._relay.exited(worker))
        if self._keeps is not None:
            self._keeps.gone(worker)

    def _collect(self, words: Iterable[Words]) -> None:
        """Have words sent with the next flush, or drop them if the broker has given them up."""
        if not self.passes_on and self._keeps is not None:
            self._keeps.stash(words)
            return
        for envelope, frames in words:
            if not self._ended.done():
                self.said += 1
                self.link.send(envelope, frames)

    def accounts(self) -> list[ms.WorkerAccount]:
        """Return an account of each worker, after all its words."""
        names = list(self._forker.workers)
        if self._relay is None:
            return [ms.WorkerAccount(name, [], 0, 0) for name in names]
        words, accounts = self._relay.accounts(names)
        self._collect(words)
        return accounts

    # -- from the broker ------------------------------------------------------------------------

    def tell(self, message: ms.TellWorker, frames: Frames) -> None:
        """Pass messages on to a worker with the next `flush`."""
        self._told += 1
        if self._relay is not None:
            self._relay.tell(message, frames)

    def flush(self) -> None:
        """Write the messages that were passed on to workers."""
        if self._relay is not None:
            self._relay.flush()

    def beat_answered(self, told: int) -> bool:
        """Take in how many messages for workers the broker has sent; say whether all have come."""
        all_came, self._told = told == self._told, told
        return all_came

    def forget_old(self) -> None:
        """Take in that a beat was answered: the broker has had the words before it."""
        if self._relay is not None:
            self._relay.beat_answered()

    # -- while no broker is there ---------------------------------------------------------------

    def started(self, worker: str, pool: str) -> None:
        """Take in that the broker has a worker started."""
        if self._keeps is not None:
            self._keeps.started(worker, pool)

    def keep(self) -> None:
        """Keep words, and the workers that work on a task: the broker is gone."""
        self.passes_on = False
        if self._keeps is not None and self._relay is not None:
            workers = list(self._forker.workers)
            self._keeps.stash(self._relay.words_of(workers))
            self._keeps.begin(workers)

    def not_kept(self) -> list[str]:
        """Return the workers that are to end before the node joins a broker again."""
        keeps = self._keeps
        return [each for each in self._forker.workers if keeps is None or each not in keeps]

    def begin_again(self) -> list[ms.KeptWorker]:
        """Count anew; return the workers that are kept, for the request to be let in."""
        self.said = self._told = 0
        return [] if self._keeps is None else self._keeps.to_tell()

    @property
    def tells_of_kept(self) -> bool:
        """Whether the broker has yet to hear of workers that were kept."""
        return bool(self._keeps)

    def pass_on(self) -> None:
        """Tell the broker of the workers that were kept, and pass the words of all on."""
        self.passes_on = True
        for words, frames in self._keeps.let_in() if self._keeps is not None else ():
            self.said += 1
            self.link.send(words, frames)
