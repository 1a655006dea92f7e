"""What peers say of the store: whatever it is, nobody frees what somebody else needs.

What cannot be meant is dropped with a counted reason, and what came with it is freed, if
nobody holds it.
"""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from steerio.broker.broker import Broker
from steerio.broker.store_sweeper import StraightSweeper
from steerio.core.orphans import ENDING_S
from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.objects import Inputs, StoredObject, StoreLoad, Version, client_maker
from steerio.model.settings import Settings
from steerio.model.tasks import CLIENT_BITS, ReportedAs, TaskOptions, TaskSpec
from tests.contract.test_headers import FIELDS, messages_of

M = TypeVar("M")

FIRST, SECOND = client_maker(0), client_maker(1)
"""What the clients call themselves as makers of objects."""
FOREIGN = 1 << CLIENT_BITS
"""Where the ids of the second client's tasks begin."""


class Bench:
    """A broker with a store, two clients, and a node with one worker."""

    def __init__(self) -> None:
        self.now = 0.0
        self.router = MemoryRouter()
        self.store = MemoryStore()
        self.broker = Broker(
            [self.router], sweeper=StraightSweeper(self.store), clock=lambda: self.now, epoch=0.0
        )
        self.client, self.other, self.node, self.worker = (self.router.link() for _ in range(4))
        for name, link in (("client", self.client), ("other", self.other)):
            link.send(ms.JoinClient(ms.PROTOCOL, name))
            link.send(ms.DefineTask(1, TaskSpec("energy", "default")))
        self.node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
        self.broker.step()
        self.worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
        self.broker.step()

    def put(self, maker: str = FIRST) -> StoredObject:
        """Put an object into the store, as whoever that is."""
        return MemoryStore(maker, self.store).put([b"some content"])

    def say(self, link: MemoryLink, *messages: Any) -> None:
        """Let the broker hear this."""
        for message in messages:
            link.send(message)
        self.broker.step()

    def submit(
        self, number: int = 1, inputs: Inputs | None = None, *, by_other: bool = False
    ) -> None:
        """Let a client submit a task."""
        self.say(self.other if by_other else self.client, submission(number, inputs))

    def run(self) -> int:
        """Return the number of the attempt that the worker was sent last."""
        return said(self.worker, ms.RunTask)[-1].run

    def there(self, *objects: StoredObject) -> list[bool]:
        """Say of objects whether they are in the store."""
        return [stored.name in self.store.objects for stored in objects]

    def load(self) -> StoreLoad:
        """Return what the broker says of the store."""
        self.say(self.client, ms.AskStatus(1))
        return said(self.client, ms.Status)[-1].store


def submission(number: int, inputs: Inputs | None) -> ms.SubmitTask:
    return ms.SubmitTask(number, 1, 0.0, b"", 0, TaskOptions(), None, "", inputs)


def report(run: int, stored: StoredObject | None, ended_as: ReportedAs = "succeeded") -> ms.Report:
    return ms.Report(run, ended_as, 0.0, 1.0, b"", 0, None, stored)


def said(link: MemoryLink, kind: type[M]) -> list[M]:
    """Take what the broker has said there, and return what is of this kind."""
    return [message for message, _ in link.receive(1_000) if isinstance(message, kind)]


# -- holding and letting go --------------------------------------------------------------


def test_an_object_is_removed_when_its_client_lets_go() -> None:
    bench = Bench()
    stored = bench.put()
    bench.say(bench.client, ms.HoldObject(stored), ms.HoldObject(stored))
    bench.say(bench.client, ms.LetGo([stored.name]))
    assert bench.load() == StoreLoad(1, stored.nbytes, 0, {"client": stored.nbytes}, {}, {})
    bench.say(bench.client, ms.LetGo([stored.name]))
    assert bench.there(stored) == [False]
    assert bench.load() == StoreLoad()
    assert bench.broker.dropped == {}


