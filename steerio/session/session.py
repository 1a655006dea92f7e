"""Sessions, by which any asyncio program submits tasks and follows events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, SupportsFloat
from weakref import WeakSet

from steerio.client.client import Client
from steerio.edge.encoding.snapshots import Snapshots
from steerio.edge.wire.connection import Connection
from steerio.errors import UnknownPool, UsageError
from steerio.launch.engine_nodes import EngineNodes
from steerio.launch.needs import Needs
from steerio.launch.on_executor import OnExecutor, refuse_list
from steerio.model import events as ev
from steerio.model.bounds import named
from steerio.model.campaign_orders import CampaignView, Order, OrderAnswer
from steerio.model.objects import StoreSetting
from steerio.model.results import Result
from steerio.model.roles import NO_BUDGET, Budget, Role
from steerio.model.showing import short
from steerio.model.status import Status
from steerio.model.tasks import TaskOptions
from steerio.session.chains import chain_under_way
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.dependencies import handles_in, submit_after
from steerio.session.detached import KEY, EarlierTasks, forget
from steerio.session.done import Closed
from steerio.session.event_stream import EventStream, event_filter
from steerio.session.executor import SessionExecutor
from steerio.session.giving_orders import accepted, given_order, viewed
from steerio.session.items import Kept
from steerio.session.memo import EarlierRun, Memo
from steerio.session.nodes import Nodes
from steerio.session.notes import NOTE, NotedNumbers
from steerio.session.packed_call import PackedCall, packed_call, send_packed
from steerio.session.pools import Pools
from steerio.session.published import published
from steerio.session.reading_results import explain
from steerio.session.recalls import Recalls
from steerio.session.recording import Records
from steerio.session.selection import chosen_tasks, new_priorities, number_of, priority_of
from steerio.session.served_pool import Serving
from steerio.session.session_store import SessionStore
from steerio.session.submitting import Options, Submitter, checked_tasks
from steerio.session.tally import Tally
from steerio.session.task import Task
from steerio.session.task_checks import check_gang, make_options
from steerio.session.task_listener import TaskListener
from steerio.session.task_type import TaskType
from steerio.session.versions import Versions
from steerio.session.watching import TasksLook, Watch, Watches, session_picture

log = logging.getLogger("steerio.session")


class Session(Submitter):
    """A user's way to a broker.  Open one with `open_session` or `connect`."""

    def __init__(
        self, client: Client, run_dir: Path | None = None, store: SessionStore | None = None
    ) -> None:
        self.client = client
        self.store = store or SessionStore(client, StoreSetting(), None, "none was opened")
        """The store of large values."""
        self.pools = Pools(client)
        """The pools, by the broker's last word, and ways to move workers between them."""
        self.nodes = Nodes(client, self.pools, run_dir)
        """The nodes, and ways to drain them and to have more."""
        self.noted = NotedNumbers(client)
        """The notes of this session; `note` adds to them."""
        self.run_dir = run_dir
        self.engines = EngineNodes()
        """The nodes of engines by which it serves pools."""
        self.reached_by: Connection | None = None
        """The connection by which nodes find its broker, if they can."""
        self.random_seed = 0
        """The seed of the random numbers of the broker's workers and tasks."""
        self._listener: TaskListener | None = None
        self._recalls: Recalls | None = None
        self.recorder: Records | None = None
        """Has the results recorded, while a campaign that may be resumed runs here."""
        self.clock: Callable[[], float] = time.time
        self._streams: set[EventStream] = set()
        self._executors: WeakSet[SessionExecutor] = WeakSet()
        self.watches = Watches(client)
        self.tally = Tally()
        """How many of its tasks ended in which way, and the last that did not succeed."""
        self.snapshots = Snapshots()
        self.kept = Kept()
        self.detached = False
        """Whether its tasks go on when it ends."""
        self.earlier = EarlierTasks()
        """The tasks of the detached sessions of this name before."""
        client.on_lost(self._end_streams)

    def __repr__(self) -> str:
        return f"<Session of {self.client!r}>"

    def _repr_html_(self) -> str:
        return str(session_picture(self).page)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a session stays in its process: give tasks the values that they need, and submit "
            "tasks that follow from others here"
        )

    # -- submitting --------------------------------------------------------------------

    def options(
        self,
        *,
        priority: float | None = None,
        timeout_s: float | None = None,
        retries: Mapping[str, int] | None = None,
        cancel_grace_s: float | None = None,
        needs: Needs | None = None,
        gang: int | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Options:
        """Return a submitter whose tasks have these options; ``None``: as the task type says.

        Args:
            priority: higher goes first; equal priorities go in order of submission.
            timeout_s: longest run of one attempt, in seconds.
            retries: how often to try again, by kind of end, like ``{"failed": 2}``.
            cancel_grace_s: seconds between the cooperative request to stop, SIGTERM and SIGKILL.
            needs: the resources that a worker must have to run the task.
            gang: the number of workers that run the task together.
            tags: texts by name, kept with the result and in the record.
            key: the tag ``key``, by which a `detached` session finds the task again.

        Raises:
            UsageError: an option is wrong.
        """
        if key is not None:
            tags = {**(tags or {}), KEY: named(key, "the key of a task")}
        changes: dict[str, Any] = {
            "priority": priority,
            "timeout_s": timeout_s,
            "retries": retries,
            "cancel_grace_s": cancel_grace_s,
            "needs": needs,
            "gang": gang,
        }
        make_options(TaskOptions(), **changes)  # refuses wrong options now
        return Options(self.submit_with, changes, tags)

    def executor(
        self, pool: str | None = None, *, options: Options | None = None
    ) -> SessionExecutor:
        """Return an executor, as ``concurrent.futures`` has it, whose calls are tasks.

        For libraries that know no more than that protocol, and for other threads, which may not
        use the session itself. It ends with the session.

        Args:
            pool: the pool that runs its calls; by default the only one, or that of each task type,
                and ``default`` for functions that are none.
            options: options of its calls, as `options` returns them.

        Raises:
            UnknownPool: there is no such pool.
            UsageError: this is another thread than that of the session's loop.
        """
        if pool is not None:
            self.check_pool(named(pool, "the pool of an executor"))
        elif len(pools := self.client.closed_pools) == 1:
            (pool,) = pools
        given: object = options
        if given is not None and not (
            isinstance(given, Options)  # pyright: ignore[reportUnnecessaryIsInstance]
            and given.belong_to(self.submit_with)
        ):
            raise UsageError(
                "the options of an executor are those that options(...) of its own session "
                f"returns, not {given!r}"
            )
        made = SessionExecutor(self, pool, options or self.options())
        self._executors.add(made)
        return made

    def serve(self, pool: str, on: OnExecutor) -> Serving:
        """Have an executor of another program run tasks of a pool, for the length of a block.

        ``async with session.serve("dock", OnExecutor(executor, slots=8)):``. For pools of a session
        or campaign that has a broker of its own, ``workers=`` takes an `OnExecutor` as well.

        Args:
            pool: the pool.
            on: the executor, and how many calls it is given at a time.

        Raises:
            UnknownPool: there is no such pool.
            UsageError: ``on`` is no `OnExecutor`, this session may only look on, or the broker has
                a list of allowed functions.
        """
        if not isinstance(on, OnExecutor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                f"a pool is served by OnExecutor(executor, slots=...), not {short(on)}"
            )
        if self.reached_by is None or self.client.observes:
            raise UsageError("this session is not one that workers can join by")
        self.check_pool(named(pool, "the pool to serve"))
        refuse_list([pool], self.client.allow)
        return Serving(pool, on, self.reached_by, self.client.settings, self.engines)

    def _submit(self, kind: TaskType[..., Any], args: Any, kwargs: Any) -> Task[Any]:
        return self.submit_with(kind, args, kwargs, kind.options, None)

    def submit_with(
        self,
        kind: TaskType[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions,
        tags: dict[str, str] | None,
        packed: PackedCall | None = None,
    ) -> Task[Any]:
        """Queue a task with its options and tags; all ways to submit lead here.

        ``packed`` is its call, if that has been packed already.
        """
        under_way = chain_under_way.get()
        if under_way is not None:
            options = under_way.favoured(options)
        self.check_pool(kind.pool)
        if kind.kind == "generator":
            check_gang(options, kind.kind, kind.name)
            _check_detached(kind.name, detached=self.detached)
        if packed is None:
            try:
                packed = packed_call(self.store, self.snapshots, kind, args, kwargs)
            except Exception:
                handles = list(handles_in((args, kwargs)))  # handles cannot be packed
                if not handles:
                    raise
                return submit_after(self, handles, kind, args, kwargs, options, tags)
        spec, body, frames, inputs, stored, given, of_atoms = packed
        cause = current_agent.get()
        because = results_behind.get()
        task: Task[Any] = Task(self, kind, *given, tags, cause, because, self.clock(), options)
        recorder = self.recorder
        if recorder is not None and recorder.knows(
            task, spec, args, kwargs, body, of_atoms=of_atoms
        ):
            task.id = self.client.reserve_later(task)
            recorder.give(task)
        elif kind.memo or stored:
            task.id = self.client.reserve_later(task)
            send = partial(send_packed, self, task, packed)
            if kind.memo:
                self.recalls.submit(task, spec, (args, kwargs), inputs, send)
            else:
                send()
        else:
            client = self.client
            task.id = number = client.reserve(task)
            client.submit(
                number, spec, body, frames, options, tags, cause, task.created, inputs, because
            )
        if self._listener is not None:
            self._listener.task_submitted(task)
        return task

    async def put(self, value: object) -> Any:
        """Put a value into the store once; return a `Reference` to give to any number of tasks.

        Their functions see the value itself; arrays in it as read-only views of the store's
        memory, which all workers of a node share.  Changing ``value`` afterwards changes nothing
        there. While this is awaited a value larger than a megabyte must not be changed: NumPy
        refuses to write into an array that is being put, other buffers do not notice. (To type
        checkers a reference may be anything, as it stands for the value among a task's arguments.)

        Raises:
            UsageError: this process has no store, or the value holds references itself.
            EncodingError: the value cannot be pickled.
            StoreFull: there is no room for it.
            BrokerLost: the broker has ended.
        """
        return await self.store.put(value)

    def versions(self, name: str) -> Versions:
        """Return the versions of a name, such as a model that is trained again and again.

        Raises:
            UsageError: the name is empty, too long or no text.
        """
        return Versions(self.store, name)

    def reprioritise(
        self, changes: Mapping[Any, float] | Callable[[Task[Any]], float | None]
    ) -> None:
        """Re-rank queued tasks, all at once; those that are running or ended are left alone.

        Args:
            changes: new priorities of tasks, by task or id; or a function that gives one for
                each task of this session that has not ended (``None``: as it is), say from its
                ``tags``.

        Raises:
            UsageError: a priority is no number, a key is no task of this session and no id, or
                the function is async; nothing is re-ranked.
        """
        self.client.reprioritise(new_priorities(self, changes))

    def cancel(
        self,
        tasks: Iterable[Task[Any] | int] | Callable[[Task[Any]], bool],
        reason: str = "cancelled by its session",
    ) -> None:
        """Ask for many tasks to be cancelled at once; their results tell whether they were.

        Args:
            tasks: tasks of this session, or ids of any; those that have ended are left alone.  Or
                a function that says of each task of this session that has not ended whether to
                cancel it, say by its ``tags``.
            reason: for their results.

        Raises:
            UsageError: one of them is neither a task of this session nor an id, or the function is
                async; none is cancelled.
        """
        chosen = chosen_tasks(self, tasks)
        numbers = [number_of(self, task) for task in chosen]
        for task in chosen:
            if isinstance(task, Task) and not task.done:
                task.awaited = True
        self.client.cancel(numbers, reason)

    def reassign(self, tasks: Iterable[Task[Any]], pool: str) -> None:
        """Have those of these tasks that are queued wait in another pool instead.

        Raises:
            UnknownPool: there is no such pool.
        """
        pool = named(pool, "the pool that tasks are to wait in")
        self.check_pool(pool)
        self.client.reassign([number_of(self, task) for task in tasks], pool)

    def forget(self, *tasks: Task[Any]) -> None:
        """Have the results of tasks of a detached session kept no longer.

        Raises:
            UsageError: one of them has not ended, or is no task of this session, or the session is
                not detached; none is forgotten.
            BrokerLost: the broker has ended.
        """
        if not self.detached:
            raise UsageError("only a detached session has results kept: connect(detach=True)")
        forget(self, tasks)

    @property
    def pending(self) -> list[Task[Any]]:
        """The tasks of this session that have not ended, in the order they were submitted."""
        return [sink for sink in self.client.sinks.values() if isinstance(sink, Task)]

    def ranked(self, task: Task[Any], priority: float) -> None:
        """Re-rank one task, on its handle's behalf.

        Raises:
            UsageError: the priority is no number.
        """
        self.client.reprioritise({task.id: priority_of(task.id, priority)})

    def check_pool(self, pool: str) -> None:
        """Refuse a pool that there is not.

        Raises:
            UnknownPool: there is no such pool.
        """
        known = self.client.closed_pools
        if known and pool not in known:
            raise UnknownPool(pool, list(known))

    # -- watching ----------------------------------------------------------------------

    def events(
        self,
        *types: type[ev.Event],
        task_type: Callable[..., Any] | str | None = None,
        pool: str | None = None,
        since: int | None = None,
    ) -> EventStream:
        """Return a stream of the broker's events, to be opened with ``async with``.

        Args:
            types: only these types of events; none given: all.
            task_type: only events of tasks of this type.
            pool: only events of this pool.
            since: begin after the event of this number, as far back as the broker keeps them (0:
                all it has); by default with the next event.

        Raises:
            UsageError: a filter is wrong.
        """
        wanted = event_filter(types, task_type, pool, since)
        return EventStream(self.client, self._streams, wanted)

    async def order(
        self,
        order: Order,
        *,
        reason: str = "",
        by: str = "",
        campaign: str = "",
        dry_run: bool = False,
        based_on: int | None = None,
        id: str = "",
        role: Role = "steer",
        budget: Budget = NO_BUDGET,
    ) -> OrderAnswer:
        """Give a campaign an order, and return its answer when it is carried out.

        With role ``propose`` it is put as a question instead, which the answer names.

        Args:
            order: such as ``SetParameter("rate", 0.2)``.
            reason: why, for the events and the audit.
            by: the person or program that gives it; by default this session's name.
            campaign: its name; by default the only one that takes orders at this broker.
            dry_run: whether to say only which effect it would have.
            based_on: the number of the last event that the giver knew: the order is refused if
                its parameter, question or agent has changed since.
            id: of the order: a repeated one has no effect, and the same answer; by default new.
            role: of the giver, for a face that lets in others than the user.
            budget: of the giver, for tasks that it submits.

        Raises:
            OrderRefused: it cannot be carried out; the reason says why.
            NotAllowed: this session may only look on.
            UsageError: an argument is wrong.
            BrokerLost: the broker has ended.
        """
        giver = by or self.client.name
        given = given_order(order, giver, reason, id, based_on, role, budget, dry_run=dry_run)
        return accepted(order, await self.client.requests.order(given, campaign))

    async def look(self, campaign: str = "") -> CampaignView:
        """Return the parameters, open questions and agents of a campaign, which takes orders here.

        Raises:
            OrderRefused: there is none, or several.
            BrokerLost: the broker has ended.
        """
        return viewed(await self.client.requests.look(campaign))

    async def status(self) -> Status:
        """Return the broker's status: pools, workers, nodes, clients, counts.

        Raises:
            BrokerLost: it ended or does not answer.
        """
        return await self.client.requests.status()

    def publish(self, event: object) -> None:
        """Publish a value of your own as a ``Published`` event.

        It travels as plain data: structs, dataclasses and dicts as dicts; values that MessagePack
        has no word for as their ``repr``, without addresses in memory, and sets in order, so that a
        run that is repeated records the same.  Values of more than 2 kB arrive as ``None``.

        Raises:
            UsageError: its class is called ``note``: that is the topic of notes.
        """
        topic = type(event).__name__
        if topic == NOTE:
            raise UsageError(
                f"'{NOTE}' is the topic of notes: call the class of {event!r} otherwise"
            )
        self.client.watch.publish(topic, published(event))

    def note(self, /, **numbers: SupportsFloat) -> None:
        """Note numbers of your own, by name: ``session.note(best=-3.2, regret=0.1)``.

        Each call is an event, `Published` with the topic ``note`` and the numbers by name. The
        latest of each name is in `notes`, and of a campaign in its progress and its
        ``summary.json``. It costs some microseconds: note after each result, if you like.

        Args:
            numbers: real numbers, of Python, NumPy or alike, by names that are identifiers.
                ``math.nan`` stands for one that is not known.

        Raises:
            UsageError: a number is none, or infinite; a name is no identifier; there are more than
                100 names. Nothing is noted then.
        """
        self.noted.add(numbers)

    @property
    def notes(self) -> Mapping[str, float]:
        """The latest number of each name that was noted here; none, when a campaign begins."""
        return self.noted.latest

    def watch(self, tasks: Iterable[Task[Any]] | None = None) -> Watch:
        """Return a live view of this session, or of some of its tasks.

        In a notebook, ``session.watch()`` as the last line of a cell shows it, live until the
        session is closed or all these tasks have ended. ``async with session.watch():`` shows it
        for as long, on a terminal as well.

        Args:
            tasks: the tasks to be watched; by default all, with the pools.

        Raises:
            UsageError: an entry is no task.
        """
        if tasks is None:
            return self.watches.of(lambda: session_picture(self))
        return self.watches.of(TasksLook(checked_tasks(list(tasks), "watch"), "Tasks"))

    # -- the listener to all tasks ------------------------------------------------------

    @property
    def listener(self) -> TaskListener | None:
        """The listener to all tasks of this session: a campaign, while one runs on it."""
        return self._listener

    def listen(self, listener: TaskListener) -> None:
        """Tell a listener of all tasks from now on, until `stop_listening`.

        Raises:
            UsageError: this session has another listener.
        """
        if self._listener is not None:
            raise UsageError(
                f"another campaign runs on {self!r}: open a session for each, or let one run "
                "after the other"
            )
        self._listener = listener

    def stop_listening(self, listener: TaskListener) -> None:
        """Stop telling a listener, if it is the present one."""
        if self._listener is listener:
            self._listener = None

    # -- recalling ----------------------------------------------------------------------

    @property
    def recalls(self) -> Recalls:
        """The recalls of its tasks whose types have a memo."""
        if self._recalls is None:
            self._recalls = Recalls(self, Memo())
        return self._recalls

    def recall_from(self, earlier: Iterable[EarlierRun]) -> None:
        """Recall results of earlier runs, too; call this before a task is submitted."""
        self._recalls = Recalls(self, Memo(earlier))
        self.store.digests = True  # so that calls with references can be told apart

    # -- from handles and client -------------------------------------------------------

    def task_submitted(self, task: Task[Any]) -> None:
        """Take in that a task was submitted in this session."""
        if self._listener is not None:
            self._listener.task_submitted(task)

    def task_ended(self, task: Task[Any], result: Result) -> None:
        """Take in, from its handle, that a task of this session has ended."""
        self.tally.count(result)
        recalls = self._recalls if task.type.memo else None
        if recalls is not None:
            recalls.leaves(task)
        if self._listener is not None:
            self._listener.task_ended(task, result)
        if recalls is not None:
            recalls.ended(task, result)

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Take in that a task of this session begins to wait for others, or waits no more."""
        if self._listener is not None:
            self._listener.task_waits(task, waits=waits)

    def never_awaited(self, result: Result) -> None:
        """Take in that a task did not succeed, and that its handle is gone without being read."""
        if self._listener is not None and self._listener.never_awaited(result):
            return
        if not self.client.lost:
            log.error("a task did not succeed, and no code awaited it: %s", explain(result))

    def close(self) -> Closed:
        """End all event streams and leave the broker; tasks that have not ended are cancelled.

        That is done at once. The returned object may be awaited, and need not be.
        """
        self.watches.close()
        self._end_streams("this session was closed")
        self.client.close()
        return Closed()

    def _end_streams(self, reason: str) -> None:
        for stream in list(self._streams):
            stream.end()
        for executor in self._executors:
            executor.break_off(reason)


def _check_detached(name: str, *, detached: bool) -> None:
    """Refuse a generator whose items could not be read.

    Raises:
        UsageError: it is one.
    """
    if detached:
        raise UsageError(
            f"{name} is a generator: while a detached session is away nothing takes its items, so "
            "it would wait for ever; have it return a list, or run it in a session that is not "
            "detached"
        )
