"""A page of memory that a node, its zygote and its workers share.

Each worker has a slot of eight numbers: the run that it began last, the run that it ended last,
the run of which it has written the end last and the number of resources it has to release (it
writes, the others read, also after its death), the run that was asked to stop and the first and
last of those that it must not begin (the node writes, the worker reads), and whether it should
leave (the zygote writes). So a busy worker needs no thread to learn that it should stop, the slot
of a dead one still tells the run that it died in, and a signal that comes late, when the run it
was meant for has ended, is not sent to the next one. Aligned 8-byte stores are not torn on any
platform of ours. (Beside its slot a worker has room for a word on why it ends, if it knows.)

A run is recalled without a lock.  The worker says that it begins a run, and then looks
whether it is recalled; the node recalls it, and then, ``SEEN_S`` later, looks whether it
has begun.  So at least one of them sees the other, and no run is both begun here and given to
another worker; the wait covers the time in which other processors do not see a store yet. Runs
rise, so a range of them is enough: a run in between that was not meant is given back too, which
only costs the way.
"""

from __future__ import annotations

import mmap

SLOTS = 2048
"""Most workers that a node has at a time."""
WORD_BYTES = 4096
"""Most bytes of a worker's word on why it ends."""
SEEN_S = 0.002
"""Time in which all processors surely see a store."""
_BEGUN, _ENDED, _ASKED, _HOLDS, _LEAVES, _FIRST, _LAST, _REPORTED = range(8)
_NUMBERS = 8
"""Numbers of a slot: one cache line, so that workers do not write to each other's."""


class Slots:
    """All slots of a node; made before the processes that share it are forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _NUMBERS * 8)
        self._numbers = memoryview(self._memory).cast("Q")
        self._words = mmap.mmap(
            -1, SLOTS * WORD_BYTES
        )  # the system gives memory only to the used pages
        self._free = list(range(SLOTS - 1, -1, -1))

    def take(self) -> int:
        """Return a free slot, cleared.

        Raises:
            RuntimeError: there are ``SLOTS`` workers already.
        """
        if not self._free:
            raise RuntimeError(f"a node runs at most {SLOTS} workers at a time")
        index = self._free.pop()
        for number in range(_NUMBERS):
            self._numbers[_NUMBERS * index + number] = 0
        self.leave_word(index, "")
        return index

    def give_back(self, index: int) -> None:
        """Make a slot free again."""
        self._free.append(index)

    def leave_word(self, index: int, text: str) -> None:
        """In the worker of this slot, say why it ends; of a long text the end is kept."""
        word = text.encode("utf-8", "backslashreplace")[-(WORD_BYTES - 1) :] + b"\0"
        self._words[WORD_BYTES * index : WORD_BYTES * index + len(word)] = word

    def word(self, index: int) -> str:
        """Return the worker's word on why it ends, or ``""``."""
        word = self._words[WORD_BYTES * index : WORD_BYTES * (index + 1)]
        return word.partition(b"\0")[0].decode("utf-8", "ignore")

    def begun(self, index: int) -> int:
        """Return the run that the worker of this slot began last, or 0."""
        return self._numbers[_NUMBERS * index + _BEGUN]

    def reported(self, index: int) -> int:
        """Return the run of which the worker of this slot has written the end last, or 0."""
        return self._numbers[_NUMBERS * index + _REPORTED]

    def works_on(self, index: int, run: int) -> bool:
        """Say whether the worker of this slot has begun this run and not ended it."""
        at = _NUMBERS * index
        return self._numbers[at + _BEGUN] == run != self._numbers[at + _ENDED]

    def has_passed(self, index: int, run: int) -> bool:
        """Say whether the worker of this slot is done with this run, or with a later one."""
        at = _NUMBERS * index
        return self._numbers[at + _BEGUN] > run or self._numbers[at + _ENDED] >= run

    def ask_to_stop(self, index: int, run: int) -> None:
        """Ask the worker of this slot to stop this run."""
        self._numbers[_NUMBERS * index + _ASKED] = run

    def recall(self, index: int, run: int) -> None:
        """Have the worker of this slot not begin this run; whether it has shows ``SEEN_S`` later.

        Runs that were recalled before and not passed yet stay recalled.
        """
        at, numbers = _NUMBERS * index, self._numbers
        first = last = run
        if numbers[at + _LAST] > numbers[at + _BEGUN]:
            first, last = min(run, numbers[at + _FIRST]), max(run, numbers[at + _LAST])
        numbers[at + _FIRST] = first  # first, or others would be among them in between
        numbers[at + _LAST] = last

    def holds(self, index: int) -> int:
        """Return the number of resources that the worker of this slot has to release."""
        return self._numbers[_NUMBERS * index + _HOLDS]

    def ask_to_leave(self, index: int) -> None:
        """Ask the worker of this slot to end in order."""
        self._numbers[_NUMBERS * index + _LEAVES] = 1

    def view(self, index: int) -> Slot:
        """Return the worker's side of a slot."""
        return Slot(self._numbers, index)


class Slot:
    """The worker's side of its slot."""

    __slots__ = (
        "_asked",
        "_begun",
        "_ended",
        "_first",
        "_holds",
        "_last",
        "_leaves",
        "_numbers",
        "_reported",
    )

    def __init__(self, numbers: memoryview, index: int) -> None:
        self._numbers = numbers
        self._begun = _NUMBERS * index + _BEGUN
        self._ended = _NUMBERS * index + _ENDED
        self._asked = _NUMBERS * index + _ASKED
        self._holds = _NUMBERS * index + _HOLDS
        self._leaves = _NUMBERS * index + _LEAVES
        self._first = _NUMBERS * index + _FIRST
        self._last = _NUMBERS * index + _LAST
        self._reported = _NUMBERS * index + _REPORTED

    def begin(self, run: int) -> bool:
        """Say that this worker begins a run; ``False``: it must not, for the run is recalled."""
        numbers = self._numbers
        numbers[self._begun] = run
        if run > numbers[self._last] or run < numbers[self._first]:
            return True
        numbers[self._ended] = run
        return False

    def end(self, run: int) -> None:
        """Say that this worker has ended a run."""
        self._numbers[self._ended] = run

    def report(self, run: int) -> None:
        """Say that this worker has written the end of a run to its stream."""
        self._numbers[self._reported] = run

    def hold(self, number: int) -> None:
        """Say that this worker has so many resources to release."""
        self._numbers[self._holds] = number

    @property
    def asked_to_leave(self) -> bool:
        """Whether this worker should end in order."""
        return self._numbers[self._leaves] != 0

    @property
    def asked_to_stop(self) -> bool:
        """Whether the run that was begun last was asked to stop."""
        run = self._numbers[self._begun]
        return run != 0 and self._numbers[self._asked] == run
