"""The tasks that have ended: their results, for the clients, and their entries, for the record."""

from __future__ import annotations

from collections.abc import Mapping

from steerio.broker.ledger import Ledger
from steerio.broker.peers import Peers
from steerio.core.effects import Settle
from steerio.core.records import Attempt, RankRun
from steerio.edge.record.record_files import (
    TRACEBACK_CHARACTERS,
    AttemptEntry,
    RankEntry,
    TaskEntry,
    shown,
)
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.bounds import cut
from steerio.model.showing import steady


class SettledTasks:
    """Tells clients how their tasks ended; with a record, once that is written.

    Args:
        peers: the receivers of the results.
        epoch: the difference of Unix time to the core's clock.
        incarnation: the number of this process among those that wrote the record, for the entry
            of each task that ended, in ``entries``; 0: nothing is recorded.
        ledgers: those of detached clients, by the clients' numbers.
    """

    def __init__(
        self, peers: Peers, epoch: float, incarnation: int, ledgers: Mapping[int, Ledger]
    ) -> None:
        self.entries: list[TaskEntry] = []
        self._held_back: list[tuple[int, ms.TaskSettled, Frames]] = []
        """Results that wait for their entries to be written."""
        self._peers = peers
        self._epoch = epoch
        self._incarnation = incarnation
        self._ledgers = ledgers

    def settle(self, effect: Settle, now: float) -> None:
        """Tell the client how a task ended, and make the entry of it."""
        record, ending = effect.record, effect.ending
        epoch = self._epoch
        spec, worker = record.type.spec, record.worker
        queued, received = record.queued + epoch, now + epoch
        started = None if ending.started is None else ending.started + epoch
        ended = None if ending.ended is None else ending.ended + epoch
        sent = None if record.sent is None else record.sent + epoch
        args_bytes = len(record.body) + (_total(record.frames) if record.frames else 0)
        value_bytes = len(ending.body) + (_total(ending.frames) if ending.frames else 0)
        if record.inputs is not None and record.inputs.frames is not None:
            args_bytes += record.inputs.frames.nbytes
        if ending.stored is not None:
            value_bytes += ending.stored.nbytes
        versions = record.versions
        name = worker.name if worker else None
        settled = ms.TaskSettled(
            record.task_id,
            ending.ended_as,
            record.attempt,
            name,
            queued,
            sent,
            started,
            ended,
            received,
            args_bytes,
            value_bytes,
            ending.body,
            len(ending.frames),
            ending.error,
            ending.reason,
            ending.stored,
            {name: v.number for name, v in versions.items()} if versions else None,
        )
        if self._ledgers:
            self._note_result(record.client, settled, ending.frames)
        if not self._incarnation:
            self._peers.send(record.client, settled, ending.frames)
            return
        self._held_back.append((record.client, settled, ending.frames))
        error = ending.error
        self.entries.append(
            TaskEntry(
                record.task_id,
                spec.name,
                record.pool,
                ending.ended_as,
                record.attempt,
                name,
                worker.node.name if worker else None,
                record.cause,
                record.because or None,
                record.tags,
                record.priority,
                record.created,
                queued,
                sent,
                started,
                ended,
                received,
                args_bytes,
                value_bytes,
                f"{error.type}: {error.message}" if error else None,
                steady(cut(error.traceback, TRACEBACK_CHARACTERS)) if error else None,
                ending.reason,
                shown(record.body, record.frames),
                shown(ending.body, ending.frames),
                {name: v.number for name, v in versions.items()} if versions else None,
                self._earlier(record.earlier) if record.earlier else None,
                self._others(record.others),
                self._incarnation,
            )
        )

    def _note_result(self, client: int, settled: ms.TaskSettled, frames: Frames) -> None:
        """Have a result kept that a detached client may ask for again."""
        ledger = self._ledgers.get(client)
        if ledger is not None:
            ledger.ended(settled, frames)

    def recorded(self) -> None:
        """Send the results that were held back: the entries of all of them are written."""
        self.entries.clear()
        held, self._held_back = self._held_back, []
        for client, settled, frames in held:
            self._peers.send(client, settled, frames)

    def _earlier(self, attempts: list[Attempt]) -> list[AttemptEntry]:
        epoch = self._epoch
        return [
            AttemptEntry(
                each.number,
                each.reason,
                each.worker,
                each.node,
                None if each.sent is None else each.sent + epoch,
                None if each.started is None else each.started + epoch,
                None if each.ended is None else each.ended + epoch,
                each.over + epoch,
                each.versions,
                self._others(each.others),
            )
            for each in attempts
        ]

    def _others(self, ranks: list[RankRun] | None) -> list[RankEntry] | None:
        if not ranks:
            return None
        epoch = self._epoch
        return [
            RankEntry(
                each.worker,
                each.node,
                None if each.started is None else each.started + epoch,
                None if each.ended is None else each.ended + epoch,
            )
            for each in ranks
        ]


def _total(frames: Frames) -> int:
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)
