"""The raw pyzmq queue with an asyncio client, as a policy that awaits several things needs one.

`python -m bench.floors.async_client CONTROL_FD`

Broker and workers are those of `queue_client`. The client is `zmq.asyncio` on uvloop: one coroutine
reads, and gives each result to the future of its task.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
import time
from typing import Any

import uvloop
import zmq
import zmq.asyncio

from bench.contestant import Round, serve_async
from bench.floors.queue_processes import run_queue, run_worker
from bench.floors.wire import payload_decoder, result_header_decoder, task_frames

WORKERS = 2
Figures = dict[str, list[float]]


class AsyncClient:
    """Sends tasks and awaits their results on one DEALER socket."""

    def __init__(self, address: str, context: zmq.asyncio.Context) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.set_hwm(0)
        self._socket.connect(address)
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Read no more."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def run(self, function: str, argument: Any) -> Any:
        """Return the value of one task."""
        self._count += 1
        task = self._count
        result = self._results[task] = asyncio.get_running_loop().create_future()
        await self._socket.send_multipart(task_frames(task, function, argument))
        return await result

    async def _read(self) -> None:
        while True:
            header, payload = await self._socket.recv_multipart()
            result = self._results.pop(result_header_decoder.decode(header).task)
            result.set_result(payload_decoder.decode(payload))

    async def round_trips(self, order: Round) -> Figures:
        """One task at a time, each taken back before the next is sent."""
        seconds: list[float] = []
        for number in range(order.tasks):
            began = time.perf_counter()
            await self.run("noop", number)
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    async def decisions(self, order: Round) -> Figures:
        """One task outstanding per worker; each next one follows from the last result."""

        async def decide(tasks: int) -> None:
            value = 0
            for _ in range(tasks):
                value = await self.run("noop", value + 1)

        began = time.perf_counter()
        await asyncio.gather(*(decide(order.tasks // WORKERS) for _ in range(WORKERS)))
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}


async def steer(control_fd: int, address: str) -> None:
    """Obey orders until there are no more."""
    with zmq.asyncio.Context() as context:
        client = AsyncClient(address, context)
        try:
            rounds = {"round_trips": client.round_trips, "decisions": client.decisions}
            await serve_async(control_fd, rounds)
        finally:
            await client.close()
            context.destroy(linger=0)


def main() -> None:
    """Start the broker and the workers and obey orders until there are no more."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        client_address, worker_address = f"ipc://{directory}/clients", f"ipc://{directory}/workers"
        # Forked before there is a ZeroMQ context here: a context does not survive a fork.
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=run_queue, args=(client_address, worker_address))]
        for _ in range(WORKERS):
            processes.append(fork.Process(target=run_worker, args=(worker_address, True)))
        for process in processes:
            process.daemon = True
            process.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(steer(int(sys.argv[1]), client_address))
        finally:
            for process in processes:
                process.kill()
                process.join(5)


if __name__ == "__main__":
    main()
