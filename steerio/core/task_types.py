"""The task types that the broker knows, until they can be forgotten.

A type is kept while a client knows it under some number, or a task of it has not ended.  Clients
forget types that they have not used for long, since a function that is shipped by value is another
type each time that its content changes; and all of theirs are forgotten when they leave. A type
that is not needed any more is forgotten here and by the workers that were sent it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from steerio.core.effects import Effect, UndefineTypes
from steerio.core.records import TypeRecord, WorkerRecord
from steerio.core.roster import Roster
from steerio.model.tasks import TaskSpec


class TaskTypes:
    """All task types; ``known`` are the numbers by which a client knows some of them.

    Invariant: for each type here ``clients`` counts the numbers by which clients know it and
    ``tasks`` its tasks that have not ended, and one of them is not 0.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._by_spec: dict[TaskSpec, TypeRecord] = {}
        self._newest: dict[tuple[str, str], TypeRecord] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._by_spec)

    def __iter__(self) -> Iterator[TypeRecord]:
        """Go through those that are there."""
        return iter(self._by_spec.values())

    def define(self, known: dict[int, TypeRecord], number: int, spec: TaskSpec) -> list[Effect]:
        """Note a client's number for a type; return the effects on the type that had it before.

        A function that was shipped anew is expected to take as long as it did before.
        """
        kind = self._by_spec.get(spec)
        if kind is None:
            self._count += 1
            kind = self._by_spec[spec] = TypeRecord(self._count, spec)
            name = (spec.name, spec.pool)
            if name in self._newest:
                kind.mean_s = self._newest[name].mean_s
            self._newest[name] = kind
        kind.clients += 1
        effects = self.forget(known, [number])
        known[number] = kind
        return effects

    def forget(self, known: dict[int, TypeRecord], numbers: Iterable[int]) -> list[Effect]:
        """Note that a client does not use these numbers any more; unknown ones are passed over."""
        left = [known.pop(number) for number in numbers if number in known]
        for kind in left:
            kind.clients -= 1
        # a client may have called one of them by several of these numbers
        return self.drop([k for k in dict.fromkeys(left) if not k.clients and not k.tasks])

    def drop(self, kinds: list[TypeRecord]) -> list[Effect]:
        """Forget types that no client knows and of which no task is left."""
        for kind in kinds:
            spec = kind.spec
            del self._by_spec[spec]
            if self._newest.get((spec.name, spec.pool)) is kind:
                del self._newest[spec.name, spec.pool]
            for pool in self._roster.pools.values() if self._roster.timed else ():
                pool.backlog.forget_type(kind)
        numbers: dict[WorkerRecord, list[int]] = {}
        for kind in kinds:
            for worker in kind.told:
                del worker.known_types[kind.type_id]
                numbers.setdefault(worker, []).append(kind.type_id)
        return [UndefineTypes(worker, sorted(known)) for worker, known in numbers.items()]
