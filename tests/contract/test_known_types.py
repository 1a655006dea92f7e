"""Functions by value that hold something else each time do not pile up at clients or brokers."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from steerio.broker.broker import Broker
from steerio.client import sent_types
from steerio.client.sent_types import KnownTypes
from steerio.edge.encoding.classes import Read
from steerio.edge.encoding.pickling import ship
from steerio.edge.wire.memory import MemoryRouter
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.session import task_code
from steerio.session.task_code import Recent

pytestmark = pytest.mark.borders

KILOBYTE = b"x" * 1024


def shipped(number: int, nbytes: int = 1) -> TaskSpec:
    """Return what a function by value is, holding something else each time."""
    return TaskSpec("energy", "default", code=b"%9d" % number * max(1, nbytes // 9))


def test_a_client_forgets_what_it_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_types, "KEPT_TYPES", 3)
    said: list[Any] = []
    known = KnownTypes(said.append)
    by_path = TaskSpec("module:energy", "default")
    numbers = [known.number(spec) for spec in (by_path, *map(shipped, range(3)))]
    assert numbers == [1, 2, 3, 4]
    assert known.number(shipped(0)) == 2, "it is used again"
    assert known.number(shipped(3)) == 5
    assert said[-1] == ms.ForgetTypes([3])
    assert known.number(shipped(1)) == 6, "and is known by another number then"
    for number in range(10, 20):
        known.number(shipped(number))
    assert known.number(by_path) == 1
    assert repr(known) == "<KnownTypes 1 by path, 3 by value of 27 bytes>"


def test_a_client_forgets_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_types, "KEPT_BYTES", 5_000)
    said: list[Any] = []
    known = KnownTypes(said.append)
    for number in range(20):
        known.number(shipped(number, 1_000))
    forgotten = [
        number for each in said if isinstance(each, ms.ForgetTypes) for number in each.types
    ]
    assert forgotten == list(range(1, 16))
    known.number(shipped(99, 9_000))
    assert said[-1] == ms.ForgetTypes([16, 17, 18, 19, 20]), "one that is too long stays alone"


def test_a_broker_forgets_types_and_drops_what_means_none() -> None:
    router = MemoryRouter()
    broker = Broker([router], clock=lambda: 0.0, epoch=0.0)
    client, node, worker = (router.link() for _ in range(3))
    client.send(ms.JoinClient(ms.PROTOCOL, "client"))
    node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
    broker.step()
    worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
    worker.send(ms.ForgetTypes([1]))  # not for a worker to say
    client.send(ms.ForgetTypes([1]))  # before it is known
    for number in (1, 2):
        client.send(ms.DefineTask(number, shipped(number)))
        task = ms.SubmitTask(number, number, 0.0, b"", 0, TaskOptions(), None, "")
        client.send(task)
    client.send(ms.ForgetTypes([1, 1, 7]))
    client.send(ms.SubmitTask(3, 1, 0.0, b"", 0, TaskOptions(), None, ""))
    broker.step()
    types = broker.core.cluster.types
    assert len(types) == 2, "its tasks have not ended"
    assert broker.dropped == {"unknown task type or foreign id": 3, "out of place": 1}
    heard: list[Any] = []
    for _ in range(2):
        heard += [message for message, _ in worker.receive(99)]
        run = [message for message in heard if isinstance(message, ms.RunTask)][-1].run
        worker.send(ms.Report(run, "succeeded", 0.0, 0.0, b"", 0, None))
        broker.step()
    assert [kind.spec for kind in types] == [shipped(2)]
    client.send(ms.Leave())
    broker.step()
    assert len(types) == 0
    heard += [message for message, _ in worker.receive(99)]
    assert [each.types for each in heard if isinstance(each, ms.ForgetTypes)] == [[1], [2]]


def test_what_was_sent_last_is_kept_up_to_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_code, "RECENT_BYTES", 5_000)
    recent = Recent()
    first = recent.same(shipped(1, 1_000))
    assert recent.same(shipped(1, 1_000)) is first
    for number in range(50):
        recent.same(TaskSpec(f"energy {number}", "default", code=KILOBYTE))
    assert recent._nbytes <= 5_000
    assert recent.same(shipped(1, 1_000)) is not first


def test_classes_by_value_go_with_the_functions_that_brought_them() -> None:
    def make() -> Any:
        import msgspec

        class Point(msgspec.Struct):
            x: int

        class Plain:
            def point(self) -> Any:
                return Point(1), type(self)

        return lambda: Plain().point()

    code = ship(make())
    gc.collect()  # those that it was made from are gone: as elsewhere
    read = Read(code)
    classes = [weakref.ref(type(read.value()[0])), weakref.ref(read.value()[1])]
    assert all(each() is not None for each in classes)
    again = Read(code)
    assert [type(again.value()[0]), again.value()[1]] == [each() for each in classes], "one class"
    del read, again
    gc.collect()
    assert [each() for each in classes] == [None, None]
