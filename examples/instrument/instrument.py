"""A stand-in for an instrument: a beam line that fires a shot every so many seconds.

    python examples/instrument/instrument.py --period 2 --shots 1000 --port 7777

It goes on whether or not a setting has come, and its errors drift. It speaks lines of JSON over
local TCP. After each shot it tells the settings, the readings, and the seconds to the next one. A
setting says for which shot it is; one that comes when this was fired is refused, and the former
settings stay.

    < {"type":"Hello","period_s":2.0,"names":["h1",...],"limit":3.0}
    < {"type":"Shot","number":4,"settings":[...],"readings":[...],"share":0.21,
       "next_in_s":2.0,"at_s":10.0}
    > {"type":"Set","shot":5,"settings":[0.1,0.0,-0.3,0.0,0.6,0.6]}
    < {"type":"Refused","shot":5,"reason":"late: the next shot is 6"}
    < {"type":"Ended","shots":1000}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable
from typing import ClassVar

import msgspec
import numpy as np
from beamline import LIMIT, NOISE, NOMINAL, SETTINGS, USUAL, bunch, track

PARTICLES = 2_000
"""Of a shot."""
DRIFT = 0.1
"""Of the errors from shot to shot, as a share of their usual sizes."""
MOST_BYTES = 10_000
"""Of a line."""
MOST_UNREAD_BYTES = 1_000_000
"""Of lines that a client has not taken; then it is let go."""
LEAVE_S = 2.0
"""Seconds in which clients may take the last lines."""


class Message(msgspec.Struct, tag_field="type", frozen=True):
    """A line of the protocol."""


class Hello(Message, frozen=True):
    """Greets a client: how often the instrument fires, and its settings."""

    period_s: float
    names: tuple[str, ...]
    limit: float


class Shot(Message, frozen=True):
    """Tells of a shot: its number, settings and readings, and the seconds to the next one.

    ``at_s`` is the time at which it is told, on the instrument's clock.
    """

    number: int
    settings: list[float]
    readings: list[float]
    share: float
    next_in_s: float
    at_s: float


class Refused(Message, frozen=True):
    """Tells that a setting was not taken; the former one stays."""

    shot: int
    reason: str


class Ended(Message, frozen=True):
    """Tells that no other shot follows."""

    shots: int


class Set(Message, frozen=True):
    """Asks for settings, by a client, for one shot and those that follow."""

    shot: int
    settings: list[float]


Write = Callable[[bytes], None]


class BeamLine:
    """The beam line: it fires, and listens to clients.

    Args:
        period_s: seconds from shot to shot.
        shots: how many to fire.
        seed: of errors and noise, which are the same whatever is set.
        fault: how it fails (``dies``, ``hangs`` or ``nonsense``), and after how many shots that
            a client has heard of.
    """

    FAULTS: ClassVar = ("dies", "hangs", "nonsense")

    def __init__(
        self, period_s: float, shots: int, seed: int = 1, fault: tuple[str, int] = ("", 0)
    ) -> None:
        self.period_s, self.shots, self.fault = period_s, shots, fault
        self.chance = np.random.default_rng(seed)
        self.errors = 0.3 * USUAL * self.chance.normal(size=len(USUAL))
        self.settings: list[float] = list(NOMINAL)
        self.next = self.told = 0
        self.clients: set[Write] = set()

    async def fire(self) -> None:
        """Fire all shots, each in its time."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            await asyncio.sleep(begun + (self.next + 1) * self.period_s - loop.time())
            if self.next == self.shots:
                break
            at_s = loop.time() - begun
            shot = self.shoot(max(0.0, (self.next + 2) * self.period_s - at_s), at_s)
            if self.fault[0] and self.told >= self.fault[1]:
                await self.fail()
            self.told += bool(self.clients)
            self.tell(shot)
        self.tell(Ended(self.shots))

    def shoot(self, next_in_s: float, at_s: float) -> Shot:
        """Fire a shot with the settings as they are."""
        noise, drift = self.chance.normal(size=len(NOISE)), self.chance.normal(size=len(USUAL))
        found, shares = track(np.array(self.settings), self.errors, bunch(PARTICLES))
        readings = (found[0] + NOISE * noise).tolist()
        share = float(shares[0])
        shot = Shot(self.next, list(self.settings), readings, share, next_in_s, at_s)
        self.errors = 0.98 * self.errors + DRIFT * USUAL * drift
        self.next += 1
        return shot

    async def fail(self) -> None:
        """Fail as it was told to."""
        if self.fault[0] == "dies":
            os._exit(9)
        if self.fault[0] == "hangs":
            await asyncio.Event().wait()
        for write in self.clients:
            write(b'{"type":"Shot","number":"\x1b[31mseven","settings":[NaN\n')

    def tell(self, message: Message) -> None:
        """Send a line to all clients."""
        for write in list(self.clients):
            write(msgspec.json.encode(message) + b"\n")

    async def serve(self, reader: asyncio.StreamReader, write: Write) -> None:
        """Listen to a client until it leaves."""
        write(msgspec.json.encode(Hello(self.period_s, SETTINGS, LIMIT)) + b"\n")
        self.clients.add(write)
        try:
            while line := await reader.readline():
                refused = self.take(line)
                if refused is not None:
                    write(msgspec.json.encode(refused) + b"\n")
        except (ValueError, ConnectionError):  # a line without an end, or none that can be read
            pass
        finally:
            self.clients.discard(write)

    def take(self, line: bytes) -> Refused | None:
        """Take a setting, or say why not."""
        try:
            wanted = msgspec.json.decode(line, type=Set)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Refused(-1, f"this is no setting: {error}")
        if wanted.shot != self.next:
            word = "late" if wanted.shot < self.next else "early"
            return Refused(wanted.shot, f"{word}: the next shot is {self.next}")
        if len(wanted.settings) != len(SETTINGS) or not all(
            math.isfinite(each) and abs(each) <= LIMIT for each in wanted.settings
        ):
            return Refused(wanted.shot, f"a setting has {len(SETTINGS)} numbers of +-{LIMIT:g}")
        self.settings = wanted.settings
        return None


