"""The workers of a gang that runs an MPI program: one starts it, the others lend it their places.

Each of the others tells the first its place, over the port at which they meet, and waits until that
connection ends. A stranger is not listened to there: it does not know their token.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable, Generator
from hmac import compare_digest

import msgspec
from msgspec import Struct

from steerio.errors import TaskStopped, UsageError
from steerio.worker import rank_places
from steerio.worker.meeting import Gang
from steerio.worker.rank_places import MemberPlace

LOOK_S = 0.05
"""Time between two looks of one that waits whether it is to stop."""
MEET_S = 120.0
"""Time within which the workers of a gang, which begin at once, must have met."""
AGAIN_S = 0.01
"""Time between two tries to reach the first, which may not listen yet."""
LONGEST_WORD = 1 << 20
"""Most bytes that a worker says of its place."""
LOCAL = "127.0.0.1"

ShouldStop = Callable[[], bool]


class _Word(Struct):
    token: bytes
    place: MemberPlace


def own_place(rank: int) -> MemberPlace:
    """Return the place of this worker."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    return rank_places.here(rank, socket.gethostname(), sorted(cores), os.environ)


def lend(gang: Gang, token: bytes, should_stop: ShouldStop) -> None:
    """Tell the first worker of the gang this one's place, and wait until it needs it no more.

    Raises:
        TaskStopped: this attempt is to stop.
        UsageError: the first one's host is not known here.
        TimeoutError: the first one is not reached within two minutes.
    """
    with _reached(gang, should_stop) as link:
        link.sendall(msgspec.json.encode(_Word(token, own_place(gang.rank))) + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(link, selectors.EVENT_READ)
            while not selector.select(LOOK_S):  # the first says nothing, so this is its end
                _go_on(should_stop)


def _reached(gang: Gang, should_stop: ShouldStop) -> socket.socket:
    ends_s = time.monotonic() + MEET_S
    while True:
        _go_on(should_stop)
        try:
            return socket.create_connection((gang.address, gang.port), timeout=LOOK_S * 20)
        except socket.gaierror as error:
            raise UsageError(
                f"host {gang.address!r} of the first worker of this gang is not known on "
                f"{socket.gethostname()}: {error.strerror}. Have hosts know each other by name"
            ) from error
        except OSError as error:  # it does not listen yet, or is gone; then this one is stopped
            if time.monotonic() > ends_s:
                raise TimeoutError(
                    f"{socket.gethostname()} does not reach the first worker of this gang, at "
                    f"{gang.address}:{gang.port}, within {MEET_S:.0f} s: {error}. Have the hosts "
                    "of a pool reach each other, by any port"
                ) from error
            time.sleep(AGAIN_S)


@contextlib.contextmanager
def borrowed(
    gang: Gang, token: bytes, should_stop: ShouldStop
) -> Generator[list[MemberPlace], None, None]:
    """Hold the places of all workers of a gang, this one's first; call it on the first.

    Raises:
        TaskStopped: this attempt is to stop.
        OSError: the port is not free any more.
        TimeoutError: some of the others have not come within two minutes.
    """
    places = [own_place(0)]
    if gang.size == 1:
        yield places
        return
    with contextlib.ExitStack() as stack:
        at = LOCAL if gang.address == LOCAL else ""
        server = stack.enter_context(socket.create_server((at, gang.port), backlog=gang.size))
        server.setblocking(False)
        visitors = _Visitors(server, token, stack)
        ends_s = time.monotonic() + MEET_S
        while lacking := set(range(1, gang.size)) - visitors.places.keys():
            _go_on(should_stop)
            if time.monotonic() > ends_s:
                raise TimeoutError(
                    f"workers {', '.join(map(str, sorted(lacking)))} of this gang of {gang.size} "
                    f"have not come to {gang.address}:{gang.port} within {MEET_S:.0f} s. Have the "
                    "hosts of a pool reach each other, by any port"
                )
            visitors.listen()
        yield [*places, *visitors.places.values()]


class _Visitors:
    """All that have come to the port, and the places of those that belong to the gang."""

    def __init__(self, server: socket.socket, token: bytes, stack: contextlib.ExitStack) -> None:
        self.places: dict[int, MemberPlace] = {}
        self._token = token
        self._stack = stack
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._selector.register(server, selectors.EVENT_READ, None)

    def listen(self) -> None:
        """Take in the words that have come, waiting a moment for one."""
        for key, _ in self._selector.select(LOOK_S):
            link = key.fileobj
            assert isinstance(link, socket.socket)
            if key.data is None:
                with contextlib.suppress(OSError):  # it has gone again
                    visitor, _ = link.accept()
                    visitor.setblocking(False)
                    self._stack.callback(visitor.close)
                    self._selector.register(visitor, selectors.EVENT_READ, bytearray())
            else:
                self._hear(link, key.data)

    def _hear(self, link: socket.socket, said: bytearray) -> None:
        try:
            part = link.recv(65_536)
        except OSError:
            part = b""
        said += part
        whole = said.endswith(b"\n")
        if whole or not part or len(said) > LONGEST_WORD:
            self._selector.unregister(link)
            if not (whole and self._take(bytes(said))):
                link.close()

    def _take(self, said: bytes) -> bool:
        """Take in a word; return whether it is one of the gang's."""
        try:
            word = msgspec.json.decode(said, type=_Word)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        if not compare_digest(word.token, self._token):
            return False
        self.places[word.place.rank] = word.place
        return True


def _go_on(should_stop: ShouldStop) -> None:
    if should_stop():
        raise TaskStopped
