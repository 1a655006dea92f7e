"""Whether a task has ended: `Task.done`, which is read as an attribute or called as a method."""

from __future__ import annotations

from collections.abc import Generator


class Done(int):
    """Whether a task has ended: a truth value that may be called, as ``done()`` of futures is."""

    def __call__(self) -> bool:
        """Return the truth value, as the method of a future does."""
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))

    def __reduce__(self) -> tuple[type[bool], tuple[int]]:
        """Be pickled as a plain bool."""
        return bool, (int(self),)


DONE, NOT_DONE = Done(True), Done(False)


class Closed:
    """The value of closing a session, which may be awaited."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
