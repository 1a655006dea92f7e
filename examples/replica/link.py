"""The line to a plant: a process whose measurements are checked, or the same plant in virtual time.

Whatever the plant does, it ends clearly: one that dies, is silent for too long or says nonsense is
a `PlantError`, and its process is gone when the line is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Protocol

import msgspec
from plant import INTERVAL, Plant

LONGEST = 1000
"""Bytes of a line."""


class Measured(msgspec.Struct, frozen=True):
    """A measurement: its number, the temperature, and the coolant since the one before."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    kelvin: Annotated[float, msgspec.Meta(gt=200, lt=1000)]
    coolant: Annotated[float, msgspec.Meta(gt=200, lt=400)]


class PlantError(Exception):
    """The plant died, is silent, or said something that is no measurement."""


class Line(Protocol):
    """A line to a plant."""

    def measurements(self) -> AsyncIterator[Measured]:
        """Yield each measurement as it comes, until the plant has ended well."""
        ...

    def order(self, coolant: float, since: int) -> None:
        """Order a coolant from behind a measurement on."""
        ...


class ProcessLine:
    """A line to a plant that is a process.

    Args:
        process: the plant.
        silence_s: seconds without a word after which it is given up.
    """

    def __init__(self, process: asyncio.subprocess.Process, silence_s: float) -> None:
        self.process, self.silence_s = process, silence_s

    async def measurements(self) -> AsyncIterator[Measured]:
        """Yield each measurement as it comes, until the plant has ended well."""
        last = 0
        while line := await self.said():
            try:
                measured = msgspec.json.decode(line, type=Measured)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise PlantError(f"the plant said {shown(line)}: {error}") from None
            if measured.number != last + 1:
                raise PlantError(f"the plant said {shown(line)} behind measurement {last}")
            last = measured.number
            yield measured

    async def said(self) -> bytes:
        """Return the next line; nothing if the plant has ended well."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(self.silence_s):
                if line := await self.process.stdout.readline():
                    return line
                code = await self.process.wait()
        except TimeoutError:
            raise PlantError(f"the plant said nothing for {self.silence_s:g} s") from None
        except ValueError:
            raise PlantError(f"the plant said more than {LONGEST} bytes without an end") from None
        if code:
            how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
            raise PlantError(f"the plant ended {how}")
        return b""

    def order(self, coolant: float, since: int) -> None:
        """Order a coolant from behind a measurement on."""
        assert self.process.stdin is not None
        if self.process.returncode is None:
            said = json.dumps({"coolant": coolant, "since": since})
            self.process.stdin.write(said.encode() + b"\n")


class VirtualLine:
    """A line to a plant that is an object, on the clock of the loop: for simulations.

    Args:
        plant: the plant.
        minutes, speed: as the process takes them.
    """

    def __init__(self, plant: Plant, minutes: float, speed: float) -> None:
        self.plant, self.minutes, self.speed = plant, minutes, speed

    async def measurements(self) -> AsyncIterator[Measured]:
        """Yield each measurement when it is due."""
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in range(1, int(self.minutes / INTERVAL) + 1):
            await asyncio.sleep(began + number * INTERVAL / self.speed - clock())
            yield msgspec.convert(self.plant.advance(), Measured)

    def order(self, coolant: float, since: int) -> None:
        """Order a coolant from behind a measurement on."""
        self.plant.order(coolant, since)


@contextlib.asynccontextmanager
async def started(command: Sequence[str], silence_s: float) -> AsyncIterator[ProcessLine]:
    """Start a plant; kill it when the line is left.

    It is in a session of its own, so Ctrl-C is for the campaign alone.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, limit=LONGEST, start_new_session=True
    )
    try:
        yield ProcessLine(process, silence_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # those that it started, too
        await process.communicate()  # closes the pipes, and waits


def shown(line: bytes) -> str:
    """Return a line as it may be shown."""
    return ascii(line[:80])
