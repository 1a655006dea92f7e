"""The broker and the workers of the raw pyzmq floor, each a process, all synchronous."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from bench.floors.bodies import nap, noop
from bench.floors.wire import (
    LENGTH,
    READY,
    ResultHeader,
    encoder,
    payload_decoder,
    task_header_decoder,
    unlimited,
)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {"noop": noop, "nap": nap}


def run_queue(client_address: str, worker_address: str, copies: bool = True) -> None:
    """Hand each task to the worker that has been free the longest; never looks into frames.

    Without `copies` it passes on ZeroMQ's own frames, which is faster where they are long.

    It reads the clients' socket only while some worker is free, so the tasks that wait do
    so inside ZeroMQ. One message per socket and wake-up: taking all that is there was tried
    and is no faster, because a worker without a second task sends one result at a time.
    """
    with zmq.Context() as context:
        clients = unlimited(context, zmq.ROUTER)
        clients.bind(client_address)
        workers = unlimited(context, zmq.ROUTER)
        workers.bind(worker_address)
        poller = zmq.Poller()
        poller.register(workers, zmq.POLLIN)
        free: deque[bytes] = deque()
        while True:
            ready = dict(poller.poll())
            if workers in ready:
                worker, *frames = workers.recv_multipart()
                if not free:
                    poller.register(clients, zmq.POLLIN)
                free.append(worker)
                if frames[0] != READY:
                    clients.send_multipart(frames)
            if clients in ready:
                passed: Any = clients.recv_multipart(0, copies)
                workers.send_multipart([free.popleft(), *passed], copy=copies)
                if not free:
                    poller.unregister(clients)


def run_proxy(client_address: str, worker_address: str) -> None:
    """Pass tasks round robin, in C, knowing nothing: not who is free, and not what is lost.

    Workers hold whatever was dealt to them. No broker that decides anything can be this
    one, so it is quoted for throughput only, as the most that the sockets can carry.
    """
    with zmq.Context() as context:
        clients = unlimited(context, zmq.ROUTER)
        clients.bind(client_address)
        workers = unlimited(context, zmq.DEALER)
        workers.bind(worker_address)
        zmq.proxy(clients, workers)


def run_long_queue(client_address: str, worker_address: str) -> None:
    """The same for frames that are long."""
    run_queue(client_address, worker_address, copies=False)


def run_worker(worker_address: str, says_ready: bool, copies: bool = True) -> None:
    """One task at a time: decode, call, encode, send."""
    with zmq.Context() as context:
        socket = unlimited(context, zmq.DEALER)
        socket.connect(worker_address)
        if says_ready:
            socket.send(READY)
        while True:
            received: Any = socket.recv_multipart(0, copies)
            client, header_frame, payload = received
            if not copies:
                client, header_frame = client.bytes, header_frame.bytes
            header = task_header_decoder.decode(header_frame)
            if header.function == LENGTH:
                value: Any = len(payload)
            else:
                value = FUNCTIONS[header.function](payload_decoder.decode(payload))
            result = encoder.encode(ResultHeader(header.task, True))
            socket.send_multipart([client, result, encoder.encode(value)])
