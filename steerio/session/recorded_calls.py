"""The calls whose results are recorded: known by their digests, or to have these when they end."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from steerio.edge.encoding.digests import digest_call
from steerio.edge.record.atom_calls import SHOWN_BYTES, AtomCalls
from steerio.edge.record.entries import Call
from steerio.errors import EncodingError
from steerio.model.tasks import TaskSpec
from steerio.session.recording import RecordedTask
from steerio.session.replay import Replay
from steerio.session.task_type import TaskType

log = logging.getLogger("steerio.session")

MOST_TYPES = 1_000
"""Task types of which so much is kept that a call of atoms costs less."""


class RecordedCalls:
    """Gives each task its call, by which its result is recorded.

    Args:
        replay: the results that the journal had before.
    """

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._untold: set[str] = set()
        self.versions: dict[str, str] = {}
        """The versions of task types that were submitted, by their names."""
        self._atoms: dict[TaskType[..., Any], tuple[TaskSpec, AtomCalls | None]] = {}
        """The specs of task types that were submitted, and their calls of nothing but atoms."""
        self._last_atoms: tuple[object, object, AtomCalls | None] = None, None, None
        """The last of these, and their type."""

    def __repr__(self) -> str:
        return f"<RecordedCalls of {len(self.versions)} task types>"

    def know(
        self,
        task: RecordedTask,
        spec: TaskSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        body: bytes,
        *,
        of_atoms: bool,
    ) -> bool:
        """Take in a call; say whether its result is recorded, and was not given out again.

        Args:
            task: its handle.
            spec: of its type, as it is sent.
            args: its positional arguments.
            kwargs: those by keyword.
            body: all of them, packed.
            of_atoms: whether they are nothing but atoms by position.
        """
        kind = task.type
        if of_atoms and not self._replay.by_key:  # its digest need not be known yet
            last, of_last, calls = self._last_atoms
            is_last = kind is last and spec is of_last
            task.call = calls if is_last else self._calls_of(kind, spec)
            if task.call is not None:
                return False
        if kind.kind == "generator":
            return False
        try:
            code = b"" if kind.is_known_by_name else spec.code
            key = digest_call(kind.name, kind.version, code, args, kwargs)
        except EncodingError as error:
            if kind.name not in self._untold:
                self._untold.add(kind.name)
                log.warning("results of %s cannot be recorded: %s", kind.name, error)
            return False
        self.versions[kind.name] = kind.version
        shown = body if len(body) <= SHOWN_BYTES else b""
        task.call = Call(key, kind.name, shown, kind.memo, tags=task.tags)
        return self._replay.has(key)

    def _calls_of(self, kind: TaskType[..., Any], spec: TaskSpec) -> AtomCalls | None:
        """Return the calls of a type with nothing but atoms; ``None``: this one is not like them.

        So is the first with a spec, as a function that goes by value may have another each time.
        """
        known = self._atoms.get(kind)
        if known is None or known[0] is not spec:
            if len(self._atoms) >= MOST_TYPES:
                self._atoms.clear()
            self._atoms[kind] = spec, None
            return None
        if known[1] is None and not kind.memo and kind.kind != "generator":
            code = b"" if kind.is_known_by_name else spec.code
            with contextlib.suppress(EncodingError):
                self._atoms[kind] = known = spec, AtomCalls(kind.name, kind.version, code)
        self._last_atoms = kind, known[0], known[1]
        return known[1]


def call_of(task: RecordedTask) -> Call | None:
    """Return the call of a task, with its digest; ``None``: its result is not recorded."""
    call = task.call
    return call.call(task.given[0], task.tags) if isinstance(call, AtomCalls) else call
