"""Whether a task has ended, as its handle says it: as an attribute, and called as a method."""

from __future__ import annotations


class Done(int):
    """Whether a task has ended: a truth value that may be called, as ``done()`` of futures is."""

    def __call__(self) -> bool:
        """Say it as futures do."""
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))

    def __reduce__(self) -> tuple[type[bool], tuple[int]]:
        """Arrive as a plain bool where it is sent."""
        return bool, (int(self),)


DONE, NOT_DONE = Done(True), Done(False)