def test_a_client_cannot_let_go_of_what_it_does_not_hold() -> None:
    bench = Bench()
    held, never = bench.put(), bench.put()
    bench.say(bench.client, ms.HoldObject(held))
    bench.say(bench.other, ms.LetGo([held.name, never.name, b"", b"\xff" * 1_000, held.name]))
    bench.say(bench.client, ms.LetGo([held.name, held.name, held.name]))
    assert bench.there(held, never) == [False, True]
    assert bench.broker.dropped == {"unknown object": 7}


def test_an_object_that_two_clients_hold_stays_for_each_of_them() -> None:
    bench = Bench()
    stored = bench.put()
    bench.say(bench.client, ms.HoldObject(stored))
    bench.say(bench.other, ms.HoldObject(stored), ms.LetGo([stored.name, stored.name]))
    assert bench.there(stored) == [True]
    bench.say(bench.other, ms.HoldObject(stored))
    bench.say(bench.client, ms.Leave())
    assert bench.there(stored) == [True]
    bench.say(bench.other, ms.Leave())
    assert bench.there(stored) == [False]


def test_only_clients_hold_and_publish() -> None:
    bench = Bench()
    stored = bench.put()
    bench.say(bench.client, ms.HoldObject(stored))
    words = [
        ms.HoldObject(stored),
        ms.LetGo([stored.name]),
        ms.PublishVersion(1, "model", stored),
        ms.AskVersion(1, "model", 0),
        submission(1, Inputs(stored)),
    ]
    bench.say(bench.worker, *words)
    bench.say(bench.node, *words)
    bench.say(bench.other, report(1, stored), ms.YieldItem(1, 0, b"", 0, stored))
    assert bench.broker.dropped == {"out of place": 12}
    bench.say(bench.client, ms.LetGo([stored.name]))
    assert bench.there(stored) == [False]


def test_what_a_client_put_and_never_told_of_goes_when_it_must_be_over() -> None:
    bench = Bench()
    untold, needed, of_other = bench.put(), bench.put(), bench.put(SECOND)
    bench.submit(FOREIGN + 1, Inputs(needed), by_other=True)
    bench.say(bench.client, ms.Leave())
    late = bench.put()
    assert bench.there(untold, late, needed, of_other) == [True, True, True, True]
    bench.now = 2 * Settings().lease_s + ENDING_S
    bench.say(bench.node, ms.Beat(0.0, None))
    bench.broker.step()
    assert bench.there(untold, late, needed, of_other) == [False, False, True, True]
    bench.say(bench.worker, report(bench.run(), None))
    assert bench.there(needed, of_other) == [False, True]


# -- strangers ---------------------------------------------------------------------------


def test_what_a_stranger_brings_is_removed_unless_somebody_holds_it() -> None:
    bench = Bench()
    held = bench.put()
    bench.say(bench.client, ms.HoldObject(held))
    for stored in (held, bench.put(), bench.put(), bench.put(), bench.put(), bench.put()):
        bench.say(bench.router.link(), ms.HoldObject(stored))
        bench.say(bench.router.link(), ms.PublishVersion(1, "model", stored))
        bench.say(bench.router.link(), report(1, stored))
        bench.say(bench.router.link(), ms.YieldItem(1, 0, b"", 0, stored))
        bench.say(bench.router.link(), submission(1, Inputs(stored)))
        bench.say(bench.router.link(), submission(1, None), ms.LetGo([held.name]))
    assert list(bench.store.objects) == [held.name]
    assert bench.broker.dropped == {"stranger": 42}
    assert bench.load().objects == 1


def test_what_a_client_says_after_it_was_lost_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.say(bench.client, ms.Leave())
    frames, value, version = bench.put(), bench.put(), bench.put()
    bench.say(bench.client, submission(2, Inputs(frames)), ms.HoldObject(value))
    bench.say(bench.client, ms.PublishVersion(1, "model", version))
    assert bench.store.objects == {}


