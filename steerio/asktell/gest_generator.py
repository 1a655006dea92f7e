"""A generator of the ``gest-api`` standard as the optimizer of a campaign.

The standard has ``suggest``, ``ingest`` and ``finalize``, and knows values alone: it has no word
for a failure, a cancellation or an intermediate value. So only trials that succeeded are ingested,
and others if the user says as which values.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

from steerio.asktell.optimizer import Optimizer
from steerio.asktell.trials import EndedTrial, Suggestion, Trial, no_number
from steerio.campaign.gathering import whole
from steerio.errors import UsageError

log = logging.getLogger("steerio.asktell")

ID = "_id"
"""The key of a point's identifier, of generators that have ``returns_id``."""


class GestGenerator(Optimizer):
    """Asks a generator for points, and has it ingest their values (``pip install gest-api``).

    A trial's arguments are the variables and constants of its point. Its value is a dict of
    objectives, constraints and observables by name, or a number, if there is one objective alone.

    Args:
        generator: the generator, of libEnsemble, Xopt or another library of the standard.
        suggest: how many points to ask it for at a time; ``None``: as many as it likes. They are
            submitted as there is room.
        in_batches: for generators that cannot suggest again before all that they have suggested was
            ingested: they are asked only then, and ingest a batch as a whole.
        failed: what to ingest of a trial that did not succeed, by name, such as a penalty; ``None``
            of it: nothing. By default nothing is.

    Raises:
        UsageError: that is no generator, or no such number.
    """

    def __init__(
        self,
        generator: Any,
        *,
        suggest: int | None = 1,
        in_batches: bool = False,
        failed: Callable[[EndedTrial], dict[str, Any] | None] | None = None,
    ) -> None:
        if not all(callable(getattr(generator, n, None)) for n in ("suggest", "ingest")):
            raise UsageError(
                f"GestGenerator takes a generator with suggest() and ingest(), not {generator!r}"
            )
        self.generator = generator
        self._suggest = None if suggest is None else whole("suggest", suggest)
        self._failed, self._in_batches = failed, in_batches
        self._batch: set[int] = set()
        """Trials of the batch that are running,"""
        self._held: list[dict[str, Any]] = []
        """and the values of the others in it."""
        vocs = getattr(generator, "vocs", None)
        self._inputs = {*getattr(vocs, "variables", ()), *getattr(vocs, "constants", ())}
        """The names of a point's variables and constants; a generator may give it others, too."""
        self._ready: deque[dict[str, Any]] = deque()
        self._ids: dict[int, Any] = {}
        """The identifiers of points that this generator has suggested, by our numbers."""
        self._before: Counter[Hashable] = Counter()
        """Points of earlier incarnations, which this generator may suggest once more."""

    def __repr__(self) -> str:
        return f"<GestGenerator of {type(self.generator).__name__}>"

    def ask(self, number: int) -> Suggestion | None:
        """Return the next point that is not one of an earlier incarnation, suggested once more."""
        while True:
            if not self._ready and not self._batch:
                self._ready.extend(self.generator.suggest(self._suggest) or ())
            if not self._ready:
                return None
            point = dict(self._ready.popleft())
            identifier = point.pop(ID, None)
            wanted = self._inputs or point
            args = {name: value for name, value in point.items() if name in wanted}
            if self._in_batches or not self._was_before(args):
                break
        if self._in_batches:
            self._batch.add(number)
        if identifier is not None:
            self._ids[number] = identifier
        return Suggestion(args, {name: value for name, value in point.items() if name not in args})

    def tell(self, ended: EndedTrial) -> None:
        """Have the generator ingest a trial, if it has values."""
        identifier = self._ids.pop(ended.number, None)
        point = self._point(ended)
        if point is not None and identifier is not None:
            point |= {ID: identifier, **(ended.note or {})}
        if point is not None:
            self._held.append(point)
        self._batch.discard(ended.number)
        if not self._batch and not (self._in_batches and self._ready):
            self._ingest()

    def begin(self, run: str, ended: Sequence[EndedTrial]) -> Sequence[EndedTrial]:
        """Have the generator ingest all that is known, as points that are not its own."""
        self._before.update(_key(each.args) for each in ended)
        points = [point for each in ended if (point := self._point(each)) is not None]
        if points:
            self.generator.ingest(points)
        return ()

    def reopen(self, trial: Trial) -> Any:
        """Take in that a trial runs again; this generator has not suggested it."""
        self._ids.pop(trial.number, None)
        self._before[_key(trial.args)] += 1
        return trial.note

    def close(self) -> None:
        """Have the generator finalized."""
        self._ingest()
        finalize = getattr(self.generator, "finalize", None)
        if callable(finalize):
            finalize()

    def _was_before(self, args: Mapping[str, Any]) -> bool:
        """Tell whether a point is one of an earlier incarnation; each is only once.

        A generator with a seed of its own is made anew with that, and draws its first points again.
        One that waits for its whole batch has to be told each of them, so it is not asked this.
        """
        key = _key(args)
        if not self._before[key]:
            return False
        self._before[key] -= 1
        return True

    def _ingest(self) -> None:
        held, self._held = self._held, []
        if held:
            self.generator.ingest(held)

    def _point(self, ended: EndedTrial) -> dict[str, Any] | None:
        """Return what to ingest of a trial; ``None``: nothing."""
        values: object = ended.value
        if not ended.succeeded:
            values = self._failed(ended) if self._failed is not None else None
            if values is None:
                return None
        named: dict[str, Any]
        if isinstance(values, Mapping):
            named = dict(cast("Mapping[str, Any]", values))
        else:
            named = {self._only_objective(ended): values}
        for name, value in named.items():
            if no_number(value):
                log.warning("trial %d is not ingested: %s is %r", ended.number, name, value)
                return None
        return {**ended.args, **named}

    def _only_objective(self, ended: EndedTrial) -> str:
        objectives = list(getattr(getattr(self.generator, "vocs", None), "objectives", ()))
        if len(objectives) != 1:
            raise UsageError(
                f"trial {ended.number} has the value {ended.value!r}: return a dict of values by "
                f"name, as the generator has {len(objectives) or 'no known'} objectives"
            )
        return str(objectives[0])


def _key(args: Mapping[str, Any]) -> Hashable:
    """Return a point as a key: equal points have equal ones."""
    items = tuple(sorted(args.items(), key=lambda item: item[0]))
    try:
        hash(items)
    except TypeError:  # a list or an array among them
        return repr(items)
    return items
