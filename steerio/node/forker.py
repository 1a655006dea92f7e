"""The node's side of its zygote, and the protocol by which simulation has its own workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Collection
from typing import Any, Protocol

from steerio.edge.system import descendants, inheritance
from steerio.errors import NoPlace
from steerio.model.places import Place, Topology
from steerio.model.tasks import SignalName
from steerio.node.device_locks import Claims
from steerio.node.placement import Placement
from steerio.node.probe import probe
from steerio.node.setup import NodeSetup
from steerio.node.zygote import become_zygote
from steerio.worker.slots import Slots

CLOSE_S = 5.0
"""Longest wait for the zygote to end its workers, some of them in order."""
HUNG_S = 2.0
"""A zygote hangs if a worker that takes too long to start has not ended so much later."""


class Forker(Protocol):
    """Starts, signals and watches worker processes."""

    @property
    def workers(self) -> Collection[str]:
        """The workers that were started and have not ended, by name."""
        ...

    def fork(self, worker: str, pool: str) -> None:
        """Start a worker."""
        ...

    def ask_to_stop(self, worker: str, run: int) -> None:
        """Raise the cooperative signal for this run."""
        ...

    def recall(self, worker: str, run: int) -> None:
        """Recall this run from the worker; `begun` tells ``SEEN_S`` later if that was in time."""
        ...

    def begun(self, worker: str) -> int | None:
        """Return the run that the worker began last or gave back, or ``None`` once it is gone."""
        ...

    def works_on(self, worker: str) -> int:
        """Return the run that the worker has begun and not ended; 0: none, or it is gone."""
        ...

    def reported(self, worker: str) -> int:
        """Return the run of which the worker has written the end last; 0: none, or it is gone."""
        ...

    def signal(self, worker: str, run: int, name: SignalName) -> None:
        """Send ``term`` or ``kill`` to the worker's process group, for the sake of this run."""
        ...

    async def close(self) -> None:
        """Kill all workers and wait for their end."""
        ...


