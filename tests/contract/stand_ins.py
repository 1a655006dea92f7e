"""Light stand-ins for workers: on the loop of their node, over real streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from steerio.edge.wire.blocking_link import StreamLink
from steerio.model import messages as ms
from steerio.worker.loading import LoadedType

KILLED = "its process was ended by SIGKILL"


class StandIn:
    """A worker that runs its tasks at once, in this process."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.begun = self.reported = 0
        self.holding = False
        """Whether it keeps tasks, and does not begin them."""
        self.recalled: set[int] = set()
        """The runs that it must not begin."""
        self.held: list[tuple[ms.RunTask, tuple[Any, ...]]] = []
        self.link = StreamLink(address, "worker")
        self._types: dict[int, LoadedType] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.link._socket, self._wake)
        self.say(ms.JoinWorker(ms.PROTOCOL, name, 1))

    def say(self, message: Any, frames: tuple[Any, ...] = ()) -> None:
        self.link.send(message, frames)
        self.link.flush()

    def close(self) -> None:
        if self.link._socket.fileno() >= 0:
            self._loop.remove_reader(self.link._socket)
            self.link.close()

    def work(self) -> None:
        """Run the tasks that it holds."""
        while self.held:
            task, frames = self.held.pop(0)
            if task.run in self.recalled:
                self.say(ms.ReturnTask(task.run))
                continue
            self.begun = task.run
            kind = self._types[task.type_id]
            args, kwargs = kind.codec.unpack(task.body, frames)
            began = time.monotonic()
            value: Any = kind.function(*args, **kwargs)
            body, out = kind.codec.result.pack(value, "the value")
            ended = time.monotonic()
            report = ms.Report(task.run, "succeeded", began, ended, body, len(out), None)
            self.say(report, tuple(out))
            self.reported = task.run

    def _wake(self) -> None:
        try:
            arrived = self.link.receive_within(0)
        except OSError:
            self.close()
            return
        for message, frames in arrived:
            match message:
                case ms.DefineTask():
                    self._types[message.type_id] = LoadedType(message.spec)
                case ms.RunTask():
                    self.held.append((message, frames))
                case _:
                    pass
        if not self.holding:
            self.work()


class StandInForker:
    """Starts stand-ins, which come to work at once; a signal closes their streams."""

    def __init__(self, address: str) -> None:
        self.workers: dict[str, StandIn] = {}
        self.signals: list[tuple[str, str]] = []
        self._address = address
        self._on_exit: Callable[[str, int, str], None] | None = None

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None:
        self._on_exit = on_exit

    def fork(self, worker: str, pool: str) -> None:
        del pool
        self.workers[worker] = StandIn(worker, self._address)

    def end(self, worker: str) -> None:
        """Let a worker's process end; its node hears of that before it hears its last words."""
        ended = self.workers.pop(worker)
        ended.close()
        if self._on_exit is not None:
            self._on_exit(worker, ended.begun, KILLED)

    def ask_to_stop(self, worker: str, run: int) -> None: ...

    def recall(self, worker: str, run: int) -> None:
        if worker in self.workers:
            self.workers[worker].recalled.add(run)

    def begun(self, worker: str) -> int | None:
        return self.workers[worker].begun if worker in self.workers else None

    def works_on(self, worker: str) -> int:
        its = self.workers.get(worker)
        return its.begun if its is not None and its.begun > its.reported else 0

    def reported(self, worker: str) -> int:
        return self.workers[worker].reported if worker in self.workers else 0

    def signal(self, worker: str, run: int, name: str) -> None:
        del run
        self.signals.append((worker, name))
        if worker in self.workers:
            self.end(worker)

    async def close(self) -> None:
        self._on_exit = None
        for worker in list(self.workers):
            self.end(worker)