# -- tasks -------------------------------------------------------------------------------


def test_the_worker_is_told_where_the_frames_are_and_the_client_where_the_value_is() -> None:
    bench = Bench()
    frames, model, value = bench.put(), bench.put(), bench.put("default-1")
    bench.say(bench.client, ms.PublishVersion(1, "model", model))
    bench.submit(1, Inputs(frames, (), ("model",)))
    (task,) = said(bench.worker, ms.RunTask)
    assert (task.stored, task.versions) == (frames, {"model": Version(1, model)})
    bench.say(bench.worker, report(task.run, value))
    (settled,) = said(bench.client, ms.TaskSettled)
    assert (settled.stored, settled.versions) == (value, {"model": 1})
    assert settled.args_bytes == frames.nbytes
    assert settled.value_bytes == value.nbytes
    assert bench.there(frames, model, value) == [False, True, True]


def test_a_task_of_an_unknown_type_or_a_foreign_id_leaves_nothing_behind() -> None:
    bench = Bench()
    shared, one, two = bench.put(), bench.put(), bench.put()
    bench.say(bench.client, ms.HoldObject(shared))
    bench.submit(FOREIGN + 1, Inputs(one, (shared,)))
    unknown = ms.SubmitTask(1, 9, 0.0, b"", 0, TaskOptions(), None, "", Inputs(two, (shared,)))
    bench.say(bench.client, unknown)
    bench.submit(FOREIGN + 1, Inputs(shared))
    assert bench.there(shared, one, two) == [True, False, False]
    assert bench.broker.dropped == {"unknown task type or foreign id": 3}


def test_a_repeated_task_frees_neither_what_the_first_needs_nor_keeps_what_it_brought() -> None:
    bench = Bench()
    frames, others = bench.put(), bench.put()
    bench.submit(1, Inputs(frames))
    bench.submit(1, Inputs(frames))
    bench.submit(1, Inputs(others, (frames,)))
    assert bench.there(frames, others) == [True, False]
    assert bench.broker.dropped == {"repeated task": 2}
    bench.say(bench.worker, report(bench.run(), None))
    assert bench.store.objects == {}


def test_a_late_or_repeated_report_frees_its_value_but_nobody_elses() -> None:
    bench = Bench()
    held, value, late = bench.put(), bench.put("default-1"), bench.put("default-1")
    bench.say(bench.client, ms.HoldObject(held))
    bench.submit()
    run = bench.run()
    bench.say(bench.worker, report(run, value), report(run, value))
    assert bench.there(value) == [True]
    bench.say(bench.worker, report(run, late), report(run, held), report(-1, held))
    assert bench.there(held, value, late) == [True, True, False]
    assert bench.broker.dropped == {"late report": 4}


def test_a_value_that_belongs_to_somebody_else_stays_when_it_is_let_go() -> None:
    bench = Bench()
    held = bench.put()
    bench.say(bench.client, ms.HoldObject(held))
    for number, ended_as in enumerate(get_args(ReportedAs), 1):
        bench.submit(FOREIGN + number, by_other=True)
        bench.say(bench.worker, report(bench.run(), held, ended_as))
    bench.say(bench.other, ms.LetGo([held.name]))
    assert bench.there(held) == [True]
    bench.say(bench.client, ms.LetGo([held.name]))
    assert bench.there(held) == [False]


def test_items_are_held_for_their_client() -> None:
    bench = Bench()
    bench.submit()
    run = bench.run()
    first, second, late = (bench.put("default-1") for _ in range(3))
    bench.say(bench.worker, ms.YieldItem(run, 0, b"", 0, first))
    bench.say(bench.worker, ms.YieldItem(run, 1, b"", 0, second))
    assert [item.stored for item in said(bench.client, ms.TaskItem)] == [first, second]
    bench.say(bench.client, ms.LetGo([first.name]))
    bench.say(bench.worker, report(run, None), ms.YieldItem(run, 2, b"", 0, late))
    assert bench.there(first, second, late) == [False, True, False]
    bench.say(bench.client, ms.Leave())
    assert bench.store.objects == {}


