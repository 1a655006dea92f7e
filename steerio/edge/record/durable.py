"""A journal at one of three levels: it survives the processes, or the machine, soon or at once."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Sequence

from steerio.edge.record.writer import JournalWriter
from steerio.errors import SteerioError

SYNC_S = 0.05
"""How long appended frames wait to be synced, at the most, apart from the sync itself."""
SYNC_BYTES = 256_000
"""As soon as so many bytes wait, they are synced."""


class Durability(enum.Enum):
    """The promise of a journal for a frame, from the moment in which it was appended.

    ``PROCESS``: it survives the death of every process; the machine's if its segment is full.
    ``MACHINE``: it survives that of the machine once ``synced_to`` says so, a moment later.
    ``STRICT``: it survives that of the machine as soon as ``append`` returns.
    """

    PROCESS = "process"
    MACHINE = "machine"
    STRICT = "strict"


def _nothing(_: object) -> None:
    pass


class DurableJournal:
    """Appends at one of the levels; a thread syncs if the level is ``MACHINE``.

    Args:
        writer: of the journal; this closes it.
        level: the promise.
        on_synced: called with each new ``synced_to``, by the thread that synced.
        on_failure: called once if that thread cannot go on; `append` raises the same error.
    """

    def __init__(
        self,
        writer: JournalWriter,
        level: Durability = Durability.MACHINE,
        *,
        on_synced: Callable[[int], object] = _nothing,
        on_failure: Callable[[BaseException], object] = _nothing,
    ) -> None:
        self.level = level
        self.failed: BaseException | None = None
        """The error of the thread that syncs."""
        self._writer = writer
        self._on_synced, self._on_failure = on_synced, on_failure
        self._wake = threading.Condition()
        self._waiting_bytes = 0
        self._closing = False
        self._check_at = time.monotonic() + SYNC_S
        self._thread: threading.Thread | None = None
        if level is Durability.MACHINE:
            # a daemon: an interpreter that ends does not wait for a disk that hangs
            self._thread = threading.Thread(target=self._run, name="steerio-journal", daemon=True)
            self._thread.start()

    @property
    def written_to(self) -> int:
        """The last number that survives the death of every process."""
        return self._writer.written_to

    @property
    def synced_to(self) -> int:
        """The last number that survives the death of the machine."""
        return self._writer.synced_to

    @property
    def full(self) -> bool:
        """Whether the last batch did not fit."""
        return self._writer.full

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append a batch of kinds and bodies, and return its last number.

        Raises:
            JournalFull: nothing of it was appended: pause, and append the same later.
            JournalFailed, JournalFenced: the journal cannot go on.
        """
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        number = self._writer.append(entries)
        if self.level is Durability.STRICT:
            self._on_synced(self._writer.sync())
        elif self.level is Durability.MACHINE:
            self._note(self._writer.batch_bytes)
        elif time.monotonic() >= self._check_at:
            self._writer.check()
            self._check_at = time.monotonic() + SYNC_S
        return number

    def sync(self) -> int:
        """Wait until all that was appended is synced, and return its last number."""
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        number = self._writer.sync()
        self._on_synced(number)
        return number

    def close(self) -> None:
        """Sync everything, end the thread, and close the journal.

        Raises:
            JournalFailed, JournalFenced: it could not go on, now or before.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._writer.close()
        if isinstance(self.failed, SteerioError):
            raise self.failed

    def _note(self, nbytes: int) -> None:
        with self._wake:
            before = self._waiting_bytes
            self._waiting_bytes = after = before + nbytes
            if not before or before < SYNC_BYTES <= after:
                self._wake.notify()

    def _run(self) -> None:
        try:
            while self._wait():
                self._on_synced(self._writer.sync())
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who append must know
            self.failed = error
            self._on_failure(error)

    def _wait(self) -> bool:
        """Wait until something should be synced; ``False``: the journal is being closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting_bytes or self._closing)
            if self._waiting_bytes:
                self._wake.wait_for(
                    lambda: self._waiting_bytes >= SYNC_BYTES or self._closing, SYNC_S
                )
            self._waiting_bytes = 0
            return not self._closing
