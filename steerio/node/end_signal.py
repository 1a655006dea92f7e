"""The signal that ends a zygote: it raises, and is put off while the zygote forks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator


class EndZygote(BaseException):
    """SIGTERM came: this process ends at once, with all workers."""


_told_to_end = False
"""Set beside the exception, which may strike in code that swallows any."""


def told_to_end() -> bool:
    """Whether the signal has come."""
    return _told_to_end


@contextlib.contextmanager
def told_later() -> Generator[None, None, None]:
    """A context to fork in, as Python swallows exceptions in the hooks that run at a fork.

    The child unblocks the signal when it is ready.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        let_be_told()


def let_be_told() -> None:
    """Let the signal come, also one that was put off."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def end_by_signal(*_: object) -> None:
    """Handle the signal: raise, once.

    Raises:
        EndZygote: always.
    """
    global _told_to_end  # noqa: PLW0603 - of this process
    _told_to_end = True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise EndZygote
