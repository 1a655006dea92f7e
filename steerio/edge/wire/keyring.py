"""The keys that open a broker's TCP address: those of the run, and those made for one holder each.

A file of the run directory, ``keys.json``, has the public halves of the latter, and all that were
revoked. The broker reads it whenever it has changed: for each connection that is made, and at each
beat. So a key can be made and revoked while the broker stands, by any process that can write there.
Keys live as long as their broker: another in its place has its own.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from steerio.edge.system.own_files import (
    from_json,
    open_lock,
    read_own,
    rewriting,
)
from steerio.edge.wire.keys import ROLES, ServerKeys
from steerio.errors import UsageError

KEYS_FILE = "keys.json"
KEYS_LOCK = "keys.lock"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MOST_KEYS = 1_000
"""Most keys of a broker, those that were revoked included."""
LOGGED = 10
"""How many refusals for one reason are logged; all are counted."""

log = logging.getLogger("steerio.edge")


class NamedKey(Struct, frozen=True):
    """A key of one holder, or one of the run's own that was revoked.

    Attributes:
        name: of the holder; of the run's own keys: their role.
        role: as which its holder joins.
        public: its public half, as text; empty for the run's own.
        made: when it was made, in Unix seconds.
        revoked: when it was revoked, in Unix seconds; ``None``: it is good.
    """

    name: str
    role: str
    public: str
    made: float
    revoked: float | None = None

    @property
    def label(self) -> str:
        """The label by which the broker knows connections of this key."""
        return self.role if self.name in ROLES else f"{self.role}:{self.name}"


class KeyList:
    """The file of a run directory with the keys of single holders, and the revoked ones."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KEYS_FILE
        self._lock = folder / KEYS_LOCK

    def __repr__(self) -> str:
        return f"<KeyList {self.path}>"

    def all(self) -> list[NamedKey]:
        """Return the keys, in the order in which they were made.

        Raises:
            UsageError: the file cannot be read, or others could have written it.
        """
        try:
            return from_json(read_own(self.path)[0], list[NamedKey])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from None

    def add(self, key: NamedKey) -> None:
        """Add a key.

        Raises:
            UsageError: its name is none or was used, there are too many, or the file cannot be read
                or written.
        """
        if not NAME.fullmatch(key.name) or key.name in ROLES:
            raise UsageError(
                f"{key.name[:80]!r} is no name of a key: take 1 to 64 letters, digits, _ and -, a "
                f"letter or digit first, and none of {', '.join(ROLES)}"
            )
        with self._changing() as keys:
            if any(each.name == key.name for each in keys):
                raise UsageError(
                    f"there is or was a key of the name {key.name} already: take another name, so "
                    "that the two can be told apart"
                )
            if len(keys) >= MOST_KEYS:
                raise UsageError(f"there are {MOST_KEYS} keys already: start the broker again")
            keys.append(key)

    def revoke(self, name: str) -> None:
        """Revoke a key, which the broker refuses from now on.

        Raises:
            UsageError: there is none of this name, it was revoked, or the file cannot be read or
                written.
        """
        now = time.time()
        with self._changing() as keys:
            for number, key in enumerate(keys):
                if key.name == name:
                    if key.revoked is not None:
                        raise UsageError(f"the key {name} was revoked already")
                    keys[number] = structs.replace(key, revoked=now)
                    return
            if name not in ROLES:
                there = ", ".join((*ROLES, *(each.name for each in keys)))
                raise UsageError(f"there is no key of the name {name!r} (there are: {there})")
            keys.append(NamedKey(name, name, "", now, now))

    def remove(self) -> None:
        """Remove the files, as the broker ends or another begins: the keys open nothing then."""
        with contextlib.suppress(UsageError):
            for key in self.all():
                self.file_of(key.name).unlink(missing_ok=True)
        for path in (self.path, self._lock):
            path.unlink(missing_ok=True)

    def file_of(self, name: str) -> Path:
        """Return the connection file of a holder in the run directory."""
        return self.path.with_name(f"{name}.key.json")

    @contextlib.contextmanager
    def _changing(self) -> Generator[list[NamedKey]]:
        """Give the keys to change, which are written if all goes well; one process at a time."""
        try:
            lock = open_lock(self._lock)
        except OSError as error:
            raise UsageError(f"{self._lock} cannot be written: {error.strerror}") from None
        with rewriting(self.path, lock, self.all) as keys:
            yield keys


class Keyring:
    """Tells of each key that is shown whether it opens, and counts those that do not.

    Any thread may call.

    Args:
        keys: of the run.
        listed: the keys of single holders; ``None``: there can be none.
    """

    def __init__(self, keys: ServerKeys, listed: KeyList | None = None) -> None:
        self._lock = threading.Lock()
        self._own = {its.public: role for role, its in keys.peers.items()}
        self._listed = listed
        self._seen: tuple[int, int, int] | None = None
        self._labels = dict(self._own)
        self._known: set[str] = set()
        """The labels of all keys that were ever good here."""
        self.revoked: frozenset[str] = frozenset()
        """The labels of those that are so no more."""
        self._refused: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._labels)} keys, {len(self.revoked)} revoked>"

    @property
    def refused(self) -> Counter[str]:
        """How many connections were refused by now, by reason."""
        with self._lock:
            return self._refused.copy()

    def look(self) -> frozenset[str]:
        """Read the file again if it has changed; return the labels of keys that were revoked.

        As long as it cannot be read, the last state of it counts.
        """
        with self._lock:
            return self._look()

    def label(self, public: str, where: str) -> str:
        """Return the label of a key that is shown; ``""``: it opens nothing, which is counted.

        Args:
            public: its public half, as text.
            where: the address of the peer that shows it, for the log.
        """
        with self._lock:
            self._look()
            label = self._labels.get(public, "")
            if label and label not in self.revoked:
                return label
        self.refuse("revoked key" if label else "unknown key", f"from {where} {label}".strip())
        return ""

    def refuse(self, why: str, what: str) -> None:
        """Count a refused connection, and tell of it."""
        with self._lock:
            self._refused[why] += 1
            count = self._refused[why]
        if count <= LOGGED:
            log.warning("a connection was refused (%s): %s", why, what)

    def _look(self) -> frozenset[str]:
        if self._listed is None:
            return self.revoked
        try:
            found = self._listed.path.stat()
            seen = found.st_ino, found.st_mtime_ns, found.st_size
            if seen == self._seen:
                return self.revoked
            keys = self._listed.all()
        except FileNotFoundError:
            seen, keys = None, []
        except (OSError, UsageError) as error:
            log.error("the list of keys cannot be read, and counts as it was: %s", error)
            return self.revoked
        self._seen = seen
        good = {key.label for key in keys if key.revoked is None}
        self._known |= good
        revoked = {key.label for key in keys if key.revoked is not None}
        # for good: a list that is gone, or another broker's by now, makes none good again
        self.revoked |= revoked | (self._known - good)
        self._labels = {**self._own, **{key.public: key.label for key in keys if key.public}}
        return self.revoked
