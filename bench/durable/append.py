"""Frames appended to a journal at each level, against plain `os.write` of the same bytes.

Both sides write to a fresh file in the folder of temporary files, in turn.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import Spread, alternate, spread
from steerio.edge.record.disk import Folder, is_volatile
from steerio.edge.record.durable import Durability, DurableJournal
from steerio.edge.record.frames import FRAME_BYTES
from steerio.edge.record.journal_segments import JournalReader
from steerio.edge.record.opening_journals import open_folder

BODY_BYTES = 300
"""About that of a small task's end."""
BATCH = 20
"""Frames of one step of a broker that is busy."""
CLAIMS = (
    Claim("frames/s, process, one to a batch, against os.write", 0.15, 0.3, "higher", "x"),
    Claim(f"frames/s, process, {BATCH} to a batch, against os.write", 0.1, 0.2, "higher", "x"),
    Claim(f"frames/s, machine, {BATCH} to a batch, against os.write", 0.1, 0.2, "higher", "x"),
    Claim(
        "frames/s, strict, one to a batch, against os.write and fdatasync", 0.7, 0.9, "higher", "x"
    ),
    Claim("reading a frame", 5.0, 2.0, "lower", "us"),
)


def measure(effort: Effort) -> list[Measurement]:
    """Ours and the plain write in turn; the sync and the reader alone."""
    frames, synced = effort.of(40_000, 10_000), effort.of(300, 60)
    rounds = effort.of(12, 4)
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as name:
        folder = Path(name)
        where = "in memory" if is_volatile(folder) else "on a disk"
        rows: list[Measurement] = []
        for claim, level, batch, sync, number in (
            (CLAIMS[0], Durability.PROCESS, 1, False, frames),
            (CLAIMS[1], Durability.PROCESS, BATCH, False, frames),
            (CLAIMS[2], Durability.MACHINE, BATCH, False, frames),
            (CLAIMS[3], Durability.STRICT, 1, True, synced),
        ):
            pairs = alternate(
                partial(plain, folder, batch, number, sync),
                partial(journal, folder, level, batch, number),
                rounds,
            )
            rows.append(claim.against_floor(pairs, f"thousand frames/s, {where}", 1e-3))
        rows[3] = rows[3].beside(sync_in_words(folder, synced))
        reading = spread([read_us(folder, frames) for _ in range(rounds)])
        rows.append(CLAIMS[4].measured(reading, f"{BODY_BYTES} bytes each, out of memory"))
    return rows


@contextmanager
def own(folder: Path) -> Iterator[Path]:
    """A fresh folder, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)


def plain(folder: Path, batch: int, frames: int, sync: bool) -> float:
    """Frames a second that `os.write` takes, as many bytes to a call."""
    data = os.urandom(batch * (FRAME_BYTES + BODY_BYTES))
    with own(folder) as inner:
        descriptor = os.open(inner / "file", os.O_WRONLY | os.O_CREAT)
        began = time.perf_counter()
        for _ in range(frames // batch):
            os.write(descriptor, data)
            if sync:
                os.fdatasync(descriptor)
        seconds = time.perf_counter() - began
        os.close(descriptor)
    return frames / seconds


def journal(folder: Path, level: Durability, batch: int, frames: int) -> float:
    """Frames a second that a journal takes; opening and closing it does not count."""
    entries = [(1, os.urandom(BODY_BYTES)) for _ in range(batch)]
    with own(folder) as inner:
        ours = DurableJournal(open_folder(inner).writer, level)
        began = time.perf_counter()
        for _ in range(frames // batch):
            ours.append(entries)
        seconds = time.perf_counter() - began
        ours.close()
    return frames / seconds


def sync_in_words(folder: Path, times: int) -> str:
    """How long one sync takes, in words."""
    cost = sync_us(folder, times)
    quartiles = f"{amount(cost.low)} … {amount(cost.high)}"
    return f"one fdatasync takes {amount(cost.median)} us ({quartiles})"


def sync_us(folder: Path, times: int) -> Spread:
    """The time of one sync of as many bytes as a frame has."""
    found: list[float] = []
    with own(folder) as inner:
        descriptor = os.open(inner / "file", os.O_WRONLY | os.O_CREAT)
        for _ in range(times):
            os.write(descriptor, bytes(FRAME_BYTES + BODY_BYTES))
            began = time.perf_counter()
            os.fdatasync(descriptor)
            found.append(1e6 * (time.perf_counter() - began))
        os.close(descriptor)
    return spread(found)


def read_us(folder: Path, frames: int) -> float:
    """The time for each frame of a journal that the system has in memory."""
    with own(folder) as inner:
        writer = open_folder(inner).writer
        entries = [(1, os.urandom(BODY_BYTES)) for _ in range(BATCH)]
        for _ in range(frames // BATCH):
            writer.append(entries)
        writer.close()
        began = time.perf_counter()
        found = sum(1 for _ in JournalReader(Folder(inner)).frames())
        seconds = time.perf_counter() - began
    if found != frames:
        raise RuntimeError(f"{found} of {frames} frames were read")
    return 1e6 * seconds / found
