"""Versions: numbered without a gap, the newest held by its name, older ones by who uses them."""

from __future__ import annotations

from steerio.core.eventlog import EventLog
from steerio.core.holdings import Holdings
from steerio.core.newest_versions import NewestVersions, VersionWaiter
from steerio.model.events import VersionPublished
from steerio.model.objects import StoredObject, Version

AGENT, OTHER = 7, 8


class Shelf:
    """Versions, what is held, and the log; two clients have joined."""

    def __init__(self) -> None:
        self.holdings = Holdings()
        self.log = EventLog(epoch=1_000.0)
        self.versions = NewestVersions(self.holdings, self.log)
        for client in (AGENT, OTHER):
            self.holdings.join(client)
        self._objects = 0

    def publish(self, name: str = "model") -> tuple[StoredObject, list[VersionWaiter]]:
        """Publish a new object under a name; returns it, and who waited for it."""
        self._objects += 1
        stored = StoredObject(b"object-%d" % self._objects, 10)
        return stored, self.versions.publish(name, stored, "trainer", 2.0)


def test_versions_of_a_name_are_numbered_from_one() -> None:
    shelf = Shelf()
    first, _ = shelf.publish()
    other, _ = shelf.publish("mesh")
    second, _ = shelf.publish()
    assert shelf.versions.newest == {"model": Version(2, second), "mesh": Version(1, other)}
    assert shelf.log.take_fresh() == [
        VersionPublished(1, 1_002.0, "model", 1, 10, "trainer"),
        VersionPublished(2, 1_002.0, "mesh", 1, 10, "trainer"),
        VersionPublished(3, 1_002.0, "model", 2, 10, "trainer"),
    ]
    assert shelf.holdings.take_freed() == [first.name]


def test_an_older_version_lives_as_long_as_a_task_or_a_client_uses_it() -> None:
    shelf = Shelf()
    first, _ = shelf.publish()
    taken = shelf.versions.take(["model"])
    assert shelf.versions.ask("model", VersionWaiter(AGENT, 1, 0)) == Version(1, first)
    shelf.publish()
    assert taken == {"model": Version(1, first)}
    assert not shelf.holdings.freed
    shelf.versions.give_back(taken)
    assert not shelf.holdings.freed
    shelf.holdings.let_go(first.name, ("client", AGENT))
    assert shelf.holdings.take_freed() == [first.name]


def test_the_newest_version_stays_though_nobody_uses_it() -> None:
    shelf = Shelf()
    newest, _ = shelf.publish()
    shelf.versions.give_back(shelf.versions.take(["model"]))
    for client in (AGENT, OTHER):
        shelf.versions.forget(client)
        shelf.holdings.leave(client)
    assert not shelf.holdings.freed
    assert shelf.holdings.sizes == {newest.name: 10}


def test_what_is_published_again_stays() -> None:
    shelf = Shelf()
    stored, _ = shelf.publish()
    shelf.versions.publish("model", stored, "trainer", 2.0)
    assert shelf.versions.newest["model"] == Version(2, stored)
    assert shelf.holdings._others[stored.name] == 1
    assert not shelf.holdings.freed


def test_who_waits_for_a_newer_version_gets_and_holds_it() -> None:
    shelf = Shelf()
    early, late = VersionWaiter(AGENT, 1, 0), VersionWaiter(OTHER, 5, 0)
    assert shelf.versions.ask("model", early) is None
    assert shelf.versions.ask("model", late) is None
    assert shelf.versions.ask("mesh", VersionWaiter(OTHER, 6, 0)) is None
    first, served = shelf.publish()
    assert served == [early, late]
    assert shelf.holdings._others[first.name] == 3
    next_one = VersionWaiter(AGENT, 2, 1)
    assert shelf.versions.ask("model", next_one) is None
    second, served = shelf.publish()
    assert served == [next_one]
    assert shelf.publish()[1] == []
    assert set(shelf.holdings._holds["client", AGENT]) == {first.name, second.name}


def test_who_waits_for_a_version_far_ahead_is_not_given_an_older_one() -> None:
    shelf = Shelf()
    soon, later = VersionWaiter(AGENT, 1, 0), VersionWaiter(OTHER, 1, 2)
    for waiter in (later, soon):
        assert shelf.versions.ask("model", waiter) is None
    assert [shelf.publish()[1] for _ in range(4)] == [[soon], [], [later], []]
    assert not list(shelf.holdings._holds.get(("client", OTHER), ()))[1:]


def test_a_client_that_is_gone_waits_no_more() -> None:
    shelf = Shelf()
    stays = VersionWaiter(OTHER, 1, 0)
    shelf.versions.ask("model", VersionWaiter(AGENT, 1, 0))
    shelf.versions.ask("model", stays)
    shelf.versions.ask("mesh", VersionWaiter(AGENT, 2, 0))
    shelf.versions.forget(AGENT)
    shelf.holdings.leave(AGENT)
    stored, served = shelf.publish()
    assert served == [stays]
    assert shelf.publish("mesh")[1] == []
    assert not shelf.holdings.freed
    assert shelf.holdings._others[stored.name] == 2


def test_names_without_a_version_are_found() -> None:
    shelf = Shelf()
    shelf.publish()
    assert shelf.versions.missing(()) is None
    assert shelf.versions.missing(("model",)) is None
    assert shelf.versions.missing(("model", "mesh")) == "mesh"


def test_versions_of_an_earlier_broker_are_there_and_are_not_told_of_again() -> None:
    shelf = Shelf()
    model, mesh = Version(3, StoredObject(b"m", 10)), Version(1, StoredObject(b"n", 20))
    shelf.versions.restore({"model": model, "mesh": mesh})
    assert shelf.versions.newest == {"model": model, "mesh": mesh}
    assert shelf.versions.published == 0
    assert shelf.log.take_fresh() == []
    assert shelf.holdings.sizes == {b"m": 10, b"n": 20}
    assert shelf.versions.ask("model", VersionWaiter(AGENT, 1, 3)) is None
    next_one, served = shelf.publish()
    assert shelf.versions.newest["model"] == Version(4, next_one)
    assert len(served) == 1
    assert shelf.holdings.take_freed() == [b"m"]


def test_a_version_whose_publisher_had_no_answer_is_not_published_again() -> None:
    shelf = Shelf()
    model = Version(3, StoredObject(b"m", 10))
    shelf.versions.restore({"model": model})
    assert shelf.versions.publish("model", model.stored, "agent", 0.0) == []
    assert shelf.versions.newest == {"model": model}
    assert shelf.log.take_fresh() == []
    shelf.versions.publish("model", model.stored, "agent", 0.0)
    assert shelf.versions.newest["model"].number == 4, "the next time it is meant"
