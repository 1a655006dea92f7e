"""No result is known to anybody before it is recorded, also where it cannot be recorded."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from steerio.broker.broker import Broker
from steerio.edge.record.record_files import RecordFiles, TaskEntry
from steerio.edge.wire.memory import MemoryRouter
from steerio.model import messages as ms
from steerio.model.events import AnyEvent
from steerio.model.tasks import TaskOptions, TaskSpec
from tests.simulated.test_broken_peers import said

pytestmark = pytest.mark.borders


class RecordOnSmallDisk(RecordFiles):
    """A journal whose disk may be full."""

    full = False
    broken = False

    def write(self, entries: Sequence[TaskEntry], events: Sequence[AnyEvent]) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().write(entries, events)


class Bench:
    """A broker with a journal, a client, and a node with one worker."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.journal = RecordOnSmallDisk(folder)
        self.tasks = folder / "tasks.jsonl"
        self.router = MemoryRouter()
        self.broker = Broker([self.router], record=self.journal, clock=lambda: self.now, epoch=0.0)
        self.client, self.node, self.worker = (self.router.link() for _ in range(3))
        self.client.send(ms.JoinClient(ms.PROTOCOL, "client"))
        self.client.send(ms.DefineTask(1, TaskSpec("energy", "default")))
        self.node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.broker.step()
        self.worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
        self.broker.step()

    def step_at(self, now: float) -> None:
        self.now = now
        self.broker.step()

    def end_task(self, number: int) -> None:
        """Have a task be submitted and run."""
        self.client.send(ms.SubmitTask(number, 1, 0.0, b"", 0, TaskOptions(), None, ""))
        self.broker.step()
        (sent,) = said(self.worker, ms.RunTask)
        self.worker.send(ms.Report(sent.run, "succeeded", 0.0, 1.0, b"\x01", 0, None))
        self.broker.step()

    def known(self) -> list[int]:
        """Return the tasks whose ends the client was told since it was last looked."""
        return [settled.task_id for settled in said(self.client, ms.TaskSettled)]

    def recorded(self) -> list[Any]:
        return [json.loads(line)["task_id"] for line in self.tasks.read_text().splitlines()]


def test_results_that_cannot_be_recorded_are_held_back_and_the_broker_asks_to_end(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.end_task(1)
    assert (bench.known(), bench.recorded()) == ([1], [1])
    bench.journal.broken = True
    bench.end_task(2)
    bench.end_task(3)
    assert (bench.known(), bench.recorded()) == ([], [1])
    assert bench.broker.failed
    assert "cannot be written: [Errno 5] Input/output error" in bench.broker.closing
    bench.broker.close(bench.broker.closing)
    messages = [message for message, _ in bench.client.receive(1_000)]
    (closing,) = [message for message in messages if isinstance(message, ms.Closing)]
    assert "Input/output error" in closing.reason
    assert not any(isinstance(message, ms.TaskSettled) for message in messages)
    assert bench.recorded() == [1]


def test_results_that_were_held_back_leave_in_order_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path)
    bench.journal.full = True
    for number in (1, 2):
        bench.end_task(number)
    assert bench.known() == []
    assert not bench.broker.failed
    assert (bench.broker.step() or 9.0) <= 1.0
    bench.journal.full = False
    bench.step_at(1.0)
    told = [record.message for record in caplog.records]
    assert told[0].endswith("No space left on device. No result is given out until there is room")
    assert told[1:] == ["the record has room again"]
    assert (bench.known(), bench.recorded()) == ([1, 2], [1, 2])
    bench.end_task(3)
    assert (bench.known(), bench.recorded()) == ([3], [1, 2, 3])
    bench.broker.close("the end")
