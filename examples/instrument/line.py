"""The line to an instrument: its shots as they come, and settings for the next one.

Whatever the instrument does, a wait for it has an end: `InstrumentError` says what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from instrument import MOST_BYTES, Ended, Hello, Refused, Set, Shot

Heard = Hello | Shot | Refused | Ended

START_S = 60.0
"""Seconds that an instrument may take to start, to be reached, and to greet."""
PATIENCE_S = 5.0
"""Seconds that a shot may come late before the instrument counts as hung, ..."""
PATIENCE_PERIODS = 2.0
"""... or so many times the time from shot to shot, if that is more."""
LEAVE_S = 2.0
"""Seconds that a child may take to end before it is killed."""


class InstrumentError(RuntimeError):
    """The instrument died, hangs, or says nonsense."""


class Instrument:
    """One end of the line.

    Args:
        reader: of its lines.
        write: sends bytes to it.
        name: its address, for errors.
    """

    def __init__(
        self, reader: asyncio.StreamReader, write: Callable[[bytes], None], name: str
    ) -> None:
        self.name = name
        self.refused: list[Refused] = []
        """The settings that it has not taken."""
        self._reader, self._write = reader, write
        self._after, self._heard_at = "it was reached", asyncio.get_running_loop().time()

    async def shots(self) -> AsyncIterator[tuple[Shot, float]]:
        """Yield each shot, and the time at which the next is fired, on the loop's clock.

        A shot may be read late, if the loop was busy. So its time is that of the instrument's
        clock, and the difference of the clocks is that of the shot that was the least late.

        Raises:
            InstrumentError: the instrument died, hangs, or says nonsense.
        """
        loop = asyncio.get_running_loop()
        greeted = await self._hear(START_S)
        if not isinstance(greeted, Hello):
            raise InstrumentError(f"the instrument at {self.name} does not greet, but: {greeted}")
        patience_s = max(PATIENCE_S, PATIENCE_PERIODS * greeted.period_s)
        next_at, difference_s = loop.time() + greeted.period_s, math.inf
        while True:
            match await self._hear(max(patience_s, next_at + patience_s - loop.time())):
                case Shot() as shot:
                    difference_s = min(difference_s, loop.time() - shot.at_s)
                    next_at = difference_s + shot.at_s + shot.next_in_s
                    self._after = f"shot {shot.number}"
                    yield shot, next_at
                case Refused() as refused:
                    self.refused.append(refused)
                case Ended():
                    return
                case Hello():
                    raise InstrumentError(f"the instrument at {self.name} greets again")

    def set(self, shot: int, settings: list[float]) -> None:
        """Ask for settings for a shot."""
        self._write(msgspec.json.encode(Set(shot, settings)) + b"\n")

    async def _hear(self, wait_s: float) -> Heard:
        """Return the next message."""
        who = f"the instrument at {self.name}"
        try:
            async with asyncio.timeout(wait_s):
                line = await self._reader.readline()
        except TimeoutError:
            silent_s = asyncio.get_running_loop().time() - self._heard_at
            raise InstrumentError(
                f"{who} hangs: it has said nothing for {silent_s:.1f} s after {self._after}"
            ) from None
        except ConnectionError as error:
            raise InstrumentError(f"{who} is gone after {self._after}: {error}") from error
        except ValueError:
            raise InstrumentError(f"{who} says over {MOST_BYTES} bytes in one line") from None
        if not line.endswith(b"\n"):
            raise InstrumentError(f"{who} is gone after {self._after}: it closed the line")
        self._heard_at = asyncio.get_running_loop().time()
        return checked(line, who)


def checked(line: bytes, who: str) -> Heard:
    """Return a line as a message.

    Raises:
        InstrumentError: it is none.
    """
    try:
        message = msgspec.json.decode(line, type=Heard)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InstrumentError(f"{who} says nonsense ({error}): {line[:200]!r}") from None
    if not isinstance(message, Shot):
        return message
    numbers = (*message.settings, *message.readings, message.next_in_s, message.at_s)
    if (
        len(message.settings) != 6
        or len(message.readings) != 6
        or message.next_in_s < 0
        or not all(map(math.isfinite, numbers))
    ):
        raise InstrumentError(f"{who} says nonsense (no shot has these numbers): {line[:200]!r}")
    return message


@contextlib.asynccontextmanager
async def reached(address: str) -> AsyncIterator[Instrument]:
    """Connect to the instrument at ``HOST:PORT``.

    Raises:
        InstrumentError: there is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InstrumentError(f"an instrument has an address HOST:PORT, not {address!r}")
    try:
        async with asyncio.timeout(START_S):
            reader, writer = await asyncio.open_connection(host, int(port), limit=MOST_BYTES)
    except (OSError, OverflowError) as error:  # a TimeoutError is one
        why = str(error) or f"no answer in {START_S:g} s"
        raise InstrumentError(f"no instrument is at {address}: {why}") from None
    try:
        yield Instrument(reader, writer.write, address)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def started(*options: str) -> AsyncIterator[Instrument]:
    """Start the stand-in as a child, connect to it, and end it.

    Its standard input ends with this process, and then the child does, also after ``kill -9``.

    Raises:
        InstrumentError: it does not start.
    """
    script = str(Path(__file__).with_name("instrument.py"))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *(script, "--until-eof", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        try:
            async with asyncio.timeout(START_S):
                said = await child.stdout.readline()
        except TimeoutError:
            raise InstrumentError(
                f"the instrument that was started ({script}) has said nothing for {START_S:g} s"
            ) from None
        if not said.startswith(b"listening at "):
            raise InstrumentError(f"the instrument that was started ({script}) does not listen")
        async with reached(said.decode().split()[-1]) as instrument:
            yield instrument
    finally:
        child.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
