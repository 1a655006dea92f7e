"""The functions that an engine calls, by their import path: so steerio must be importable there.

All else comes with a call: the task types, the attempts, the way to the store.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.headers import deal_frames, decode_from_broker
from steerio.model import messages as ms
from steerio.worker.engine_runs import EngineRuns, EngineSetup

Batch = list[bytes]
"""The header of some messages, and their frames, as one value of an engine's own encoding."""


def say_ready(setup: bytes, nonce: bytes) -> str:
    """Say why tasks cannot run here, or ``""`` (the nonce makes each question another one)."""
    del nonce
    its = msgspec.msgpack.decode(setup, type=EngineSetup)
    here = sys.version_info[:2]
    if its.protocol != ms.PROTOCOL:
        return (
            f"the steerio of the engine speaks protocol {ms.PROTOCOL}, and not {its.protocol}: "
            "install the same version on both sides"
        )
    if its.python != here:
        own, other = (".".join(map(str, version)) for version in (its.python, here))
        return (
            f"the engine runs Python {other} and the session Python {own}: code that travels is "
            "for one version, so use the same on both sides"
        )
    return ""


def run_call(setup: bytes, call: list[Batch]) -> list[Batch]:
    """Run the attempts of a call, one after the other, and return the words about them.

    Times in them are seconds before the end of the call.
    """
    place = _here(setup)
    told: list[ms.ToBroker] = []
    frames: list[Any] = []
    for message, its in place.run([each for batch in call for each in _opened(batch)]):
        told.append(message)
        frames += its
    now = time.monotonic()
    told = [_before(now, each) if isinstance(each, ms.Report) else each for each in told]
    return [[header, *map(bytes, its)] for header, *its in batches(told, frames)]


def _opened(batch: Batch) -> Sequence[tuple[Any, Frames]]:
    header, *frames = batch
    return deal_frames(decode_from_broker(header, "worker"), frames)


def _before(now: float, report: ms.Report) -> ms.Report:
    return structs.replace(report, started=report.started - now, ended=report.ended - now)


class _Place(threading.local):
    """The `EngineRuns` of each thread, and the setup for which it was made."""

    setup = b""
    runs: EngineRuns


_place = _Place()


def _here(setup: bytes) -> EngineRuns:
    """Return the state of this thread for the broker of a setup."""
    if _place.setup != setup:
        if _place.setup:
            _place.runs.close()
        _place.setup = b""
        _place.runs = EngineRuns(msgspec.msgpack.decode(setup, type=EngineSetup))
        _place.setup = setup
    return _place.runs