async def run(line: BeamLine, port: int, until_eof: bool) -> None:
    """Fire all shots, and serve clients meanwhile; end early if standard input does."""
    served: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def write(text: bytes) -> None:
            if writer.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
                writer.transport.abort()
            else:
                writer.write(text)

        served.add(asyncio.current_task())
        try:
            await line.serve(reader, write)
        finally:
            served.discard(asyncio.current_task())
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=MOST_BYTES)
    print(f"listening at 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    firing = asyncio.ensure_future(line.fire())
    parent = asyncio.ensure_future(end_of_input() if until_eof else asyncio.Event().wait())
    await asyncio.wait([firing, parent], return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if firing.done():
        firing.result()
        clients = [each for each in served if each is not None]
        if clients:  # they hear the end, and leave
            await asyncio.wait(clients, timeout=LEAVE_S)


async def end_of_input() -> None:
    """Wait until the program that started this one has ended, and so its pipe."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1_000):
        pass


def main() -> None:
    """Fire, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--period", type=float, default=2.0, help="seconds from shot to shot")
    parser.add_argument("--shots", type=int, default=1_000, help="how many to fire")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; 0: any that is free")
    parser.add_argument("--seed", type=int, default=1, help="of its errors and noise")
    parser.add_argument("--until-eof", action="store_true", help="end with the standard input")
    parser.add_argument("--fault", choices=BeamLine.FAULTS, default="", help="fail like this")
    parser.add_argument("--at", type=int, default=3, help="after so many shots that were heard")
    asked = parser.parse_args()
    if not 0 < asked.period < math.inf or asked.shots < 1:
        parser.error("--period is a number of seconds, and --shots at least 1")
    line = BeamLine(asked.period, asked.shots, asked.seed, (asked.fault, asked.at))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(line, asked.port, asked.until_eof))


if __name__ == "__main__":
    main()
