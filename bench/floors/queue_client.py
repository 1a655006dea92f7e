"""The raw pyzmq floor: a synchronous client, a broker process, two worker processes.

`python -m bench.floors.queue_client CONTROL_FD queue|long|proxy`
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from typing import Any

import zmq

from bench.contestant import Round, serve
from bench.floors.queue_processes import run_long_queue, run_proxy, run_queue, run_worker
from bench.floors.wire import (
    LENGTH,
    RECEIVE_TIMEOUT_MS,
    TaskHeader,
    encoder,
    payload_decoder,
    result_header_decoder,
    task_frames,
    unlimited,
)

BROKERS = {"queue": run_queue, "long": run_long_queue, "proxy": run_proxy}


class QueueClient:
    """Sends tasks and receives results on one DEALER socket."""

    def __init__(
        self, address: str, workers: int, context: zmq.Context[Any], copies: bool = True
    ) -> None:
        self.workers = workers
        self.copies = copies
        self._socket = unlimited(context, zmq.DEALER)
        self._socket.rcvtimeo = RECEIVE_TIMEOUT_MS
        self._socket.connect(address)

    def send(self, task: int, function: str, argument: Any) -> None:
        """Send one task, without waiting for anything."""
        self._socket.send_multipart(task_frames(task, function, argument))

    def receive(self) -> tuple[int, Any]:
        """The next result: its task and its value; raises zmq.Again after the timeout."""
        header, payload = self._socket.recv_multipart()
        return result_header_decoder.decode(header).task, payload_decoder.decode(payload)

    def at_once(self, order: Round) -> dict[str, list[float]]:
        """Submit all, then take the results as they come."""
        began = time.perf_counter()
        for task in range(order.tasks):
            self.send(task, "noop", task)
        for _ in range(order.tasks):
            self.receive()
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    def sized(self, order: Round) -> dict[str, list[float]]:
        """`at_once`, with a payload of `order.task_s` bytes that nobody looks into."""
        payload = bytes(int(order.task_s))
        header = encoder.encode(TaskHeader(0, LENGTH))
        began = time.perf_counter()
        for _ in range(order.tasks):
            self._socket.send_multipart([header, payload], copy=self.copies)
        lengths = {self.receive()[1] for _ in range(order.tasks)}
        seconds = time.perf_counter() - began
        if lengths != {len(payload)}:
            raise AssertionError("what arrived is not what was sent")
        return {"tasks_per_s": [order.tasks / seconds]}

    def round_trips(self, order: Round) -> dict[str, list[float]]:
        """One task at a time, each taken back before the next is sent."""
        seconds: list[float] = []
        for task in range(order.tasks):
            began = time.perf_counter()
            self.send(task, "noop", task)
            self.receive()
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    def decisions(self, order: Round) -> dict[str, list[float]]:
        """One task outstanding per worker; each next one follows from the last result."""
        began = time.perf_counter()
        function, argument = ("nap", order.task_s) if order.task_s else ("noop", 0)
        for task in range(self.workers):
            self.send(task, function, argument)
        for task in range(self.workers, order.tasks):
            _, value = self.receive()
            self.send(task, function, argument if order.task_s else value + 1)
        for _ in range(self.workers):
            self.receive()
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}


def main() -> None:
    """Start the broker and the workers and obey orders until there are no more."""
    control_fd, broker, workers = int(sys.argv[1]), BROKERS[sys.argv[2]], 2
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        client_address, worker_address = f"ipc://{directory}/clients", f"ipc://{directory}/workers"
        # Forked before there is a ZeroMQ context here: a context does not survive a fork.
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=broker, args=(client_address, worker_address))]
        for _ in range(workers):
            arguments = (worker_address, broker is not run_proxy, broker is not run_long_queue)
            processes.append(fork.Process(target=run_worker, args=arguments))
        for process in processes:
            process.daemon = True
            process.start()
        with zmq.Context() as context:
            client = QueueClient(client_address, workers, context, broker is not run_long_queue)
            try:
                serve(
                    control_fd,
                    {
                        "at_once": client.at_once,
                        "sized": client.sized,
                        "round_trips": client.round_trips,
                        "decisions": client.decisions,
                    },
                )
            finally:
                context.destroy(linger=0)
                for process in processes:
                    process.kill()
                    process.join(5)


if __name__ == "__main__":
    main()
