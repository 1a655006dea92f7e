"""The broker by itself: steps taken one by one, its clock turned by hand."""

from __future__ import annotations

import logging
import socket
from typing import Any, TypeVar

import pytest

from steerio import EventsMissed
from steerio.broker.broker import Broker
from steerio.broker.performer import DISMISSED
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec

M = TypeVar("M")


class BusyRouter(MemoryRouter):
    """A router at which more is always waiting, and whose peers may be slow to read."""

    busy = False
    jammed = False

    def ready(self) -> bool:
        return self.busy or super().ready()

    def congested(self, peer: bytes) -> bool:
        return self.jammed or super().congested(peer)


class Bench:
    """A broker, a client, and a node with one worker."""

    def __init__(self) -> None:
        self.now = 0.0
        self.router = BusyRouter()
        self.broker = Broker([self.router], clock=lambda: self.now, epoch=0.0)
        self.client, self.node, self.worker = (self.router.link() for _ in range(3))
        self.client.send(ms.JoinClient(ms.PROTOCOL, "client"))
        self.node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.broker.step()
        self.worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
        self.broker.step()

    def step_at(self, now: float) -> None:
        self.now = now
        self.broker.step()


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(1_000) if isinstance(message, kind)]


def submit(bench: Bench, **options: Any) -> None:
    bench.client.send(ms.DefineTask(1, TaskSpec("energy", "default")))
    bench.client.send(ms.SubmitTask(1, 1, 0.0, b"", 0, TaskOptions(**options), None, ""))
    bench.broker.step()


def test_a_cancelled_task_whose_turn_it_was_ends_by_the_word_of_its_worker() -> None:
    bench = Bench()
    submit(bench)
    (sent,) = said(bench.worker, ms.RunTask)
    bench.client.send(ms.CancelTasks([1], "unwanted"))
    bench.broker.step()
    assert said(bench.node, ms.TakeBack) == [ms.TakeBack("default-1", sent.run)]
    bench.node.send(ms.NotBegun("default-1", sent.run))
    bench.broker.step()
    assert said(bench.client, ms.TaskSettled) == []
    bench.worker.send(ms.ReturnTask(sent.run))
    bench.worker.send(ms.ReturnTask(sent.run))
    bench.node.send(ms.NotBegun("default-1", sent.run))
    bench.broker.step()
    (settled,) = said(bench.client, ms.TaskSettled)
    assert (settled.ended_as, settled.reason) == ("cancelled", "unwanted")
    assert bench.broker.dropped == {"late return": 2}


def test_a_node_speaks_for_its_own_workers_only() -> None:
    bench = Bench()
    submit(bench)
    other = bench.router.link()
    other.send(ms.JoinNode(ms.PROTOCOL, "other", "host", 3, {}))
    for name in ("default-1", "default-2"):
        other.send(ms.NotBegun(name, 1))
    bench.node.send(ms.NotBegun("default-2", 1))
    bench.broker.step()
    assert bench.broker.dropped == {"late return": 3}
    assert said(bench.client, ms.TaskSettled) == []


def test_a_task_out_of_time_is_stopped_though_somebody_never_stops_talking() -> None:
    bench = Bench()
    submit(bench, timeout_s=1.0, cancel_grace_s=0.5)
    bench.router.busy = True
    bench.step_at(1.0)
    assert len(said(bench.node, ms.StopRunning)) == 1
    bench.step_at(1.5)
    bench.step_at(2.0)
    assert [order.signal for order in said(bench.node, ms.SignalWorker)] == ["term", "kill"]


def test_who_missed_events_is_told_when_it_can_take_them_and_nothing_else_happens() -> None:
    bench = Bench()
    bench.client.send(ms.Subscribe(7, None, None, None, None))
    bench.broker.step()
    bench.router.jammed = True
    bench.client.send(ms.Publish("topic", b""))
    bench.step_at(1.5)
    bench.step_at(3.0)
    assert said(bench.client, ms.Events) == []
    bench.router.jammed = False
    bench.step_at(4.5)
    bench.step_at(6.0)
    (told,) = said(bench.client, ms.Events)
    last = bench.broker.core.event_count
    assert told == ms.Events(7, [EventsMissed(last, 4.5, 1, last)])


def test_the_last_change_of_the_pools_is_told_though_nothing_follows() -> None:
    bench = Bench()
    bench.step_at(10.0)
    said(bench.client, ms.PoolStatus)
    submit(bench)
    submit(bench, priority=1.0)
    bench.client.send(ms.SubmitTask(2, 1, 0.0, b"", 0, TaskOptions(), None, ""))
    next_step = bench.broker.step()
    (told,) = said(bench.client, ms.PoolStatus)[-1:] or [ms.PoolStatus({})]
    assert told.pools == {} or told.pools["default"].queued == 0
    assert next_step is not None
    bench.step_at(next_step)
    (told,) = said(bench.client, ms.PoolStatus)
    assert (told.pools["default"].running, told.pools["default"].queued) == (1, 1)
    bench.step_at(next_step + 0.5)
    assert said(bench.client, ms.PoolStatus) == []


def test_who_started_a_node_hears_once_whether_that_was_told_to_end() -> None:
    bench = Bench()
    here = socket.gethostname()

    def join_and_retire(*pids: int) -> None:
        for pid in pids:
            link = bench.router.link()
            link.send(ms.JoinNode(ms.PROTOCOL, f"node-{pid}", here, pid, {}))
            bench.client.send(ms.AskDrain(pid, f"node-{pid}", None, True))
        bench.broker.step()

    join_and_retire(7)
    assert bench.broker.node_exited(7, "its process ended")
    assert not bench.broker.node_exited(7, "its process ended"), "it is another of that number"
    join_and_retire(7)
    bench.router.link().send(ms.JoinNode(ms.PROTOCOL, "other", here, 7, {}))
    bench.broker.step()
    assert not bench.broker.node_exited(7, "its process ended"), "this one was not told"
    join_and_retire(*range(8, 8 + DISMISSED + 1))
    assert not bench.broker.node_exited(8, "its process ended"), "too long ago"
    assert bench.broker.node_exited(9, "its process ended")


def test_each_decision_is_a_line_of_the_log_for_who_wants_to_know(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    with caplog.at_level(logging.DEBUG, "steerio.core"):
        submit(bench)
        bench.client.send(ms.SubmitTask(2, 1, 0.0, b"", 0, TaskOptions(), None, ""))
        bench.broker.step()
    _, sent, waits = (record.getMessage() for record in caplog.records)
    assert sent == "task 1: send attempt 1 to worker default-1"
    assert waits.startswith("task 2: waits, pool 'default' has 1 task queued, and of its 1 worker")
    caplog.clear()
    submit(bench)
    assert not caplog.records
