"""A journal of real processes on real file systems: killed, stopped, racing, and out of room."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from steerio.edge.record.disk import Folder, is_volatile
from steerio.edge.record.durable import Durability, DurableJournal
from steerio.edge.record.journal_segments import JournalReader
from steerio.edge.record.opening_journals import open_folder
from steerio.errors import JournalDamaged, JournalFull, UsageError
from tests.real.programs import PATH

pytestmark = pytest.mark.borders

BODIES = """
def body(number):
    return b"%d," % number * (number % 300)
"""
WRITER = (
    BODIES
    + """
import sys
from pathlib import Path
from steerio.edge.record.durable import Durability, DurableJournal
from steerio.edge.record.opening_journals import open_folder

opened = open_folder(Path(sys.argv[1]), segment_bytes=200_000)
journal = DurableJournal(opened.writer, Durability(sys.argv[2]))
number = opened.before
while True:
    numbers = range(number + 1, number + 2 + number % 7)
    number = journal.append([(1, body(number)) for number in numbers])
    print(number, journal.synced_to, flush=True)
"""
)
OPENER = """
import sys
from pathlib import Path
from steerio.edge.record.opening_journals import open_folder
from steerio.errors import JournalTaken, JournalFenced

print("ready", flush=True)
sys.stdin.readline()
try:
    journal = open_folder(Path(sys.argv[1]))
except JournalTaken as error:
    print("taken by", error.pid, flush=True)
    sys.exit()
print("won", flush=True)
sys.stdin.readline()
try:
    journal.writer.append([(1, b"late")])
    journal.writer.sync()
    print("synced", flush=True)
except JournalFenced as error:
    print("fenced:", error, flush=True)
"""


def body(number: int) -> bytes:
    return b"%d," % number * (number % 300)


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PATH},
    )


def line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()


def killed_at_random(folder: Path, level: str, random: Random) -> None:
    """Kill a writer after some of its words, and compare the journal with all of these."""
    process = start(WRITER, str(folder), level)
    with process:
        for _ in range(random.randint(1, 400)):
            assert line(process)
        process.kill()
        assert process.stdout is not None
        rest = process.stdout.read().decode().splitlines(keepends=True)
    whole = [words.split() for words in rest if words.endswith("\n")]
    said = max((int(words[0]) for words in whole), default=0)
    journal = open_folder(folder)
    assert journal.before >= said
    for frame in journal.read().frames():
        assert frame.body == body(frame.number)
    journal.writer.close()


@pytest.mark.parametrize("level", ["process", "machine", "strict"])
def test_a_writer_that_is_killed_again_and_again_loses_nothing_that_it_appended(
    tmp_path: Path, level: str
) -> None:
    random = Random(os.environ["STRESS_SEED"])
    for _ in range(4):
        killed_at_random(tmp_path, level, random)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_writer_that_is_killed_a_hundred_times_loses_nothing(tmp_path: Path) -> None:
    random = Random(os.environ["STRESS_SEED"])
    for _ in range(100):
        killed_at_random(tmp_path, "machine", random)


def test_of_processes_that_open_at_the_same_time_one_wins_and_the_others_name_it(
    tmp_path: Path,
) -> None:
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(start(OPENER, str(tmp_path))) for _ in range(5)]
        for process in processes:
            assert line(process) == "ready"
        for process in processes:
            go(process)
        said = {process.pid: line(process) for process in processes}
        (winner,) = (pid for pid, words in said.items() if words == "won")
        for pid, words in said.items():
            assert pid == winner or words == f"taken by {winner}"
        for process in processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def test_a_process_that_was_stopped_and_taken_over_from_ends_when_it_goes_on(
    tmp_path: Path,
) -> None:
    with start(OPENER, str(tmp_path)) as process:
        assert line(process) == "ready"
        go(process)
        assert line(process) == "won"
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(UsageError, match=f"process {process.pid}"):
            open_folder(tmp_path)
        journal = open_folder(tmp_path, take_over=True)
        os.kill(process.pid, signal.SIGCONT)
        go(process)
        words = line(process)
    assert words.startswith(f"fenced: process {os.getpid()} on ")
    journal.writer.append([(1, b"ours")])
    journal.writer.close()
    assert [frame.body for frame in JournalReader(Folder(tmp_path)).frames()] == [b"ours"]


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", *options, str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_journal_goes_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1M", "tmpfs") as folder:
        assert is_volatile(folder)
        writer = open_folder(folder, segment_bytes=300_000).writer
        other = folder / "other"
        other.write_bytes(bytes(800_000))
        number, refused = 0, 0
        with contextlib.closing(DurableJournal(writer, Durability.STRICT)) as journal:
            while number < 300:
                try:
                    batch = [(1, b"%d " % (number + 1) * 500), (2, bytes(1_000))]
                    number = journal.append(batch)
                except JournalFull:
                    assert journal.full
                    refused += 1
                    if refused == 3:
                        other.unlink()
        assert refused == 3
        frames = list(JournalReader(Folder(folder)).frames())
        assert [frame.number for frame in frames] == list(range(1, 301))
        assert all(frame.body.startswith(b"%d " % frame.number) for frame in frames[::2])


def test_a_folder_that_is_mounted_read_only_is_refused_and_can_be_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    journal = open_folder(source)
    journal.writer.append([(1, b"a")])
    journal.writer.close()
    with mounted(tmp_path / "view", "--bind", "-o", "ro", str(source)) as folder:
        with pytest.raises(UsageError, match="Read-only file system"):
            open_folder(folder)
        assert [frame.body for frame in JournalReader(Folder(folder)).frames()] == [b"a"]


def test_a_bit_that_flips_in_a_file_is_told_of(tmp_path: Path) -> None:
    journal = open_folder(tmp_path)
    journal.writer.append([(1, bytes(range(256)))] * 3)
    journal.writer.close()
    (file,) = tmp_path.glob("*.frames")
    data = bytearray(file.read_bytes())
    data[100] ^= 8
    file.write_bytes(data)
    with pytest.raises(JournalDamaged, match=f"{file}, byte 48"):
        open_folder(tmp_path)
