"""Faults of a simulated cluster, each with its time.

A fault is a frozen value, given to ``simulate(..., faults=[...])``.  Each is armed once, with a
``random.Random`` of its own that is seeded with the simulation's seed.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Collection, Iterable
from typing import Any, Protocol

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import seconds
from steerio.testing.hosts import Ways
from steerio.testing.simulated_worker import KILLED, SimulatedWorker
from steerio.testing.stall_watch import Nuisance


class Victim(Protocol):
    """The cluster, as a fault sees it: the ways to harm it."""

    def worker(self, rng: random.Random, name: str = "", pool: str = "") -> SimulatedWorker | None:
        """Return the worker ``name``, or one (if possible, a busy one) of a pool or of all."""
        ...

    def kill_node(self, name: str) -> None:
        """End a node, its host and its workers without a word."""
        ...

    def restart_node(self, name: str) -> None:
        """Start again a node that ended."""
        ...

    def drain(self, node: str, within_s: float | None, *, retire: bool) -> None:
        """Have a node drained, without waiting for the end."""
        ...

    def undrain(self, node: str) -> None:
        """Let a node take tasks again."""
        ...

    def slow_down(self, node: str, factor: float) -> None:
        """Multiply the durations of attempts that begin on this node from now on."""
        ...

    def cut_off(self, host: str, ways: Ways = Ways.BOTH) -> None:
        """Let no message through from or to this host (a node, or a client's host)."""
        ...

    def heal(self, host: str) -> None:
        """Let messages through again, first those that waited."""
        ...

    def reset(self, host: str) -> None:
        """Break the connections of a host, and lose all that is under way on them."""
        ...

    def kill_broker(self) -> None:
        """End the broker's process without a word."""
        ...

    def start_broker(self) -> None:
        """Start another broker, if none is there."""
        ...

    def fail_starts(self, pool: str, reason: str) -> None:
        """Let the workers of a pool die while they start; an empty reason ends that."""
        ...


class Fault(Protocol):
    """One fault, or one series of faults."""

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers; called once, on the loop, at the start."""
        ...


class KillWorker(Struct, frozen=True):
    """Kill a worker (``kill -9``): by name, or one of a pool, if possible a busy one.

    If there is no such worker, nothing happens.
    """

    at_s: float
    worker: str = ""
    pool: str = ""

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timer."""
        _at(self.at_s, self._strike, cluster, rng)

    def _strike(self, cluster: Victim, rng: random.Random) -> None:
        worker = cluster.worker(rng, self.worker, self.pool)
        if worker is not None:
            worker.die(KILLED)


class HangWorker(Struct, frozen=True):
    """Let a worker stop responding (as after SIGSTOP): by name, or one of a pool.

    Only its death ends that: by a task's timeout, a cancellation or another fault.
    """

    at_s: float
    worker: str = ""
    pool: str = ""

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timer."""
        _at(self.at_s, self._strike, cluster, rng)

    def _strike(self, cluster: Victim, rng: random.Random) -> None:
        worker = cluster.worker(rng, self.worker, self.pool)
        if worker is not None:
            worker.hang()


class KillNode(Struct, frozen=True):
    """Let a node's host lose power: no peer is told, so the broker finds out by the lease.

    ``back_after_s``: seconds until the node joins again, as a fresh one; never by default.
    """

    at_s: float
    node: str
    back_after_s: float | None = None

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        _at(self.at_s, cluster.kill_node, self.node)
        if self.back_after_s is not None:
            _at(self.at_s + self.back_after_s, cluster.restart_node, self.node)


class DrainNode(Struct, frozen=True):
    """Have a node drained; with ``retire``, ended when it is drained.

    ``within_s``: seconds after which tasks that still run there are stopped and queued again.
    ``undrain_after_s``: seconds until it takes tasks again; never by default.
    """

    at_s: float
    node: str
    within_s: float | None = None
    retire: bool = False
    undrain_after_s: float | None = None

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        drain = functools.partial(cluster.drain, retire=self.retire)
        _at(self.at_s, drain, self.node, self.within_s)
        if self.undrain_after_s is not None:
            _at(self.at_s + self.undrain_after_s, cluster.undrain, self.node)


class SlowNode(Struct, frozen=True):
    """Let attempts that begin on a node take ``factor`` times as long, for a while or for ever."""

    at_s: float
    node: str
    factor: float
    for_s: float | None = None

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        if not 0 < self.factor < math.inf:
            raise UsageError(f"SlowNode.factor must be above 0, not {self.factor}")
        _at(self.at_s, cluster.slow_down, self.node, self.factor)
        if self.for_s is not None:
            _at(self.at_s + self.for_s, cluster.slow_down, self.node, 1.0)


class PartitionNode(Struct, frozen=True):
    """Cut a host off for a while: its messages, and those to it, arrive when it is over.

    If that is longer than the lease, the broker gives the node up, and has its tasks tried
    elsewhere; the results of the node come too late. It ends its workers then, and joins anew.
    """

    at_s: float
    node: str
    for_s: float

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        _at(self.at_s, cluster.cut_off, self.node)
        _at(self.at_s + self.for_s, cluster.heal, self.node)


class HalfOpenConnections(Struct, frozen=True):
    """Let nothing through on one of the two ways between a host and the broker, for a while.

    With ``hears`` the host still hears the broker, which does not hear it; without, the other way
    round. An end that hears nothing for 7 s breaks the connection, as it would in a cut.
    """

    at_s: float
    node: str
    for_s: float
    hears: bool = True

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        _at(self.at_s, cluster.cut_off, self.node, Ways.OUT if self.hears else Ways.IN)
        _at(self.at_s + self.for_s, cluster.heal, self.node)


class ResetConnections(Struct, frozen=True):
    """Break the connections of a host, and lose all that is under way on them.

    They are made again at once, and all that was lost is sent again.
    """

    at_s: float
    node: str

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timer."""
        _at(self.at_s, cluster.reset, self.node)


class RestartBroker(Struct, frozen=True):
    """Kill the broker (``kill -9``), and start another in its place ``for_s`` seconds later.

    Campaigns are clients on another host then, as of a standing broker.
    """

    at_s: float
    for_s: float = 5.0

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timer."""
        seconds(self.for_s, "RestartBroker.for_s", or_zero=True)
        _at(self.at_s, self._strike, cluster)

    def _strike(self, cluster: Victim) -> None:
        cluster.kill_broker()
        asyncio.get_running_loop().call_later(self.for_s, cluster.start_broker)


class FailStarts(Struct, frozen=True):
    """Let the workers of a pool die while they start, as if a library were missing."""

    pool: str
    reason: str = "its process exited with status 1"
    at_s: float = 0.0
    for_s: float | None = None

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the timers."""
        if self.at_s == 0:
            cluster.fail_starts(self.pool, self.reason)
        else:
            _at(self.at_s, cluster.fail_starts, self.pool, self.reason)
        if self.for_s is not None:
            _at(self.at_s + self.for_s, cluster.fail_starts, self.pool, "")


class RandomKills(Struct, frozen=True):
    """Kill workers at random times, at this rate over the whole cluster (a Poisson process)."""

    rate_per_s: float
    pool: str = ""
    until_s: float = math.inf

    def arm(self, cluster: Victim, rng: random.Random) -> None:
        """Set the first timer."""
        if not 0 < self.rate_per_s < math.inf:
            raise UsageError(f"RandomKills.rate_per_s must be above 0, not {self.rate_per_s}")
        _Killer(self, cluster, rng).wait()


class _Killer(Nuisance):
    """Kills workers at random times."""

    def __init__(self, fault: RandomKills, cluster: Victim, rng: random.Random) -> None:
        self._fault, self._cluster, self._random = fault, cluster, rng
        self._loop = asyncio.get_running_loop()

    def wait(self) -> None:
        due = self._loop.time() + self._random.expovariate(self._fault.rate_per_s)
        if due < self._fault.until_s:
            self._loop.call_at(due, self._strike)

    def _strike(self) -> None:
        worker = self._cluster.worker(self._random, "", self._fault.pool)
        if worker is not None:
            worker.die(KILLED)
        self.wait()


def _at(when_s: float, what: object, *args: object) -> None:
    if not 0 <= when_s < math.inf or not callable(what):
        raise UsageError(f"a fault comes at 0 or more seconds from the start, not {when_s}")
    asyncio.get_running_loop().call_at(when_s, what, *args)


def listed_faults(faults: Any, pools: Collection[str]) -> list[Fault]:
    """Return faults as a list.

    Raises:
        UsageError: they are none, or one names no pool of these.
    """
    if isinstance(faults, Iterable):
        listed: list[Any] = list(faults)  # pyright: ignore[reportUnknownArgumentType]
        if all(hasattr(fault, "arm") for fault in listed):
            for fault in listed:
                pool = getattr(fault, "pool", "")
                if pool and pool not in pools:
                    known = ", ".join(pools)
                    raise UsageError(f"{fault!r} names no pool of this cluster ({known})")
            return listed
    raise UsageError(f"faults are a list, like [KillNode(at_s=60, node='n')], not {faults!r}")
