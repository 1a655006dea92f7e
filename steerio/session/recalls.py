"""The calls of task types with a memo: each is recalled, waits for an equal one, or is computed.

Theory. Of equal calls one is computed, the *first*; those that are made meanwhile wait for it, as
tasks wait for others. When it has succeeded they are given its value, as are later ones. If it ends
in another way the next of them is computed.

With a journal each recall is recorded, before its task ends: so a resumed campaign is given it
again in its place among the other results. For the same reason none is given out while results of
earlier incarnations still are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from msgspec import structs

from steerio.client.client import Client
from steerio.edge.encoding.digests import digest_call
from steerio.edge.record.entries import Call
from steerio.errors import EncodingError
from steerio.model import results as rs
from steerio.model.messages import TaskSettled
from steerio.model.objects import Inputs
from steerio.model.tasks import TaskSpec
from steerio.session.memo import MEMO_BYTES, THIS_RUN, Memo, Recalled
from steerio.session.recording import ReadFrames, Reading, Recall, Records
from steerio.session.session_store import SessionStore
from steerio.session.task import Task

log = logging.getLogger("steerio.session")

AT_ONCE = 100
"""Recalls in one turn of the loop."""


class RecallHome(Protocol):
    """A session, as seen by the recalls of its tasks."""

    client: Client
    store: SessionStore

    @property
    def recorder(self) -> Records | None:
        """The recorder of its results, if they are recorded."""
        ...

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Take in that a task begins to wait for others, or waits no more."""
        ...


class _Unsent(NamedTuple):
    """A call that is not sent yet: its task, its digest, and a function that sends it."""

    task: Task[Any]
    key: bytes
    send: Callable[[], None]


