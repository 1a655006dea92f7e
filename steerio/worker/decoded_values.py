"""Values that a worker has decoded from stored frames, kept for the tasks that get them next.

Theory. Mapping an object again costs nothing, but unpickling a model of a million entries takes as
long each time. So a worker keeps a value that took a while to decode, and gives it to the next task
as it is: tasks may not change values that they share. Arrays are read-only anyway; for other values
the worker trusts the task, unless the store is set to check.

A value stays for as long as the store keeps the frames that it was decoded from, which it drops
when the object is freed, and within a bound of its own. A value that is decoded at once is not
kept, so that small values remain each task's own.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from steerio.edge.encoding.values import ANY_VALUE

KEPT_FROM_S = 100e-6
"""Least time of this thread for decoding a value that is kept; quicker ones are decoded again."""
GROWTH = 8
"""The estimated size of unpickled objects, in lengths of their pickle."""
_PICKLE = b"\x80\x05"


class _Made:
    """A value, and the frames that it was decoded from."""

    __slots__ = ("digest", "nbytes", "source", "value")

    def __init__(
        self, value: Any, source: weakref.ref[memoryview], nbytes: int, digest: bytes
    ) -> None:
        self.value = value
        self.source = source
        self.nbytes = nbytes
        self.digest = digest


class DecodedValues:
    """The values that one worker keeps.

    Args:
        most_bytes: most bytes of all of them, by an estimate.
        checked: whether to check after each task that it has changed none.
    """

    def __init__(self, most_bytes: int, checked: bool) -> None:
        self._most_bytes = most_bytes
        self._checked = checked
        self._made: OrderedDict[int, _Made] = OrderedDict()
        self._used: dict[int, _Made] = {}
        self._nbytes = 0

    def __len__(self) -> int:
        return len(self._made)

    @property
    def nbytes(self) -> int:
        """The bytes of all of them, by an estimate."""
        return self._nbytes

    def value(self, frames: Sequence[memoryview], make: Callable[[], Any]) -> Any:
        """Return the value of frames, which ``make`` makes if it is not kept."""
        source = frames[0]
        key = id(source)
        made = self._made.get(key)
        if made is not None and made.source() is source:
            self._made.move_to_end(key)
            self._note(key, made)
            return made.value
        began = time.thread_time()
        value = make()
        if time.thread_time() - began >= KEPT_FROM_S:
            self._keep(key, source, value, _size_of(frames))
        return value

    def begin(self) -> None:
        """Begin a task; drop the values of the last one that were not checked."""
        for key in self._used:
            self._drop(key)
        self._used.clear()

    def check(self) -> None:
        """Check, if so set, that the task has left all shared values as they were.

        Raises:
            RuntimeError: it has changed a value, which is dropped.
        """
        used, self._used = self._used, {}
        changed = [key for key, made in used.items() if _digest_of(made.value) != made.digest]
        for key in changed:
            self._drop(key)
        if changed:
            kind = type(used[changed[0]].value).__qualname__
            raise RuntimeError(
                f"the task has changed a value ({kind}) that it was given by reference, and that "
                "other tasks of this worker are given, too: change a copy of it (copy.deepcopy)"
            )

    def clear(self) -> None:
        """Keep nothing."""
        self._made.clear()
        self._used.clear()
        self._nbytes = 0

    def _keep(self, key: int, source: memoryview, value: Any, nbytes: int) -> None:
        if nbytes > self._most_bytes:
            return
        self._drop(key)
        reference = weakref.ref(source, lambda _: self._drop(key))
        digest = _digest_of(value) if self._checked else b""
        made = self._made[key] = _Made(value, reference, nbytes, digest)
        self._nbytes += nbytes
        self._note(key, made)
        while self._nbytes > self._most_bytes:
            self._drop(next(iter(self._made)))

    def _note(self, key: int, made: _Made) -> None:
        if self._checked:
            self._used[key] = made

    def _drop(self, key: int) -> None:
        made = self._made.pop(key, None)
        if made is not None:
            self._nbytes -= made.nbytes


def _size_of(frames: Sequence[memoryview]) -> int:
    """Estimate the memory of a value: arrays are views, and pickled objects grow."""
    return sum(
        frame.nbytes * (GROWTH if at == 0 or bytes(frame[:2]) == _PICKLE else 1)
        for at, frame in enumerate(frames)
    )


def _digest_of(value: Any) -> bytes:
    """Return a digest of a value as it is now; ``b""`` if it cannot be pickled again."""
    try:
        body, frames = ANY_VALUE.pack(value)
    except Exception:  # noqa: BLE001 - pickling may raise anything
        return b""
    digest = blake2b(body)
    for frame in frames:
        digest.update(frame)
    return digest.digest()
