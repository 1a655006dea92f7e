"""The intake of messages about ledgers, and of the ledgers of an earlier broker."""

from __future__ import annotations

import logging
from collections.abc import Callable

from steerio.broker.ledger import Ledger
from steerio.broker.ledger_entries import Change
from steerio.broker.ledgers import Ledgers
from steerio.broker.peers import Intakes, Peer
from steerio.core.core import Core
from steerio.core.lifecycle import Role
from steerio.core.records import TypeRecord
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.objects import client_maker
from steerio.model.showing import counted

log = logging.getLogger("steerio.broker")


class FromDetached:
    """Takes in messages about ledgers.

    Args:
        core: decides.
        ledgers: of the detached clients.
        take_task: takes in a task of a client.
    """

    def __init__(
        self,
        core: Core,
        ledgers: Ledgers,
        take_task: Callable[[int, TypeRecord, ms.SubmitTask, Frames, float], None],
    ) -> None:
        self._core = core
        self._ledgers = ledgers
        self._take_task = take_task
        self.by_kind: Intakes = {
            (Role.CLIENT, ms.AskLedger): self._tell,
            (Role.CLIENT, ms.AskResults): self._give_results,
            (Role.CLIENT, ms.ForgetTasks): self._forget,
        }

    def _tell(self, peer: Peer, message: ms.AskLedger, _: Frames, now: float) -> int:
        del now
        if peer.ledger is None:
            peer.send(ms.LedgerTasks(message.request, [], False))
            return 0
        start = max(0, message.start)
        some = peer.ledger.page(start)
        more = start + len(some) < len(peer.ledger)
        peer.send(ms.LedgerTasks(message.request, some, more))
        self._send_results(peer, peer.ledger, [each.task_id for each in some])
        return 2 * len(some)

    def _give_results(self, peer: Peer, message: ms.AskResults, _: Frames, now: float) -> int:
        del now
        if peer.ledger is not None:
            self._send_results(peer, peer.ledger, message.tasks)
        return len(message.tasks)

    def _send_results(self, peer: Peer, ledger: Ledger, numbers: list[int]) -> None:
        for number in dict.fromkeys(numbers):
            result = ledger.result(number)
            if result is not None:
                self._core.give_again(peer.number, number)
                peer.send(*result)

    def _forget(self, peer: Peer, message: ms.ForgetTasks, _: Frames, now: float) -> int:
        del now
        if peer.ledger is not None:
            forgotten = self._ledgers.forget(peer.name, peer.ledger, message.tasks)
            self._core.forget_results(peer.number, forgotten)
        return len(message.tasks)

    def take_up(self, *, stopped: bool, now: float) -> None:
        """Take up the ledgers of the broker before: submit again their tasks that have not ended.

        Args:
            stopped: it ended in good order, and so emptied its store.
            now: the time, in seconds on the core's clock.
        """
        for name, ledger in self._ledgers.take_up().items():
            maker = client_maker(ledger.client_number)
            self._core.client_joined(ledger.peer, name, False, now, maker, detached=True)
            try:
                self._take_up(name, ledger, now, stopped=stopped)
            except (OSError, ValueError) as error:  # of msgspec, too
                log.error("not all tasks of the detached client %r are taken up: %s", name, error)
            self._core.client_away(ledger.peer, now)

    def _take_up(self, name: str, ledger: Ledger, now: float, *, stopped: bool) -> None:
        if stopped:
            ledger.lose_stored(now + self._core.epoch)
        for settled in ledger.results():
            if settled.stored is not None:
                self._core.keep_result(ledger.peer, settled.task_id, settled.stored)
        count = self._submit_again(ledger, now)
        if count:
            verb = "goes" if count == 1 else "go"
            tasks = counted(count, "task")
            log.warning("%s of the detached client %r %s on", tasks, name, verb)

    def _submit_again(self, ledger: Ledger, now: float) -> int:
        count, client = 0, ledger.peer
        for task in ledger.outstanding():
            self._core.define(client, task.kind, task.spec)
            kind = self._core.task_type(client, task.kind)
            assert kind is not None
            self._take_task(client, kind, task.message, task.frames, now)
            for change in task.changes:
                self._change(change, now)
            count += 1
        return count

    def _change(self, change: Change, now: float) -> None:
        match change:
            case ms.CancelTasks():
                for number in change.tasks:
                    self._core.cancel(number, change.reason, now, queued_only=change.queued_only)
            case ms.Reprioritise():
                self._core.reprioritise(change.changes, now)
            case ms.ReassignTasks():
                self._core.reassign(change.tasks, change.pool, now)
