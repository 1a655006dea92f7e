"""The seam between a campaign and an optimizer: ask, report, tell."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

from steerio.asktell.trials import EndedTrial, Suggestion, Trial, Trials
from steerio.errors import UsageError


class Optimizer:
    """An optimizer that asks and tells, as `drive` uses it: subclass it, with `ask` and `tell`.

    It is called by one piece of code at a time. Make it in a method of the campaign marked with
    ``@transient``: so it is made anew, and taught, when the campaign is resumed.
    """

    def ask(self, number: int) -> Suggestion | dict[str, Any] | None:
        """Return the arguments of the next trial, by name.

        Trials that were asked for and not told yet are running. ``None``: none before another is
        told; if none is running, there are no more.

        Args:
            number: the number that the trial will have.
        """
        raise NotImplementedError(f"{type(self).__name__} has no ask(self, number)")

    def tell(self, ended: EndedTrial) -> None:
        """Take in how a trial ended: ``ended.value`` if ``ended.succeeded``, and other ends too."""
        raise NotImplementedError(f"{type(self).__name__} has no tell(self, ended)")

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Take in an intermediate value of a running trial; return whether to prune it."""
        return False

    def begin(self, run: str, ended: Sequence[EndedTrial]) -> Sequence[EndedTrial]:
        """Be taught all that was told in earlier incarnations; by default each is told once more.

        Args:
            run: a name of these `Trials` in this run, which all its incarnations have in common.
            ended: the trials that have ended, in that order; at first there are none.

        Returns:
            Further trials of this run that have ended, which only the optimizer's storage knows.
        """
        for each in ended:
            self.tell(each)
        return ()

    def reopen(self, trial: Trial) -> Any:
        """Take in that a trial runs again which another incarnation has asked for; return its note.

        Also one that was never asked for here: its value is known from an earlier incarnation.
        """
        return trial.note

    def close(self) -> None:
        """Take in that no more is asked or told."""


_in_use: list[object] = []
"""The optimizers and trials of the calls of `drive` that are under way."""


@contextlib.contextmanager
def taken(thing: Optimizer | Trials) -> Generator[None, None, None]:
    """Keep an optimizer or its trials from a second `drive`, whose numbers would be the same."""
    if any(each is thing for each in _in_use):
        raise UsageError(f"another drive() is under way with {thing!r}: make one for each")
    _in_use.append(thing)
    try:
        yield
    finally:
        _in_use[:] = [each for each in _in_use if each is not thing]
