"""A peer that is not understood, and all that depended on it, ends; everybody else goes on."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from steerio.broker.broker import Broker
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.tasks import Retries, TaskOptions, TaskSpec

pytestmark = pytest.mark.borders

M = TypeVar("M")
UNREADABLE = "header does not decode: it is noise"


class NoisyRouter(MemoryRouter):
    """A router at which what cannot be read may arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.noise: list[Arrival] = []

    def receive(self, limit: int) -> list[Arrival]:
        noise, self.noise = self.noise, []
        return [*super().receive(limit), *noise]


class Bench:
    """A broker with two clients, and a node with one worker."""

    def __init__(self) -> None:
        self.now = 0.0
        self.router = NoisyRouter()
        self.broker = Broker([self.router], clock=lambda: self.now, epoch=0.0)
        self.client, self.other, self.node, self.worker = (self.router.link() for _ in range(4))
        for name, link in (("client", self.client), ("other", self.other)):
            link.send(ms.JoinClient(ms.PROTOCOL, name))
            link.send(ms.DefineTask(1, TaskSpec("energy", "default")))
        self.node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.broker.step()
        self.worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
        self.broker.step()

    def say(self, link: MemoryLink, *messages: Any) -> None:
        for message in messages:
            link.send(message)
        self.broker.step()

    def submit(self, number: int, **options: Any) -> None:
        task = ms.SubmitTask(number, 1, 0.0, b"", 0, TaskOptions(**options), None, "")
        self.say(self.client, task)

    def hear_noise(self, link: MemoryLink) -> None:
        """Let something arrive from a peer that cannot be read."""
        self.router.noise.append(Arrival(link._identity, (), UNREADABLE))
        self.broker.step()


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(1_000) if isinstance(message, kind)]


def test_a_client_is_told_and_its_tasks_are_cancelled_and_the_other_goes_on() -> None:
    bench = Bench()
    bench.submit(1)
    bench.submit(2)
    bench.hear_noise(bench.client)
    (refused,) = said(bench.client, ms.Refused)
    assert UNREADABLE in refused.reason
    assert bench.broker.dropped == {"malformed": 1}
    assert list(bench.broker.core.tasks) == [1], "the one that has to be stopped first"
    bench.say(bench.client, ms.AskStatus(1))
    assert said(bench.client, ms.Refused), "it is a stranger now"
    bench.say(bench.other, ms.AskStatus(1))
    (status,) = said(bench.other, ms.Status)
    assert status.clients == ["other"]


def test_a_workers_unreadable_report_is_the_loss_of_that_worker() -> None:
    bench = Bench()
    bench.submit(1, retries=Retries(lost=0))
    bench.hear_noise(bench.worker)
    assert said(bench.worker, ms.Refused)
    (order,) = said(bench.node, ms.SignalWorker)
    assert (order.worker, order.signal) == ("default-1", "kill")
    bench.say(bench.worker, ms.Report(1, "succeeded", 0.0, 1.0, b"\x01", 0, None))
    assert said(bench.client, ms.TaskSettled) == [], "it is not believed any more"
    bench.say(bench.node, ms.WorkerExited("default-1", 1, "exited with status 0"))
    (settled,) = said(bench.client, ms.TaskSettled)
    assert settled.ended_as == "lost"
    assert UNREADABLE in settled.reason
    assert [order.worker for order in said(bench.node, ms.StartWorker)] == ["default-2"]


def test_a_node_is_lost_with_its_workers() -> None:
    bench = Bench()
    bench.submit(1, retries=Retries(lost=0))
    bench.hear_noise(bench.node)
    for link in (bench.node, bench.worker):
        assert UNREADABLE in said(link, ms.Refused)[0].reason
    (settled,) = said(bench.client, ms.TaskSettled)
    assert UNREADABLE in settled.reason


def test_noise_of_strangers_ends_nobody() -> None:
    bench = Bench()
    bench.hear_noise(bench.router.link())
    assert bench.broker.dropped == {"malformed": 1}
    for link in (bench.client, bench.other, bench.node, bench.worker):
        assert said(link, ms.Refused) == []


def test_what_cannot_be_taken_in_ends_who_said_it() -> None:
    bench = Bench()
    bench.submit(1)

    def fails(*_: object, **__: object) -> bool:
        raise RuntimeError("a bug of the broker")

    bench.broker.core.submit = fails  # type: ignore[method-assign]
    bench.client.send(ms.SubmitTask(2, 1, 0.0, b"", 0, TaskOptions(), None, ""))
    lease = ms.AskMove(1, "default", "train", 1, True, False, "drain", None)
    bench.say(bench.client, lease, ms.StopBroker("why not"))
    assert not bench.broker.core.moves, "nobody would give it back"
    assert not bench.broker.closing
    assert bench.broker.dropped == {"error": 1, "out of place": 2}
    (refused,) = said(bench.client, ms.Refused)
    assert "SubmitTask cannot be taken in: RuntimeError: a bug of the broker" in refused.reason
    assert said(bench.other, ms.Refused) == []


def test_a_task_that_the_broker_does_not_know_is_lost_and_not_forgotten() -> None:
    bench = Bench()
    bench.say(bench.client, ms.SubmitTask(5, 9, 0.0, b"", 0, TaskOptions(), None, ""))
    (settled,) = said(bench.client, ms.TaskSettled)
    assert (settled.task_id, settled.ended_as) == (5, "lost")
    assert settled.reason == "unknown task type or foreign id"
