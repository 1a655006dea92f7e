"""Snapshots: copies of frames, for those that leave later than they were handed over.

A frame is the memory of the array that it was taken from. Until it is written to a socket or into a
store, any code that has that array may change it: the next line of a script, another agent, a
generator that yields one buffer again and again. So code that sends later copies first, unless the
frame is read-only for all.

Copying a megabyte takes some tens of microseconds, and spares finding out which other code may
write. Rejected: to forbid writing meanwhile (NumPy has a flag for it, but each view has its own,
and a ``bytearray`` has none), and to look afterwards whether it was changed.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

SHARED_BYTES = 4096
"""Shortest frame whose last copy is kept, for the next task that is given the same."""
MOST_SHARED = 16
"""Most copies that are kept for that."""
MOST_SHARED_BYTES = 16 * 2**20
"""Most bytes of these copies in all."""


def unchanging(frame: Any) -> bool:
    """Say whether no code can write into the memory of a frame.

    That is so for bytes, and for arrays that are read-only down to the one that has the memory: a
    user who has set ``array.flags.writeable = False`` there has said that it stays as it is. It is
    not so for arrays that are only held still while they are put (`hold_still`).
    """
    return type(frame) is bytes or _owner(frame)[1]


def snapshot(frames: Sequence[Any]) -> tuple[Any, ...]:
    """Return frames as they are now, copying those that may be changed."""
    return tuple(frame if unchanging(frame) else bytes(frame) for frame in frames)


class Snapshots:
    """Copies of frames; one that many tasks are given is kept once, while it is the same."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._nbytes = 0

    def take(self, frames: Sequence[Any]) -> tuple[Any, ...]:
        """Return frames as they are now; see `snapshot`."""
        return tuple([frame if type(frame) is bytes else self._copy(frame) for frame in frames])

    def _copy(self, frame: memoryview) -> Any:
        owner, fixed = _owner(frame)
        if fixed:
            return frame
        if not SHARED_BYTES <= frame.nbytes <= MOST_SHARED_BYTES:
            return bytes(frame)
        # by its number, which another may have had: only the content counts
        key = (id(owner), frame.nbytes)
        copy, last = bytes(frame), self._last.pop(key, None)
        if last is None:
            self._nbytes += frame.nbytes
        elif copy == last:
            copy = last
        self._last[key] = copy
        while self._nbytes > MOST_SHARED_BYTES or len(self._last) > MOST_SHARED:
            self._nbytes -= len(self._last.popitem(last=False)[1])
        return copy


class _Hold:
    """An array that is held still, and the number of its holders."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.count = 0


_held: dict[int, _Hold] = {}
"""The arrays that are held still, by identity: they are read-only for a while only."""


def hold_still(values: Sequence[Any]) -> Callable[[], None]:
    """Have NumPy refuse to write into these arrays and frames; return the function that ends it.

    Several callers may hold the same array: it can be written into again when all have let go. This
    is a help, no lock: other views of the same memory can still be written through.
    """
    numpy: Any = sys.modules.get("numpy")
    array: Any = () if numpy is None else numpy.ndarray
    holds: list[_Hold] = []
    for value in values:
        at: Any = value
        while type(at) is memoryview or issubclass(type(at), array):
            if type(at) is memoryview:
                at = at.obj
                continue
            if at.flags.writeable:
                at.flags.writeable = False
                _held[id(at)] = _Hold(at)
            if (hold := _held.get(id(at))) is not None:
                hold.count += 1
                holds.append(hold)
            at = at.base

    def release() -> None:
        for hold in holds:
            hold.count -= 1
        holds.clear()
        _let_go()

    return release


def _let_go() -> None:
    """Make arrays writable again that are not held, nor the arrays they are views of."""
    free = [hold.array for hold in _held.values() if not hold.count and not _base_held(hold.array)]
    while free:  # a view may become writable only after its base
        for each in free:
            del _held[id(each)]
            with contextlib.suppress(ValueError):
                each.flags.writeable = True
        free = [h.array for h in _held.values() if not h.count and not _base_held(h.array)]


def _base_held(array: Any) -> bool:
    """Say whether an array is a view of one that is held still."""
    base = array.base
    while base is not None:
        if id(base) in _held:
            return True
        base = base.obj if type(base) is memoryview else getattr(base, "base", None)
    return False


def _owner(frame: Any) -> tuple[Any, bool]:
    """Return the object with the memory of a frame, and whether it and all views are read-only."""
    numpy: Any = sys.modules.get("numpy")
    array: Any = () if numpy is None else numpy.ndarray
    fixed = True
    owner: Any = frame
    while True:
        if type(owner) is memoryview:
            owner = owner.obj
        elif issubclass(type(owner), array):
            own: Any = owner
            fixed = fixed and not own.flags.writeable and id(own) not in _held
            if own.base is None:
                return own, fixed and own.flags.owndata
            owner = own.base
        else:
            return owner, fixed and type(owner) is bytes
