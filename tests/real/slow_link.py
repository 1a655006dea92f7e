"""A link between this network namespace and another, in user space: slow, lossy, cut when told.

It is two devices (TUN) and a process that reads the packets of each and writes them to the other:
later by a delay, at no more than a rate, without those that it draws to be lost.  A packet that
finds the queue before the rate full is dropped, as by a router; so are all of them during a cut,
of which neither end is told.  `python -m tests.real.slow_link` measures how much passes through it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE_BYTES = 1 << 16
"""Longest packet that a device can have."""
READ = 64
"""Most packets that are read in one direction before the other has its turn."""
DEVICE_PACKETS = 5_000
"""Packets that a device keeps for the process that reads them."""
ANSWER_S = 40.0


class Profile(Struct, frozen=True, kw_only=True):
    """The bounds of a link, the same in both directions.

    Attributes:
        delay_s: time that each packet is under way; a round trip takes twice as long.
        loss: share of the packets that are lost.
        bytes_per_s: most bytes that pass in a second.
        queue_bytes: most bytes that wait for their turn.
        seed: of the draws.
        congestion: the rule by which TCP finds how fast it may send, of those that this kernel has.
    """

    delay_s: float = 0.05
    loss: float = 0.01
    bytes_per_s: float = 12.5e6
    queue_bytes: int = 1_250_000
    seed: int = 1
    congestion: str = "cubic"


class Counts(Struct):
    """The packets of one direction so far, and the bytes of those that passed."""

    passed: int = 0
    nbytes: int = 0
    lost: int = 0
    overflowed: int = 0
    cut: int = 0


class Direction:
    """The packets from one device to the other.

    Args:
        source, target: the descriptors of the devices.
        profile: of the link.
        seed: of its own draws.
    """

    def __init__(self, source: int, target: int, profile: Profile, seed: int) -> None:
        self.source = source
        self.counts = Counts()
        self._target = target
        self._profile = profile
        self._random = Random(seed)
        self._free_at = 0.0
        """When all that waits for its turn has had it."""
        self._under_way: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float:
        """When the next packet arrives, by the monotonic clock."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def take(self, now: float, *, cut: bool) -> None:
        """Read the packets that have come."""
        profile, counts = self._profile, self.counts
        for _ in range(READ):
            try:
                packet = os.read(self.source, DEVICE_BYTES)
            except BlockingIOError:
                return
            takes_s = len(packet) / profile.bytes_per_s
            begins = max(now, self._free_at)
            if cut:
                counts.cut += 1
            elif self._random.random() < profile.loss:
                counts.lost += 1
            elif (begins - now) * profile.bytes_per_s > profile.queue_bytes:
                counts.overflowed += 1
            else:
                self._free_at = begins + takes_s
                self._under_way.append((self._free_at + profile.delay_s, packet))

    def deliver(self, now: float) -> None:
        """Write the packets that have been under way for long enough."""
        under_way, counts = self._under_way, self.counts
        while under_way and under_way[0][0] <= now:
            packet = under_way.popleft()[1]
            with contextlib.suppress(OSError):  # the device at that end is down
                os.write(self._target, packet)
                counts.passed += 1
                counts.nbytes += len(packet)

    def lose(self) -> None:
        """Lose the packets that are under way."""
        self.counts.cut += len(self._under_way)
        self._under_way.clear()
        self._free_at = 0.0