def test_items_of_a_client_that_is_gone_are_removed() -> None:
    bench = Bench()
    bench.submit()
    run, item = bench.run(), bench.put("default-1")
    bench.say(bench.client, ms.Leave())
    bench.say(bench.worker, ms.YieldItem(run, 0, b"", 0, item))
    assert bench.there(item) == [False]


@pytest.mark.borders
def test_items_that_nobody_reads_are_removed_and_their_worker_is_told() -> None:
    bench = Bench()
    bench.submit()
    run = bench.run()
    (task,) = bench.broker.core.tasks
    bench.say(bench.client, ms.GrantItems(task, 0))
    assert said(bench.worker, ms.GrantRun) == [ms.GrantRun(run, 0)]
    item = bench.put("default-1")
    bench.say(bench.worker, ms.YieldItem(run, 0, b"", 0, item))
    assert bench.there(item) == [False]
    assert said(bench.worker, ms.GrantRun) == [ms.GrantRun(run, 0)], "it had not heard"
    bench.say(bench.worker, ms.YieldItem(run, 1, b"", 0))
    assert said(bench.worker, ms.GrantRun) == said(bench.client, ms.TaskItem) == []


def test_what_a_worker_put_and_never_told_of_goes_with_it() -> None:
    bench = Bench()
    bench.submit()
    run = bench.run()
    told, untold = bench.put("default-1"), bench.put("default-1")
    bench.say(bench.worker, report(run, told))
    bench.say(bench.node, ms.WorkerExited("default-1", run, "signal 9"))
    assert bench.there(told, untold) == [True, False]
    late = bench.put("default-1")
    bench.say(bench.worker, report(run, late))
    assert bench.there(late) == [False]


def test_what_only_its_node_knows_that_a_worker_put_goes_with_it() -> None:
    bench = Bench()
    bench.submit()
    run = bench.run()
    told, untold = bench.put("elsewhere"), bench.put("elsewhere")
    bench.say(bench.worker, report(run, told))
    bench.say(bench.node, ms.WorkerExited("default-1", run, "signal 9", [told.name, untold.name]))
    assert bench.there(told, untold) == [True, False]
    late = bench.put("elsewhere")
    bench.say(bench.node, ms.WorkerExited("default-1", run, "once more", [late.name]))
    assert bench.there(told, late) == [True, False]


# -- versions ----------------------------------------------------------------------------


def test_versions_are_told_to_who_publishes_and_to_who_asked() -> None:
    bench = Bench()
    first, second = bench.put(), bench.put()
    bench.say(bench.other, ms.AskVersion(7, "model", 0), ms.AskVersion(8, "model", 1))
    bench.say(bench.client, ms.PublishVersion(3, "model", first))
    assert said(bench.client, ms.VersionNews) == [ms.VersionNews(3, Version(1, first))]
    assert said(bench.other, ms.VersionNews) == [ms.VersionNews(7, Version(1, first))]
    bench.say(bench.client, ms.PublishVersion(4, "model", second))
    assert said(bench.other, ms.VersionNews) == [ms.VersionNews(8, Version(2, second))]
    nbytes = second.nbytes
    by_versions, numbers = {"model": nbytes}, {"model": 2}
    assert bench.load() == StoreLoad(2, 2 * nbytes, 0, {"other": 2 * nbytes}, by_versions, numbers)
    bench.say(bench.other, ms.LetGo([first.name, second.name]))
    assert bench.there(first, second) == [False, True]


