"""Replay: the results that a journal has are given to the calls that are submitted again.

Theory. A call is known by its task type, the version of that, and its arguments. Each recorded
result is given out once; of several for the same call the first goes first. Results end their tasks
in the order in which they ended the first time: the next one waits for a call that is not made yet,
as long as the agents still get on, which some turns of the loop show. So agents that decide by
nothing else decide the same again. If they do not, the results that no call has asked for are kept,
and are there as *recovered*.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from msgspec import Struct, structs

from steerio.edge.record.entries import Call, ResultEntry, decode_result, key_of
from steerio.edge.wire.endpoint import Frames
from steerio.errors import JournalDamaged
from steerio.model import messages as ms
from steerio.session.memo import THIS_RUN
from steerio.session.recording import RecordedTask

PATIENCE = 50
"""Turns of the loop in which agents get on by themselves, before an earlier call is given up."""


class RecordedResult(Struct, frozen=True, gc=False):
    """A result that the journal has.

    Attributes:
        number: of its frame.
        body: of its frame.
        frames: those of the value, if they are not in the body.
        by_key: whether ``body`` is only the digest of the call: the memo has its result.
        again: whether that was given to an equal call before.
    """

    number: int
    body: bytes
    frames: list[bytes] | None = None
    by_key: bool = False
    again: bool = False


Read = Callable[[RecordedResult], tuple[ResultEntry, Sequence[bytes]]]
"""Returns the entry of a recorded result, and the frames of its value."""


def read_here(result: RecordedResult) -> tuple[ResultEntry, Sequence[bytes]]:
    """Return the entry and the frames of a recorded result that has them itself.

    Raises:
        JournalDamaged: it cannot be read.
    """
    entry = decode_result(result.body)
    return entry, entry.frames if result.frames is None else result.frames


class Settles(Protocol):
    """A client, as seen by the replay of its results."""

    def settle_reserved(self, message: ms.TaskSettled, frames: Frames) -> bool:
        """End a task that was not sent to the broker; ``False``: it has ended."""
        ...


class Replay:
    """The recorded results of earlier incarnations of a campaign.

    Args:
        client: ends tasks.
        results: in the order in which they were recorded.
        read: reads them.
    """

    def __init__(
        self,
        client: Settles,
        results: Iterable[RecordedResult] = (),
        read: Read = read_here,
    ) -> None:
        self._client = client
        self._read = read
        self.by_key: defaultdict[bytes, deque[RecordedResult]] = defaultdict(deque)
        """The results that were not given out, by the digests of their calls."""
        self._numbers: deque[int] = deque()
        """All that were not given out yet, or of which no call is expected any more, in order."""
        self._due: list[tuple[int, RecordedTask, RecordedResult]] = []
        """Those whose call was made, as a heap."""
        self._turns = 0
        """Turns of the loop since a call was made, or a result given out."""
        self._turning = False
        self._later: deque[Callable[[], None]] = deque()
        """To be called once all recorded results were given out that are asked for."""
        self.given = 0
        """How many were given out."""
        self.recorded_ids: dict[int, int] = {}
        """The ids that their tasks had when they were recorded, by those of the tasks now."""
        for result in results:
            self.by_key[key_of(result.body)].append(result)
            self._numbers.append(result.number)
        self.total = len(self._numbers)

    def __repr__(self) -> str:
        return f"<Replay: {self.given} of {self.total} results given out>"

    def has(self, key: bytes) -> bool:
        """Say whether a result of this call is there that was not given out."""
        return key in self.by_key

    @property
    def left(self) -> list[RecordedResult]:
        """The results that no call has asked for, in order."""
        rest = [result for results in self.by_key.values() for result in results]
        return sorted(rest, key=lambda result: result.number)

    @property
    def recovered(self) -> list[RecordedResult]:
        """Those of the results that are left which are no repetitions of others."""
        return [result for result in self.left if not result.again]

    @property
    def under_way(self) -> bool:
        """Whether results are about to be given out."""
        return bool(self._due or self._later)

    @property
    def over(self) -> bool:
        """Whether all recorded results were given out that are expected to be asked for."""
        return not self._numbers

    def call_later(self, then: Callable[[], None]) -> None:
        """Call back once it is over, or the agents get on without its results."""
        self._later.append(then)
        self._go_on()

    def give(self, task: RecordedTask) -> None:
        """Give a task its recorded result, when it is its turn; `has` says that there is one."""
        assert isinstance(task.call, Call)
        results = self.by_key[task.call.key]
        result = results.popleft()
        if not results:
            del self.by_key[task.call.key]
        heappush(self._due, (result.number, task, result))
        self._turns = 0
        self._go_on()

    def _go_on(self) -> None:
        if not self._turning and (self._due or self._later):
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._turns += 1
        if not self._due:
            if self.over or self._turns > PATIENCE:
                self._turns = 0
                self._later.popleft()()
            self._go_on()
            return
        numbers, number = self._numbers, self._due[0][0]
        if not numbers or number <= numbers[0] or self._turns > PATIENCE:
            while numbers and numbers[0] <= number:
                numbers.popleft()
            self._end(*heappop(self._due)[1:])
        self._go_on()

    def _end(self, task: RecordedTask, result: RecordedResult) -> None:
        self._turns = 0
        try:
            entry, frames = self._read(result)
        except (JournalDamaged, KeyError, OSError) as error:
            why = f"its recorded result cannot be read: {error}"
            never = ms.TaskSettled.unknown(task.id, "lost", time.time(), why)
            self._client.settle_reserved(never, ())
            return
        message = structs.replace(entry.settled, task_id=task.id, stored=None)
        task.replayed = True
        self.recorded_ids[task.id] = entry.settled.task_id
        task.recalled = entry.recalled or (THIS_RUN if result.again else "")
        if self._client.settle_reserved(message, tuple(map(bytearray, frames))):
            self.given += 1
        else:  # it was cancelled: the result is there for another call
            task.replayed, task.recalled = False, ""
            self.by_key[key_of(result.body)].appendleft(result)
