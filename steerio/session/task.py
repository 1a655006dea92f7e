"""Handles of tasks, which users await, cancel and re-rank, and which the client gives news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any, Generic, Literal, NoReturn, Protocol, TypeVar

from steerio.client.client import Client
from steerio.edge.record.atom_calls import AtomCalls
from steerio.edge.record.entries import Call
from steerio.edge.wire.endpoint import Frames
from steerio.errors import TaskDidNotSucceed, UsageError
from steerio.model import results as rs
from steerio.model.cards import call_in_short, result_card, task_card
from steerio.model.messages import TaskItem, TaskSettled
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import TaskOptions, TaskState, ToldState
from steerio.session.arguments import Given
from steerio.session.chains import Types, chain_of_next, was_awaited
from steerio.session.done import DONE, NOT_DONE, Done
from steerio.session.items import Items, Kept, Reader
from steerio.session.reading_results import as_failed, make_result, value_of
from steerio.session.recording import Reading, Records
from steerio.session.session_store import SessionStore
from steerio.session.task_type import TaskType

R = TypeVar("R")

EndedCall = tuple[tuple[Any, ...], dict[str, Any], dict[str, str], Types]
"""The arguments, those by keyword, the tags and the chain of a task that has ended."""
NO_KWARGS: dict[str, Any] = {}
NO_TAGS: dict[str, str] = {}


class KeepsValues(Protocol):
    """The recalls of a session, as seen by the handles of tasks that are computed."""

    def keep(self, task: Any, message: TaskSettled, frames: Frames) -> None:
        """Keep the value of a task, which is about to be read, if it succeeded."""
        ...

    def keep_stored(
        self, task: Any, message: TaskSettled, read: Reading, then: Callable[[rs.Result], None]
    ) -> tuple[Reading, Callable[[rs.Result], None]]:
        """Have a value that is in the store kept between its reading and the task's end."""
        ...


class TaskHome(Protocol):
    """A session, as seen by the handles of its tasks."""

    client: Client
    store: SessionStore
    kept: Kept
    clock: Callable[[], float]

    @property
    def recorder(self) -> Records | None:
        """The recorder of its results, if they are recorded."""
        ...

    @property
    def recalls(self) -> KeepsValues:
        """The recalls of its tasks whose types have a memo."""
        ...

    def ranked(self, task: Task[Any], priority: float) -> None:
        """Give a queued task a new priority."""
        ...

    def task_ended(self, task: Task[Any], result: rs.Result) -> None:
        """Take in that a task has ended."""
        ...

    def never_awaited(self, result: rs.Result) -> None:
        """Take in that a task did not succeed, and that its handle is gone without being read."""
        ...