class ZygoteForker:
    """Forks workers from a zygote.

    Made in three steps: the constructor forks the zygote, and must run while this process
    has no threads; `watch` then listens to it on a loop; `survey` reads the machine's topology,
    before the first worker.
    """

    def __init__(self, setup: NodeSetup, found: Topology | None = None) -> None:
        self._setup, self._found = setup, found
        self._slots = Slots()
        self._slot_of: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        self._buffer = b""
        self._outgoing = b""
        self._claims = Claims()
        self._on_exit: Callable[[str, int, str], None] | None = None
        self._gone: asyncio.Event | None = None
        self.failure = ""
        """The zygote's words on why it ended."""
        mine, theirs = socket.socketpair()
        inheritance.flush_output()
        self._pid = os.fork()
        if self._pid == 0:
            mine.close()
            become_zygote(theirs, self._slots, setup)
        theirs.close()
        mine.setblocking(False)
        self._socket = mine
        self._placement: Placement

    @property
    def workers(self) -> Collection[str]:
        """The workers that were started and have not ended, by name."""
        return self._slot_of

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None:
        """Call ``on_exit(worker, run, reason)`` for each worker that ends."""
        self._on_exit = on_exit
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def survey(self) -> None:
        """Read the topology of this machine, and plan the places of workers.

        The zygote must not have the descriptors of any driver, so it is forked before.
        """
        setup = self._setup
        self._placement = Placement(
            _topology(setup, self._found),
            setup.workers,
            setup.needs,
            pin=setup.pin,
            spare_cores=setup.spare_cores,
            environment=dict(os.environ),
        )

    def fork(self, worker: str, pool: str) -> None:
        """Order a worker; one without a place counts as exited."""
        try:
            place = self._find_place(worker, pool)
        except NoPlace as error:
            if self._on_exit is not None:
                asyncio.get_running_loop().call_soon(self._on_exit, worker, 0, str(error))
            return
        slot = self._slot_of[worker] = self._slots.take()
        self._order(
            worker=worker,
            slot=slot,
            cores=place.cores,
            environment=place.environment,
            memory_bytes=place.memory_bytes,
            threads=place.threads,
            preload=self._setup.preload.get(pool, []),
        )

    def _find_place(self, worker: str, pool: str) -> Place:
        """Return a place whose accelerators no other node of this machine uses.

        Raises:
            NoPlace: there is none.
        """
        sharers = self._placement.needs(pool).sharers
        others: set[str] = set()
        while True:
            place = self._placement.place(worker, pool, others)
            taken = self._claims.take(worker, place.accelerators, sharers)
            if not taken:
                return place
            self._placement.release(worker)
            others |= taken

    def ask_to_stop(self, worker: str, run: int) -> None:
        """Write the run into the worker's slot."""
        slot = self._slot_of.get(worker)
        if slot is not None:
            self._asked[worker] = run
            self._slots.ask_to_stop(slot, run)

    def recall(self, worker: str, run: int) -> None:
        """Write the run among those in the worker's slot that it must not begin."""
        slot = self._slot_of.get(worker)
        if slot is not None:
            self._slots.recall(slot, run)

    def begun(self, worker: str) -> int | None:
        """Read the run that the worker began last from its slot; ``None`` once it is gone."""
        slot = self._slot_of.get(worker)
        return None if slot is None else self._slots.begun(slot)

    def works_on(self, worker: str) -> int:
        """Read from its slot which run the worker has begun and not ended; 0: none."""
        slot = self._slot_of.get(worker)
        run = 0 if slot is None else self._slots.begun(slot)
        return run if slot is not None and run and self._slots.works_on(slot, run) else 0

    def reported(self, worker: str) -> int:
        """Read from its slot of which run the worker has written the end; 0 once it is gone."""
        slot = self._slot_of.get(worker)
        return 0 if slot is None else self._slots.reported(slot)

    def signal(self, worker: str, run: int, name: SignalName) -> None:
        """Signal the worker's process group directly; the zygote may be busy loading modules.

        Once the run has ended no signal is sent. A run that was not begun is no cause for ``term``,
        for the worker is about to learn that it is recalled; a worker that has not even done that
        when it comes to ``kill`` hangs. Run 0: the worker takes too long to start, or to make room.
        """
        slot, pid = self._slot_of.get(worker), self._pids.get(worker)
        if slot is None:
            return
        if run:  # the order to ask it may have been lost
            self.ask_to_stop(worker, run)
        slots = self._slots
        due = slots.works_on(slot, run) if name == "term" else not slots.has_passed(slot, run)
        if pid is not None and (not run or due):
            if name == "kill":
                descendants.kill_with_all_below(pid)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
        if not run:
            asyncio.get_running_loop().call_later(HUNG_S, self._check_started, worker, slot)

    def _check_started(self, worker: str, slot: int) -> None:
        """End a zygote that hangs in an import, and starts no workers any more."""
        if self._slot_of.get(worker) == slot:
            self._signal_zygote(signal.SIGKILL)

    async def close(self) -> None:
        """Have the zygote kill its workers, and wait for its end."""
        if self._gone is not None and not self._gone.is_set():
            # first, for it may be deep in an import, and a closed socket means that we were killed
            self._signal_zygote(signal.SIGTERM)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._gone.wait()
        self._unwatch()
        self._socket.close()
        self._claims.close()
        self._signal_zygote(signal.SIGKILL)
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)  # noqa: ASYNC222 - it was killed
            self._pid = 0

    def _signal_zygote(self, number: int) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _order(self, **what: Any) -> None:
        self._outgoing += json.dumps(what).encode() + b"\n"
        self._write()

    def _write(self) -> None:
        """Write as much as goes; a zygote that is loading modules reads later."""
        if self._gone is None or self._gone.is_set():
            return
        loop = asyncio.get_running_loop()
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose()
            return
        self._outgoing = self._outgoing[sent:]
        if self._outgoing:
            loop.add_writer(self._socket.fileno(), self._write)
        else:
            loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "started" in answer:
                self._pids[answer["started"]] = answer["pid"]
            elif "failed" in answer:
                self.failure = f":\n{answer['failed']}"
            else:
                self._exited(answer["exited"], answer["reason"])

    def _exited(self, worker: str, reason: str) -> None:
        self._pids.pop(worker, None)
        slot = self._slot_of.pop(worker, None)
        if slot is None:
            return
        run = self._slots.begun(slot)
        asked = self._asked.pop(worker, 0)
        if asked and self._slots.works_on(slot, asked):
            reason = "it was ended together with a task that had to be stopped"
        self._slots.give_back(slot)
        self._placement.release(worker)
        self._claims.release(worker)
        if self._on_exit is not None:
            self._on_exit(worker, run, reason)

    def _lose(self) -> None:
        """Note that the zygote is gone, and its workers with it (they die with their parent)."""
        assert self._gone is not None
        if not self._gone.is_set():
            self._gone.set()
            self._unwatch()

    def _unwatch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        loop.remove_writer(self._socket.fileno())

    async def wait_lost(self) -> None:
        """Wait until the zygote is gone."""
        assert self._gone is not None
        await self._gone.wait()


def _topology(setup: NodeSetup, found: Topology | None) -> Topology:
    """Return the node's topology, read from the machine as far as a pool asks for it."""
    if setup.topology is not None:
        return setup.topology
    accelerators = any(needs.gpus for needs in setup.needs.values())
    memory = any(needs.memory_bytes for needs in setup.needs.values())
    if not (setup.pin or accelerators or memory):
        return Topology()
    if found is not None and not accelerators:
        return found
    return probe(accelerators=accelerators)
