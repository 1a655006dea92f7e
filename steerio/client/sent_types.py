"""The task types that a client has made known to its broker, by number.

A function with an import path stays known.  A function that is sent by value is a new type whenever
its code or a value in it changes, so only the last of those are kept, up to a number and a length.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from steerio.model import messages as ms
from steerio.model.tasks import TaskSpec

KEPT_TYPES = 1_000
"""Most functions by value that the broker, and each worker that ran them, are to remember."""
KEPT_BYTES = 16 * 2**20
"""Most bytes of these in all; a function that is longer by itself is kept until the next."""


class KnownTypes:
    """The numbers by which one client calls its task types.

    Args:
        send: sends a message to the broker.
    """

    def __init__(self, send: Callable[[ms.DefineTask | ms.ForgetTypes], None]) -> None:
        self._send = send
        self._by_path: dict[TaskSpec, int] = {}
        self._by_value: OrderedDict[TaskSpec, int] = OrderedDict()
        self._nbytes = 0
        self._count = 0
        self.last: tuple[TaskSpec | None, int] = (None, 0)
        """The type that was asked for last (it is not forgotten before the next), and its
        number."""

    def __repr__(self) -> str:
        shipped = f"{len(self._by_value)} by value of {self._nbytes} bytes"
        return f"<KnownTypes {len(self._by_path)} by path, {shipped}>"

    def number(self, spec: TaskSpec) -> int:
        """Return the number of a type, and tell it to the broker if it is new."""
        number = self._look_up(spec)
        self.last = spec, number
        return number

    def clear(self) -> None:
        """Take in that the broker knows none of them: each is told again when it is used."""
        self._by_path.clear()
        self._by_value.clear()
        self._nbytes = 0
        self.last = (None, 0)

    def _look_up(self, spec: TaskSpec) -> int:
        number = self._by_path.get(spec)
        if number is not None:
            return number
        number = self._by_value.get(spec)
        if number is not None:
            self._by_value.move_to_end(spec)
            return number
        self._count += 1
        self._send(ms.DefineTask(self._count, spec))
        if spec.code:
            self._by_value[spec] = self._count
            self._nbytes += len(spec.code)
            self._forget_some()
        else:
            self._by_path[spec] = self._count
        return self._count

    def _forget_some(self) -> None:
        left: list[int] = []
        kept = self._by_value
        while len(kept) > 1 and (len(kept) > KEPT_TYPES or self._nbytes > KEPT_BYTES):
            spec, number = kept.popitem(last=False)
            self._nbytes -= len(spec.code)
            left.append(number)
        if left:
            self._send(ms.ForgetTypes(left))