@pytest.mark.parametrize("after", [-(2**63), -1, 0])
def test_who_asks_for_whatever_there_is_gets_the_newest(after: int) -> None:
    bench = Bench()
    stored = bench.put()
    bench.say(bench.client, ms.PublishVersion(1, "", stored))
    bench.say(bench.other, ms.AskVersion(1, "", after), ms.AskVersion(1, "", 2**63 - 1))
    assert said(bench.other, ms.VersionNews) == [ms.VersionNews(1, Version(1, stored))]
    bench.say(bench.other, ms.Leave())
    bench.say(bench.client, ms.PublishVersion(1, "", bench.put()))
    assert bench.there(stored) == [False]
    assert bench.load().objects == 1


def test_a_repeated_publication_is_a_version_of_its_own_and_frees_nothing() -> None:
    bench = Bench()
    stored = bench.put()
    bench.say(bench.client, *[ms.PublishVersion(1, "model", stored)] * 3)
    assert [n.version.number for n in said(bench.client, ms.VersionNews)] == [1, 2, 3]
    assert bench.there(stored) == [True]
    assert bench.load().objects == 1


# -- the end -----------------------------------------------------------------------------


def test_the_end_of_a_broker_leaves_nothing_in_the_store() -> None:
    bench = Bench()
    bench.say(bench.client, ms.HoldObject(bench.put()), ms.PublishVersion(1, "model", bench.put()))
    bench.submit(1, Inputs(bench.put()))
    for maker in (FIRST, SECOND, "default-1"):
        bench.put(maker)
    bench.broker.close("the campaign has ended")
    assert bench.store.objects == {}


# -- anything ----------------------------------------------------------------------------

HELD = [b"memory-1", b"memory-2", b"memory-3"]
"""What the client in good order needs."""
objects = st.builds(StoredObject, st.sampled_from([*HELD, b"memory-9", b""]), FIELDS[int])
inputs = st.builds(
    Inputs, st.none() | objects, st.lists(objects, max_size=2).map(tuple), st.just(())
)
few = st.integers(-1, 3)
about_the_store = st.one_of(
    st.builds(ms.HoldObject, objects),
    st.builds(ms.LetGo, st.lists(st.sampled_from(HELD), max_size=4)),
    st.builds(ms.PublishVersion, few, st.sampled_from(["model", "mesh"]), objects),
    st.builds(ms.AskVersion, few, st.sampled_from(["model", "mesh"]), few),
    st.builds(submission, st.sampled_from([1, FOREIGN + 1, FOREIGN + 2]), st.none() | inputs),
    st.builds(report, few, st.none() | objects, st.sampled_from(["succeeded", "failed"])),
    st.builds(ms.YieldItem, few, few, st.just(b""), st.just(0), st.none() | objects),
    st.just(ms.WorkerExited("default-1", 1, "so they say")),
    st.just(ms.Leave()),
)
words = st.one_of(about_the_store, about_the_store, messages_of(ms.ToBroker))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(said_by=st.lists(st.tuples(st.integers(0, 3), words), max_size=20))
def test_whatever_others_say_nobody_loses_what_it_holds(said_by: list[tuple[int, Any]]) -> None:
    bench = Bench()
    kept = [bench.put() for _ in HELD]
    assert [stored.name for stored in kept] == HELD
    bench.say(bench.client, *map(ms.HoldObject, kept))
    bench.submit(1, Inputs(kept[0], (kept[1],)))
    links = [bench.other, bench.worker, bench.node, bench.router.link()]
    for who, message in said_by:
        if isinstance(message, ms.JoinNode) and sum(message.workers.values()) > 10:
            continue
        if getattr(message, "frames", 0):  # a link refuses what lacks its frames
            message = structs.replace(message, frames=0)
        links[who].send(message)
        bench.broker.step()
        assert bench.there(*kept) == [True] * 3
        assert "error" not in bench.broker.dropped
    bench.say(bench.other, ms.Leave())
    bench.say(bench.client, ms.Leave())
    bench.broker.close("the end")
    assert bench.store.objects == {}