class Recalls:
    """The calls of one session's task types with a memo.

    Args:
        home: the session.
        memo: its known results.
    """

    def __init__(self, home: RecallHome, memo: Memo) -> None:
        self.memo = memo
        self._home = home
        self._keys: dict[int, bytes] = {}
        """The digests of calls that are computed, or copied from an earlier run, by task."""
        self._behind: dict[bytes, deque[_Unsent]] = {}
        """The equal calls that wait for each of these."""
        self._waiting: dict[int, bool] = {}
        """The tasks of those that wait, and of each whether the session was told."""
        self._known: deque[_Unsent] = deque()
        """Calls that are to be given known results."""
        self._turning = False
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"<Recalls: {len(self._keys)} computed, {len(self._waiting)} waiting>"

    # -- submitting ------------------------------------------------------------------------------

    def submit(
        self,
        task: Task[Any],
        spec: TaskSpec,
        given: tuple[tuple[Any, ...], Mapping[str, Any]],
        inputs: Inputs | None,
        send: Callable[[], None],
    ) -> None:
        """Take in a task, whose id is reserved.

        Args:
            task: the task.
            spec: of its type, as it is sent.
            given: its arguments.
            inputs: the stored values among them.
            send: sends it to the broker, to be computed.
        """
        self._home.store.digests = True  # of the values that are put from now on
        key = self._key_of(task, spec, given, inputs)
        if key:
            self._find_way(_Unsent(task, key, send))
        else:
            send()

    def _key_of(
        self,
        task: Task[Any],
        spec: TaskSpec,
        given: tuple[tuple[Any, ...], Mapping[str, Any]],
        inputs: Inputs | None,
    ) -> bytes:
        """Return the digest of a call; empty, with a warning for each type: it has none."""
        kind, why = task.type, "it takes the latest version of a value, which may change"
        if inputs is None or not inputs.latest:
            if isinstance(task.call, Call):
                return task.call.key
            try:
                code = b"" if kind.is_known_by_name else spec.code
                return digest_call(kind.name, kind.version, code, *given)
            except EncodingError as error:
                why = str(error)
        elif isinstance(task.call, Call):
            task.call = structs.replace(task.call, memo=False)
        if kind.name not in self._warned:
            self._warned.add(kind.name)
            log.warning("a call of %s, which has a memo, is computed each time: %s", kind.name, why)
        return b""

    def _find_way(self, call: _Unsent) -> None:
        if call.key in self._behind:
            self._behind[call.key].append(call)
            self._waiting[call.task.id] = False
            asyncio.get_running_loop().call_soon(self._waits, call.task)
        elif self.memo.has(call.key):
            self._known.append(call)
            self._go_on()
        else:
            self._compute(call, deque())

    def _compute(self, call: _Unsent, behind: deque[_Unsent]) -> None:
        self._is_first(call, behind)
        call.send()

    def _is_first(self, call: _Unsent, behind: deque[_Unsent]) -> None:
        self._keys[call.task.id] = call.key
        self._behind[call.key] = behind

    def _waits(self, task: Task[Any]) -> None:
        if task.id in self._waiting:
            self._waiting[task.id] = True
            self._home.task_waits(task, waits=True)

    # -- recalling -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._known and not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        recorder = self._home.recorder
        if recorder is not None and not recorder.replay.over:
            recorder.replay.call_later(self._give)
        else:
            self._give()

    def _give(self) -> None:
        self._turning = False
        recorder, recalls = self._home.recorder, list[Recall]()
        for _ in range(min(len(self._known), AT_ONCE)):
            unsent = self._known.popleft()
            found = self._found(unsent)
            if found is None:
                continue
            task, tell = unsent.task, partial(self._end, unsent.task, found)
            if recorder is None or not isinstance(task.call, Call):
                tell()
            else:
                if not found.is_own:  # it is copied first: equal calls wait for that
                    self._is_first(unsent, deque())
                recalls.append(Recall(task.call, found, tell))
        if recorder is not None and recalls:
            recorder.record_recalled(recalls)
        self._go_on()

    def _found(self, unsent: _Unsent) -> Recalled | None:
        """Return the result of a call; ``None``: it was cancelled, has to wait or be computed."""
        client, number = self._home.client, unsent.task.id
        if not client.is_reserved(number):
            return None
        if unsent.key in self._behind:
            self._find_way(unsent)
            return None
        found = self.memo.read(unsent.key)
        if found is None:
            self._find_way(unsent)
        else:
            client.withdraw(number)  # it has its result, and cannot be cancelled any more
        return found

    def _end(self, task: Task[Any], found: Recalled) -> None:
        if self._home.client.sinks.pop(task.id, None) is not None:
            task.replayed, task.recalled = True, found.origin
            message = structs.replace(found.settled, task_id=task.id, stored=None)
            task.settled(message, tuple(map(bytearray, found.frames)))

    # -- ends ------------------------------------------------------------------------------------

    def keep(self, task: Task[Any], message: TaskSettled, frames: Sequence[Any]) -> None:
        """Keep the value of a task, which is about to be read, if it succeeded."""
        key = self._keys.get(task.id)
        if key is not None and message.ended_as == "succeeded":
            self.memo.keep(key, message, frames, task.recalled or THIS_RUN)

    def keep_stored(
        self,
        task: Task[Any],
        message: TaskSettled,
        read: Reading,
        then: Callable[[rs.Result], None],
    ) -> tuple[Reading, Callable[[rs.Result], None]]:
        """Have a value that is in the store kept between its reading and the task's end."""
        if message.stored is None or message.stored.nbytes > MEMO_BYTES:
            return read, then
        kept: list[Any] = []

        def reading(frames: ReadFrames) -> rs.Result:
            def noted() -> Sequence[Any]:
                got = frames()
                kept.extend(map(bytes, got))
                return got

            return read(noted)

        def done(result: rs.Result) -> None:
            if isinstance(result, rs.Succeeded):
                self.keep(task, message, kept)
            then(result)

        return reading, done

    def leaves(self, task: Task[Any]) -> None:
        """Take in that a task waits no more: it ends now, or is computed."""
        if self._waiting.pop(task.id, False):
            self._home.task_waits(task, waits=False)

    def ended(self, task: Task[Any], result: rs.Result) -> None:
        """Take in that a task has ended.

        Those behind it are given its value; or the next of them is computed.
        """
        key = self._keys.pop(task.id, None)
        if key is None:
            return
        behind = self._behind.pop(key)
        if not isinstance(result, rs.Succeeded):
            self.memo.forget(key)
        if self.memo.has(key):
            self._known.extend(behind)
            self._go_on()
            return
        while behind:
            call = behind.popleft()
            if self._home.client.is_reserved(call.task.id):
                self.leaves(call.task)
                self._compute(call, behind)
                return