def open_device(name: str) -> int:
    """Make a device; returns its descriptor, which goes on if it is moved to another namespace."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


def carry(names: tuple[str, str], profile: Profile) -> None:
    """Be the process of a link, until its input ends; each line that it reads it answers."""
    here, there = map(open_device, names)
    ways = (
        Direction(here, there, profile, 2 * profile.seed),
        Direction(there, here, profile, 2 * profile.seed + 1),
    )
    cut = False
    _answer(ways)
    while True:
        wait_s = max(0.0, min(way.due for way in ways) - time.monotonic())
        ready, _, _ = select.select([0, here, there], [], [], min(wait_s, 1.0))
        for way in ways:
            way.deliver(time.monotonic())
            if way.source in ready:
                way.take(time.monotonic(), cut=cut)
        if 0 in ready:
            orders = os.read(0, 1024)
            if not orders:
                return
            for order in orders.decode().split():
                cut = order == "cut" or (cut and order != "mend")
                for way in ways if order == "cut" else ():
                    way.lose()
                _answer(ways)


def _answer(ways: tuple[Direction, Direction]) -> None:
    sys.stdout.write(json.dumps([asdict(way.counts) for way in ways]) + "\n")
    sys.stdout.flush()


class LinkRefused(Exception):
    """No such link can be made here; the message says why."""


def ip(*arguments: str) -> None:
    """Run ``ip``.

    Raises:
        LinkRefused: it is not there, or does not do this.
    """
    try:
        done = subprocess.run(
            ["ip", *arguments], capture_output=True, timeout=ANSWER_S, check=False, text=True
        )
    except OSError as error:
        raise LinkRefused(f"ip: {error.strerror}") from None
    if done.returncode:
        raise LinkRefused(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class SlowLink:
    """A link that is there.

    Attributes:
        namespace: the name of the other network namespace.
        here, there: the addresses of its two ends.
    """

    def __init__(self, process: subprocess.Popen[str], devices: tuple[str, str]) -> None:
        number = os.getpid()
        self.namespace = f"slow-{number}"
        first = (198 << 24) + (18 << 16) + 4 * (number % (1 << 15))  # set aside for such tests
        self.here, self.there = (_dotted(first + 1), _dotted(first + 2))
        self._devices = devices
        self._process = process

    def cut(self) -> None:
        """Lose all packets from now on, and those that are under way."""
        self._ask("cut")

    def mend(self) -> None:
        """Pass packets again."""
        self._ask("mend")

    def counts(self) -> tuple[Counts, Counts]:
        """Return the packets so far: from here, and to here."""
        return self._ask("count")

    def _ask(self, order: str) -> tuple[Counts, Counts]:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> tuple[Counts, Counts]:
        """Take the next answer of the process.

        Raises:
            LinkRefused: it has ended.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        line = self._process.stdout.readline() if ready else "it does not answer"
        try:
            return msgspec.json.decode(line, type=tuple[Counts, Counts])
        except msgspec.DecodeError:
            rest = self._process.stdout.read() if ready else ""
            reason = (line + rest).strip().rpartition("\n")[2]
            raise LinkRefused(f"the process of the link: {reason or 'it ended'}") from None

    def join(self, profile: Profile) -> None:
        """Give both devices their addresses, one of them in the other namespace.

        Raises:
            LinkRefused: that is not allowed here.
        """
        a, b = self._devices
        inside = ("-n", self.namespace)
        ip("netns", "add", self.namespace)
        ip("link", "set", b, "netns", self.namespace)
        ip(*inside, "link", "set", "lo", "up")
        for at, device, own, other in (
            ((), a, self.here, self.there),
            (inside, b, self.there, self.here),
        ):
            ip(*at, "addr", "add", f"{own}/32", "dev", device)
            ip(*at, "link", "set", device, "txqueuelen", str(DEVICE_PACKETS), "up")
            ip(*at, "route", "add", other, "dev", device, "congctl", profile.congestion)

    def remove(self) -> None:
        """Remove the other namespace; the devices end with the process."""
        with contextlib.suppress(LinkRefused):
            ip("netns", "del", self.namespace)


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


@contextmanager
def slow_link(profile: Profile) -> Iterator[SlowLink]:
    """Have a link to a namespace of its own.

    Raises:
        LinkRefused: none can be made here: that takes Linux, root, ``ip`` and ``/dev/net/tun``.
    """
    if not os.access(TUN, os.R_OK | os.W_OK):
        raise LinkRefused(f"there is no {TUN} that can be opened")
    devices = (f"sl{os.getpid()}a", f"sl{os.getpid()}b")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.real.slow_link", *devices, json.dumps(asdict(profile))],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        link = SlowLink(process, devices)
        try:
            link.answer()
            link.join(profile)
            yield link
        finally:
            link.remove()
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(ANSWER_S)
            finally:
                process.kill()


SINK = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], 5000))
print("listens", flush=True)
connection, _ = listener.accept()
began, got = time.monotonic(), 0
while chunk := connection.recv(1 << 20):
    got += len(chunk)
print(got / (time.monotonic() - began))
"""


def measured(profile: Profile, nbytes: int) -> tuple[float, Counts]:
    """Return the bytes a second that one TCP connection brings through, and the packets' counts."""
    with slow_link(profile) as link:
        command = ["ip", "netns", "exec", link.namespace, sys.executable, "-c", SINK, link.there]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sink:
            assert sink.stdout is not None
            sink.stdout.readline()
            with socket.create_connection((link.there, 5000), ANSWER_S) as connection:
                connection.sendall(bytes(nbytes))
            return float(sink.stdout.readline()), link.counts()[0]


def main() -> None:
    """Be the process of a link, or measure one."""
    if len(sys.argv) > 1:
        carry((sys.argv[1], sys.argv[2]), msgspec.json.decode(sys.argv[3], type=Profile))
        return
    for loss, rule, nbytes in (
        (0.0, "cubic", 100_000_000),
        (0.01, "cubic", 5_000_000),
        (0.01, "bbr", 50_000_000),
    ):
        passed, counts = measured(Profile(loss=loss, congestion=rule), nbytes)
        sys.stdout.write(f"{rule}, loss {loss:.0%}: {passed * 8e-6:.1f} Mbit/s; {counts}\n")


if __name__ == "__main__":
    main()
