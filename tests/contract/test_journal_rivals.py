"""Processes that take a journal over from each other lose no frame that was said to be synced."""

from __future__ import annotations

import contextlib
import os
from random import Random

import msgspec
import pytest

from steerio.edge.record.journal_segments import (
    find_segments,
    read_segment,
    telling_of_a_successor,
)
from steerio.edge.record.opening_journals import OpenJournal, compact, open_journal
from steerio.edge.record.owners import this_process
from steerio.errors import JournalFailed, JournalFenced, JournalTaken
from tests.contract.crashing_disk import CrashingDisk

PROCESSES = 3
NESTED = 2
"""How many processes may stand still, each in the middle of a step, while another takes one."""


class Rivals:
    """Processes that take a journal over from each other, and each stop at any change for others.

    A process that lost the journal takes it over again, as one that has just been started.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = CrashingDisk()
        self.disk.before = lambda number, call: self.interrupt()
        self.journals: list[OpenJournal | None] = [None] * PROCESSES
        self.busy: list[int] = []
        self.said: dict[int, bytes] = {}
        """All frames that were said to be synced."""
        self.made = 0
        self.takeovers = 0

    def interrupt(self) -> None:
        if len(self.busy) <= NESTED and self.random.random() < 0.08:
            self.step()

    def step(self) -> None:
        free = [number for number in range(PROCESSES) if number not in self.busy]
        if not free:
            return
        number = self.random.choice(free)
        self.busy.append(number)
        journal = self.journals[number]
        try:
            if journal is None:
                self.journals[number] = self.take_over(number)
            elif self.random.random() < 0.15:
                self.compact(journal)
            else:
                self.append(journal)
        except (JournalFenced, JournalTaken, JournalFailed):
            if journal is not None:
                with contextlib.suppress(JournalFenced, JournalFailed):
                    journal.writer.close()
            self.journals[number] = None
        finally:
            self.busy.remove(number)

    def take_over(self, number: int) -> OpenJournal:
        me = msgspec.structs.replace(this_process(), pid=10**7 + number, boot=f"host {number}")
        journal = open_journal(self.disk, me, take_over=True, segment_bytes=600)
        self.takeovers += 1
        return journal

    def append(self, journal: OpenJournal) -> None:
        first = journal.writer.written_to + 1
        bodies: list[bytes] = []
        for _ in range(self.random.randint(1, 3)):
            self.made += 1
            bodies.append(b"%d " % self.made * self.random.randint(1, 40))
        journal.writer.append([(1, body) for body in bodies])
        assert journal.writer.sync() == first + len(bodies) - 1
        for number, body in enumerate(bodies, first):
            assert number not in self.said, f"{number} was said to be synced by two"
            self.said[number] = body

    def compact(self, journal: OpenJournal) -> None:
        """Write a segment anew, with all its frames, so that each can still be looked for."""
        with telling_of_a_successor(journal.owner):
            segments, _ = find_segments(self.disk)
            if len(segments) > 2:
                segment = self.random.choice(segments[:-1])
                frames = list(read_segment(self.disk, segment, last=False).frames())
                compact(self.disk, segment, frames, journal.owner)


def fight(seed: int) -> int:
    rivals = Rivals(seed)
    for _ in range(25):
        rivals.step()
    rivals.disk.before = lambda number, call: None
    journal = rivals.take_over(0)
    found = {frame.number: frame.body for frame in journal.read().frames()}
    assert list(found) == list(range(1, journal.before + 1))
    assert {number: found.get(number) for number in rivals.said} == rivals.said
    return rivals.takeovers


def test_of_rivals_none_loses_a_frame_that_was_said_to_be_synced() -> None:
    assert sum(map(fight, range(30))) > 100


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_of_rivals_none_loses_a_frame_in_a_thousand_fights() -> None:
    seed = int(os.environ["STRESS_SEED"])
    for number in range(seed, seed + 1_000):
        try:
            fight(number)
        except BaseException as error:
            error.add_note(f"seed {number}")
            raise
