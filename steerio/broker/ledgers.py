"""The ledgers of a broker's detached clients, by name: opened, written, and taken up again.

The next broker of a run directory takes up those of the one before: it submits their tasks again
that have not ended, as a client that is there would, for these are not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator

from steerio.broker.ledger import Ledger
from steerio.edge.record.ledger_files import EntryPlace, LedgerFile, LedgerFolder, quoted
from steerio.errors import JournalDamaged, UsageError

log = logging.getLogger("steerio.broker")


class FileInMemory:
    """The entries of a ledger, for a broker that no other follows."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, bytes]] = []

    where = "memory"

    def entries(self) -> Iterator[tuple[int, EntryPlace, bytes]]:
        """Yield all entries that were there when it was opened."""
        for at, (kind, body) in enumerate(list(self._entries)):
            yield kind, EntryPlace(at, len(body)), body

    def add(self, kind: int, body: bytes) -> EntryPlace:
        """Append an entry."""
        self._entries.append((kind, body))
        return EntryPlace(len(self._entries) - 1, len(body))

    def read(self, place: EntryPlace) -> bytes:
        """Return the body of an entry."""
        return self._entries[place.at][1]

    def flush(self) -> None:
        """Do nothing."""

    def close(self, *, remove: bool = False) -> None:
        """Forget all of it, if no entry is needed any more."""
        if remove:
            self._entries.clear()


class FolderInMemory:
    """Ledgers in memory."""

    def __init__(self) -> None:
        self._files: dict[str, FileInMemory] = {}

    def names(self) -> list[str]:
        """Return the names of the clients that have one."""
        return [name for name, file in self._files.items() if any(file.entries())]

    def open(self, name: str) -> FileInMemory:
        """Open or make the ledger of a client."""
        quoted(name)  # one that is too long is refused here, too
        return self._files.setdefault(name, FileInMemory())

    def replace(self, name: str, entries: Iterable[tuple[int, bytes]]) -> FileInMemory:
        """Put a file with only these entries in the place of a client's."""
        file = self._files[name] = FileInMemory()
        for entry in entries:
            file.add(*entry)
        return file


class Ledgers:
    """All ledgers of one broker.

    Args:
        folder: has their files; without one they are kept in memory.
        next_number: returns a number for a peer.
    """

    def __init__(self, folder: LedgerFolder | None, next_number: Callable[[], int]) -> None:
        self.by_peer: dict[int, Ledger] = {}
        self._by_name: dict[str, Ledger] = {}
        self._folder = folder or FolderInMemory()
        self._next_number = next_number
        self._told = False
        """Whether it was told that they cannot be written."""

    def __repr__(self) -> str:
        return f"<Ledgers of {', '.join(self._by_name) or 'no client'}>"

    def open(self, name: str, next_client: Callable[[], int]) -> Ledger:
        """Return the ledger of the detached clients of a name, made if there is none.

        Raises:
            UsageError: the name is too long for a file.
            JournalDamaged: the file cannot be read.
            OSError: the file cannot be opened.
        """
        ledger = self._by_name.get(name)
        if ledger is None:
            ledger = self._opened(self._folder.open(name), next_client)
            self._add(name, ledger)
        return ledger

    def _opened(self, file: LedgerFile, next_client: Callable[[], int]) -> Ledger:
        try:
            return Ledger(file, self._next_number(), next_client())
        except BaseException:
            file.close()
            raise

    def _add(self, name: str, ledger: Ledger) -> None:
        self._by_name[name] = self.by_peer[ledger.peer] = ledger

    def flush(self) -> None:
        """Hand all entries to the system; on a full disk they wait in memory for room."""
        failed: OSError | None = None
        for name, ledger in self._by_name.items():
            self._look_wasteful(name, ledger)
            try:
                ledger.flush()
            except OSError as error:
                failed = error
        if failed is not None and not self._told:
            log.warning("the tasks of detached clients cannot be written down: %s", failed)
        self._told = failed is not None

    def forget(self, name: str, ledger: Ledger, task_ids: list[int]) -> list[int]:
        """Forget the results of tasks; returns those that had ended, and are forgotten."""
        forgotten = ledger.forget(task_ids)
        self._look_wasteful(name, ledger)
        return forgotten

    def _look_wasteful(self, name: str, ledger: Ledger) -> None:
        if ledger.wasteful and ledger.short:
            self._shorten(name, ledger)
            if ledger.wasteful:  # by the last changes of tasks, which count as waste
                ledger.bear_waste()

    def _shorten(self, name: str, ledger: Ledger) -> None:
        try:
            ledger.go_on_in(self._folder.replace(name, ledger.needed()))
        except OSError as error:
            ledger.bear_waste()
            log.warning("the ledger of the detached client %r stays long: %s", name, error)

    def remove(self, name: str) -> None:
        """Remove a ledger that is empty, and whose client has left."""
        ledger = self._by_name.pop(name)
        del self.by_peer[ledger.peer]
        ledger.close()

    def close(self) -> None:
        """Close all files."""
        for ledger in self.by_peer.values():
            ledger.close()
        self.by_peer.clear()
        self._by_name.clear()

    # -- those of an earlier broker ----------------------------------------------------------------

    def take_up(self) -> dict[str, Ledger]:
        """Open the ledgers of the broker before, each without entries that are not needed.

        One that cannot be read stays as it is: `open` raises for it.
        """
        for name in self._folder.names():
            try:
                ledger = self._opened(self._folder.open(name), lambda: -1)
                if ledger.empty:
                    ledger.close()
                    continue
                if ledger.wasteful:
                    self._shorten(name, ledger)
            except (JournalDamaged, UsageError, OSError) as error:
                log.error("the ledger of the detached client %r cannot be read: %s", name, error)
                continue
            self._add(name, ledger)
        return dict(self._by_name)

    # -- those that are not needed -----------------------------------------------------------------

    def remove_empty(self, there: Container[int]) -> list[int]:
        """Remove the ledgers that are empty, of clients that are not there.

        Args:
            there: the numbers, as peers, of the clients that are.

        Returns those numbers of the others, whose ledgers are gone.
        """
        gone = [
            (name, ledger.peer)
            for name, ledger in self._by_name.items()
            if ledger.empty and ledger.peer not in there
        ]
        for name, _ in gone:
            self.remove(name)
        return [number for _, number in gone]