class Task(Generic[R]):
    """A handle of one submitted task.

    Await it for its value; ``await task.result()`` gives the `Result`
    instead and does not raise when the task did not succeed.  It can be given to
    ``asyncio.wait``, ``gather``, ``wait_for``, ``shield`` and ``as_completed``.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_reached",
        "_result",
        "_session",
        "_waiters",
        "awaited",
        "because",
        "call",
        "cause",
        "chain",
        "created",
        "found_again",
        "given",
        "id",
        "options",
        "recalled",
        "replayed",
        "tags",
        "type",
        "yielded",
    )

    def __init__(
        self,
        session: TaskHome,
        type_: TaskType[..., Any],
        args: tuple[Any, ...] | rs.LateArguments,
        kwargs: dict[str, Any] | rs.LateArguments,
        tags: dict[str, str] | None,
        cause: str,
        because: tuple[int, ...],
        created: float,
        options: TaskOptions,
    ) -> None:
        self._session = session
        self._reached: Literal["pending"] | ToldState = "pending"
        self._result: rs.Result | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self._callbacks: list[Callable[[Task[R]], None]] | None = None
        self.yielded: Items | None = None
        """The items that it has yielded; ``None`` until there is one, or a reader of them."""
        self.id = 0
        self.type = type_
        self.given: Given = (args, kwargs or NO_KWARGS)
        """Its arguments as they were submitted, perhaps to be unpacked when they are read."""
        self.tags = tags or NO_TAGS
        self.cause = cause
        self.because = because
        self.chain = chain_of_next(type_.name)
        """The types of the tasks that it follows; empty: it begins something new."""
        self.created = created
        self.options = options
        self.call: Call | AtomCalls | None = None
        """Its call, or those of its type, if its result is recorded."""
        self.replayed = False
        """Whether its result was recorded before, and no worker ran it now."""
        self.recalled = ""
        """The run that its result was recalled from; empty: it was computed for this call."""
        self.found_again = False
        """Whether the code that waits for it, or reads it, finds it again in a resumed campaign."""
        self.awaited = False
        """Whether code waits, or has asked, for its end."""

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.type.name}: {self._known}>"

    def _repr_html_(self) -> str:
        if self._result is not None:
            return str(result_card(self._result))
        call = call_in_short(self.type.name, self.args, self.kwargs)
        card = task_card(self.id, call, self._known, self.type.pool, self.tags, self.cause)
        return str(card)

    def __copy__(self) -> Task[R]:
        return self

    def __deepcopy__(self, memo: object) -> Task[R]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be sent or kept: give it as an argument of a task, also in lists, "
            "tuples and dicts, or await it and give its value"
        )

    @property
    def timeout_s(self) -> float:
        """The longest run of one attempt, in seconds; 0: it is not bounded."""
        return self.options.timeout_s or 0.0

    @property
    def needs(self) -> WorkerNeeds | None:
        """The least make of a worker that runs it."""
        return self.options.needs

    @property
    def gang(self) -> int:
        """The number of workers that run it together."""
        return self.options.gang

    @property
    def session(self) -> TaskHome:
        """The session that it was submitted to."""
        return self._session

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments as they were submitted; see `Result`."""
        return rs.args_of(self.given[0])

    @property
    def kwargs(self) -> dict[str, Any]:
        """Those by keyword."""
        return rs.kwargs_of(self.given[1])

    @property
    def state(self) -> TaskState:
        """The state of the task, by the broker's last word, or how it ended.

        ``waiting`` (for other tasks, or until its arguments are in the store), ``queued``,
        ``running``, or as `Result.ended_as` has it.  ``pending`` is not known yet: the broker tells
        states from the first time on that a session is asked, and the first come a moment later.
        """
        if self._result is None:
            self._session.client.watch.watch_tasks()
        return self._known

    @property
    def _known(self) -> TaskState:
        if self._result is not None:
            return self._result.ended_as
        return "waiting" if self._session.client.is_reserved(self.id) else self._reached

    @property
    def done(self) -> Done:
        """Whether the task has ended: true or false; called, ``task.done()``, a plain bool."""
        return NOT_DONE if self._result is None else DONE

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the task and return its value.

        Raises:
            TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: it did not succeed.
        """
        result = yield from self.result().__await__()
        value: R = value_of(result)
        return value

    async def result(self) -> rs.Result:
        """Wait for the task and return how it ended, as data."""
        self.awaited = True
        while self._result is None:
            await self.news()
        was_awaited(self)
        return self._result

    def result_nowait(self) -> rs.Result | None:
        """Return how the task ended, or ``None`` if it has not."""
        if self._result is not None:
            self.awaited = True
            was_awaited(self)
        return self._result

    def peek(self) -> rs.Result | None:
        """Return the task's result, if it has ended, without counting as a read of it.

        A failure that no code has read otherwise is still reported.
        """
        return self._result

    def cancel(self, reason: str = "cancelled by its handle") -> None:
        """Ask for the task to be cancelled; its result tells whether it was.

        Raises:
            UsageError: the reason is no text.
        """
        if self.yielded is not None:
            self.yielded.stopping = True
        if self._result is None:
            self.awaited = True
            self._session.client.cancel([self.id], reason)

    def reprioritise(self, priority: float) -> None:
        """Give the task a new priority, if it is still queued.

        Raises:
            UsageError: it is no number.
        """
        if self._result is None:
            self._session.ranked(self, priority)

    @property
    def has_callbacks(self) -> bool:
        """Whether code waits for it, or is to be called when it ends."""
        return bool(self._callbacks or self._waiters)

    def add_done_callback(self, callback: Callable[[Task[R]], None]) -> None:
        """Call back on the loop once the task has ended (at once if it has)."""
        if self._result is not None:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Task[R]], None]) -> int:
        """Call this back no more; return how many times it would have been called."""
        before = self._callbacks or []
        self._callbacks = [other for other in before if other != callback]
        return len(before) - len(self._callbacks)

    def cancelled(self) -> bool:
        """Say whether the task has ended by being cancelled."""
        return isinstance(self.result_nowait(), rs.Cancelled)

    def exception(self) -> BaseException | None:
        """Return the exception that awaiting the task would raise; ``None`` if it succeeded.

        Raises:
            asyncio.InvalidStateError: it has not ended.
        """
        result = self.result_nowait()
        if result is None:
            raise asyncio.InvalidStateError(f"{self!r} has not ended")
        try:
            value_of(result)
        except TaskDidNotSucceed as error:
            return error
        return None

    # -- generator tasks -----------------------------------------------------------------------

    def items(self) -> AsyncIterator[Any]:
        """Return an iterator over the items of a generator task, while it runs.

        From this call on, not only while it is iterated over, the task is held back when it is
        more than a few items, or some hundred megabytes, ahead (``Settings.items``,
        ``items_bytes``).  Without a reader it is not, and only its first items are kept.  Leaving
        the loop early does not cancel the task; ``session.stream`` does.

        Raises:
            UsageError: an ``@on_item`` has them.
            ItemsDropped: they were not read from the start.
            ItemsRestarted: another attempt yields them again, from the first.
            TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: after the items that came;
                ``TaskFailed`` also if an item cannot be read here.
        """
        self.awaited = True
        items = self._all_items()
        if items.followed:
            raise UsageError(
                f"the items of {self.type.name} go to an @on_item handler of the campaign, which "
                "would miss those that are read here: take all of them in one of the two places"
            )
        return Reader(self, items)

    def ignore_items(self) -> None:
        """Do without the items of a generator task, so that it need not send them.

        Those that an ``@on_item`` has are sent all the same.
        """
        items = self._all_items()
        if not items.followed:
            items.drop()

    def follow_items(self, came: Callable[[], None]) -> Items:
        """Return its items, for a trigger to read; ``came`` is called whenever there is one."""
        items = self._all_items()
        items.follow(came)
        return items

    def _all_items(self) -> Items:
        if self.yielded is None:
            session = self._session
            self.yielded = Items(session.client, session.store, session.kept, self.id)
        return self.yielded

    # -- from the client -----------------------------------------------------------------------

    def item(self, message: TaskItem, frames: Frames) -> None:
        """Take in an item that the task yielded."""
        self._all_items().add(message, frames)
        self._wake()

    def reached(self, state: ToldState) -> None:
        """Take in the state of the task."""
        self._reached = state

    def settled(self, message: TaskSettled, frames: Frames) -> None:
        """Take in how the task ended; a value in the store is fetched first."""
        session = self._session
        if message.stored is None:
            if self.type.memo:
                session.recalls.keep(self, message, frames)
            self._settle(make_result(self, message, lambda: frames))
        else:
            read: Reading = partial(make_result, self, message)
            then: Callable[[rs.Result], None] = self._settle
            if session.recorder is not None:
                read, then = session.recorder.record_stored(self, message, read, then)
            elif self.type.memo:
                read, then = session.recalls.keep_stored(self, message, read, then)
            session.store.fetch(message.stored, read, then)

    def fail_unsent(self, error: rs.TaskError) -> None:
        """Take in that the task was never sent, and why."""
        never = TaskSettled.unknown(self.id, "failed", self._session.clock(), "")
        self._settle(as_failed(make_result(self, never, tuple), error))

    def _settle(self, result: rs.Result) -> None:
        self._result = result
        if self._waiters is not None:
            self._wake()
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception as error:  # noqa: BLE001 - the others get their news
                context = {"message": f"a done-callback of {self!r} failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
        self._session.task_ended(self, result)

    async def news(self) -> None:
        """Wait for an item, or the end.  Each waiter has a future: no hop between them."""
        self._session.client.refuse_threads()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def __del__(self) -> None:
        if (items := getattr(self, "yielded", None)) is not None:
            items.let_go()
        result = getattr(self, "_result", None)
        if (
            result is not None
            and not self.awaited
            and not isinstance(result, (rs.Succeeded, rs.Cancelled))
        ):
            self._session.never_awaited(result)


def ended_task(
    session: TaskHome, kind: TaskType[..., Any], call: EndedCall, result: rs.Result
) -> Task[Any]:
    """Return the handle of a task that ended in an earlier incarnation of its campaign."""
    args, kwargs, tags, chain = call
    created = result.timings.created or 0.0
    task: Task[Any] = Task(
        session, kind, args, kwargs, tags, result.cause, (), created, kind.options
    )
    task.id, task.chain = result.task_id, chain
    task._result = result  # pyright: ignore[reportPrivateUsage]
    task.awaited = True
    return task
