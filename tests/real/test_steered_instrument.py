"""The example of a steered instrument in real processes, of which some are killed."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.real.programs import (
    REPOSITORY,
    Program,
    family,
    kill,
    lives,
    running,
    steerio_command,
    wait_for_end,
)

CONTROL = str(REPOSITORY / "examples" / "instrument" / "control.py")
QUICK = steerio_command("run", CONTROL, "--quick", "--run-dir", "run", "--progress", "off")
ENDS_S = 120.0
"""Longest that a run takes on a machine that is busy with other things."""


def stand_in(program: Program) -> int:
    """Return the process of the instrument, once it has started."""
    until = time.monotonic() + ENDS_S
    while time.monotonic() < until:
        for pid in family(program.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(command) > 1 and command[1].endswith(b"instrument/instrument.py"):
                return pid
        assert lives(program.pid), program
        time.sleep(0.05)
    raise AssertionError(f"no instrument was started by {program}")


def fired(program: Program, folder: Path) -> None:
    """Wait until the campaign has noted a shot."""
    until = time.monotonic() + ENDS_S
    while time.monotonic() < until:
        record = folder / "run" / "events.jsonl"
        if record.exists() and b'"share"' in record.read_bytes():
            return
        assert lives(program.pid), program
        time.sleep(0.05)
    raise AssertionError(f"no shot was fired in {program}")


@pytest.mark.timeout(2 * ENDS_S)
@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, "is gone after shot"), (signal.SIGSTOP, "hangs: it has")]
)
def test_an_instrument_that_is_killed_or_stopped_ends_the_run_with_an_error(
    tmp_path: Path, number: signal.Signals, words: str
) -> None:
    with running(*QUICK, cwd=tmp_path) as program:
        instrument = stand_in(program)
        fired(program, tmp_path)
        os.kill(instrument, number)
        assert program.status(ENDS_S) == 1, program
        assert words in program.output
        assert not lives(instrument)


@pytest.mark.timeout(2 * ENDS_S)
def test_an_instrument_ends_with_the_campaign_that_started_it_and_was_killed(
    tmp_path: Path,
) -> None:
    with running(*QUICK, cwd=tmp_path) as program:
        instrument = stand_in(program)
        fired(program, tmp_path)
        below = family(program.pid)[1:]
        kill(program.pid)
        wait_for_end([instrument, *below], ENDS_S)


@pytest.mark.example
@pytest.mark.timeout(3 * ENDS_S)
def test_workers_that_are_killed_every_two_seconds_hold_nothing_up(tmp_path: Path) -> None:
    with running(*QUICK, cwd=tmp_path) as program:
        instrument = stand_in(program)
        fired(program, tmp_path)
        kills = 0
        while lives(instrument):
            _, node, *below = [pid for pid in family(program.pid) if pid != instrument]
            if len(below) > 1:  # the zygote is first
                kill(below[1 + kills % (len(below) - 1)])
                kills += 1
            assert lives(node)
            time.sleep(2.0)  # waits for nothing: that is how often they are killed
        assert program.status(ENDS_S) == 0, program
    assert kills > 3
    assert re.search(r"\d+ shots, .* decisions late, ", program.output), program
