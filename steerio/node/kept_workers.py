"""The workers that a node keeps while no broker is there: they go on with the task that they run.

So are those that have just ended one, as the broker may have died before it told the client. All
others are ended, and tasks that were sent ahead are not begun.  The words of those that are kept
wait here, up to a bound; a broker that lets the node in again hears of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from steerio.edge.encoding.values import total_bytes
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.tasks import SignalName
from steerio.node.relay import Relay, Words

MOST_BYTES = 256 * 2**20
"""Most bytes of the words that wait; a worker that says more is ended."""


class KeepsWorkers:
    """Keeps the workers of one node.

    Args:
        relay: knows the task of each attempt that it has passed on.
        works_on: returns the run that a worker has begun and not ended; 0: none.
        recall: keeps a worker from beginning a run.
        signal: ends a worker.
    """

    def __init__(
        self,
        relay: Relay,
        works_on: Callable[[str], int],
        recall: Callable[[str, int], None],
        signal: Callable[[str, int, SignalName], None],
    ) -> None:
        self._relay = relay
        self._works_on = works_on
        self._recall, self._signal = recall, signal
        self._pools: dict[str, str] = {}
        self._kept: dict[str, ms.KeptWorker] = {}
        self._words: list[Words] = []
        self._nbytes = 0
        self._fresh: set[str] = set()
        """Those that were started by the broker which has let the node in, and hears of it soon."""
        self._told: list[ms.KeptWorker] = []
        """Those of which a broker was told in a request to be let in."""

    def __repr__(self) -> str:
        return f"<KeepsWorkers: {len(self._kept)} kept>"

    def __bool__(self) -> bool:
        return bool(self._told)

    def __contains__(self, worker: str) -> bool:
        return worker in self._kept

    def started(self, worker: str, pool: str) -> None:
        """Take in that a worker is started for a pool."""
        self._pools[worker] = pool
        self._fresh.add(worker)

    def begin(self, workers: Collection[str]) -> None:
        """Keep the workers that work on a task, or have just ended one; the others are to end."""
        self._pools = {name: pool for name, pool in self._pools.items() if name in workers}
        self._fresh.clear()
        for worker in list(workers):
            if worker in self._kept:
                continue
            run, words = self._works_on(worker), None
            if not run and (end := self._relay.last_end(worker)) is not None:
                run, words = end
            task = self._relay.task_of(worker, run) if run else None
            if task is None:
                continue
            self._kept[worker] = ms.KeptWorker(worker, self._pools[worker], task, run)
            if words is not None:
                self.stash([words])
            for later in self._relay.runs_after(worker, run):
                self._recall(worker, later)

    def stash(self, words: Iterable[Words]) -> None:
        """Have the words of workers that are kept, or just started, wait; forget others."""
        for envelope, frames in words:
            worker = envelope.worker
            if worker not in self._kept and worker not in self._fresh:
                continue
            self._nbytes += len(envelope.header) + total_bytes(frames)
            if envelope.fault or self._nbytes > MOST_BYTES:
                self.gone(worker)
                self._signal(worker, 0, "kill")
            else:
                self._words.append((envelope, frames))

    def gone(self, worker: str) -> None:
        """Take in that a worker has ended: its task is to be run again."""
        self._pools.pop(worker, None)
        waited = worker in self._fresh or worker in self._kept
        self._fresh.discard(worker)
        self._kept.pop(worker, None)
        if waited:
            self._words = [words for words in self._words if words[0].worker != worker]

    def to_tell(self) -> list[ms.KeptWorker]:
        """Return those that are kept, for the request to be let in."""
        self._told = list(self._kept.values())
        return self._told

    def let_in(self) -> Iterator[tuple[ms.WorkerSaid | ms.WorkerExited, Frames]]:
        """Yield all that a broker has to hear of them, once it has let the node in."""
        told, kept, words = self._told, self._kept, self._words
        self._told, self._kept, self._words, self._nbytes = [], {}, [], 0
        self._fresh.clear()
        for each in told:
            by = self._relay.introduce(each.worker) if each.worker in kept else None
            if by is None:
                why = "it ended while no broker was there"
                yield ms.WorkerExited(each.worker, 0, why), ()
            else:
                yield by
        for each_words in words:
            yield self._relay.again(each_words) if each_words[0].worker in kept else each_words
