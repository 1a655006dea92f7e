"""Campaigns: agents, their state, and their ways to act."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    ParamSpec,
    Protocol,
    SupportsFloat,
    SupportsIndex,
    TypeVar,
)

from msgspec import Struct

from steerio.campaign.advisor import Advisor
from steerio.campaign.attributes import attributes_of, replace_attributes
from steerio.campaign.campaign_card import campaign_picture
from steerio.campaign.declarations import (
    check_class,
    check_value,
    hook,
    reserved_names,
    say_taken,
)
from steerio.campaign.found_boards import HOLDERS
from steerio.campaign.many_chains import FailedChain, FinishedChain, ManyChains
from steerio.campaign.parameters import bound_arguments
from steerio.campaign.steered_values import check_parameters, parameters_of
from steerio.campaign.trigger_marks import is_async, is_generator
from steerio.errors import StateError, UsageError
from steerio.launch.needs import Needs
from steerio.launch.workers import AskedWorkers
from steerio.model.advice import Advice
from steerio.model.bounds import said
from steerio.model.campaign_orders import Plain
from steerio.model.events import Event
from steerio.model.objects import StoreSetting
from steerio.model.results import Result
from steerio.model.showing import short
from steerio.session.event_stream import EventStream
from steerio.session.nodes import Nodes
from steerio.session.pools import Pools
from steerio.session.session import Session
from steerio.session.submitting import Options, Submitter
from steerio.session.tally import Tally
from steerio.session.task import Task
from steerio.session.task_type import TaskType
from steerio.session.versions import Versions

C = TypeVar("C", bound=Struct)
T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class CampaignRun(Protocol):
    """One run of a campaign, as seen by the campaign itself."""

    session: Session
    stopping: str
    tally: Tally
    outstanding: dict[int, Task[Any]]
    run_name: str
    """A name that the incarnations of the run have in common, and no other run has."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or was left behind."""
        ...

    def stop(self, *, cancel: bool, reason: str, finish_chains: bool = False) -> None:
        """Begin to end."""
        ...

    async def offload(self, call: Callable[[], Any]) -> Any:
        """Call a function in a thread, and return its value."""
        ...

    def publish(self, event: object) -> None:
        """Give an event to the handlers that want it, and to all event streams."""
        ...

    @property
    def recovered(self) -> list[Result]:
        """The recorded results that no call has asked for since the campaign was resumed."""
        ...

    def reassigned(self, old: object, new: object) -> None:
        """Take in that an attribute has another value; there may be boards in the two values."""
        ...

    async def checkpoint(self, until: Callable[[], Any] | None) -> None:
        """Wait while a snapshot is taken, if one is due, and until a condition is true."""
        ...

    async def until(self, condition: Callable[[], Any], timeout_s: float | None) -> bool:
        """Wait until a condition is true."""
        ...

    def changed(self, name: str, old: Plain, new: Plain, by: str) -> None:
        """Take in that a parameter has another value."""
        ...

    async def ask(
        self, question: str, options: Sequence[str], timeout_s: float | None, default: str | None
    ) -> str:
        """Ask a question, and return its answer."""
        ...

    async def consult(self, advisor: Advisor, view: Struct, choices: type[C]) -> Advice[C]:
        """Ask an advisor, and return its answer, or the fallback's."""
        ...


class Campaign(Submitter):
    """The base of campaigns.  Subclass it, keep state in attributes, mark methods as agents.

    Set ``workers`` on the class for the default number of workers in each pool, and ``store`` for
    the place of large values. Override ``setup`` and ``finish`` for work before and after that of
    the agents.
    """

    state_version: ClassVar[int] = 0
    """The version of the attributes that are its state: change it with them."""
    workers: ClassVar[AskedWorkers] = {}
    store: ClassVar[StoreSetting | None] = None

    _conductor: CampaignRun | None = None
    _reserved: ClassVar[dict[str, str]] = {}
    """The names that campaigns keep for themselves, each with its purpose."""
    run_dir: Path | None = None
    """The run directory, while the campaign runs and after."""

    _made_with: dict[str, Any] | None = None
    """The values given to ``__init__``, by name, defaults included."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_class(cls, Campaign, Campaign._reserved)
        _check_store(cls.__qualname__, cls.store)
        check_parameters(cls)

    if not TYPE_CHECKING:  # else any name would be an attribute to type checkers

        def __new__(cls, *args, **kwargs):
            """Note the arguments of ``__init__``, for the record."""
            if cls.__init__ is object.__init__ and (args or kwargs):
                raise TypeError(f"{cls.__name__}() takes no arguments")
            made = super().__new__(cls)
            for name, each in parameters_of(cls).items():
                made.__dict__[name] = each.default  # part of its state, also if it never changes
            if cls.__init__ is not object.__init__:
                made.__dict__["_made_with"] = bound_arguments(cls, args, kwargs)
            return made

        def __setattr__(self, name, value):
            """Set an attribute; if the value is a board, the campaign feeds from it.

            Raises:
                UsageError: the name is a campaign's own.
            """
            if name in self._reserved:
                written = f"self.{name} of {type(self).__name__}"
                raise UsageError(say_taken(written, name, self._reserved[name]))
            if name == "store":
                _check_store(type(self).__name__, value)
            for base in type(self).__mro__:  # nearly no name is in one, and handlers set many
                if name in base.__dict__:
                    check_value(type(self), name, base.__dict__[name], value)
                    break
            conductor = self._conductor
            if conductor is None:
                super().__setattr__(name, value)
                return
            old = self.__dict__.get(name)
            super().__setattr__(name, value)
            if issubclass(type(value), HOLDERS) or issubclass(type(old), HOLDERS):
                conductor.reassigned(old, value)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Refuse to be pickled, alone or with a method, as long as the campaign runs.

        Raises:
            TypeError: the campaign runs.
        """
        if self._conductor is not None and not self._conductor.is_over:
            raise TypeError(
                "a campaign stays in its process: have a function or a staticmethod run as the "
                "task, and give it the values that it needs"
            )
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"<{campaign_picture(self, self._conductor, self.run_dir).line}>"

    def _repr_html_(self) -> str:
        return str(campaign_picture(self, self._conductor, self.run_dir).page)

    @hook
    async def setup(self) -> None:
        """Prepare the campaign, before the agents start; ``self.run`` works here."""

    @hook
    async def finish(self) -> None:
        """Conclude the campaign, after the agents ended well; ``self.run`` works here."""

    @hook
    async def resumed(self) -> None:
        """Prepare the campaign when a snapshot was restored; called in place of ``setup``."""

    @hook
    def save_state(self) -> Any:
        """Return the state of the campaign for a snapshot: by default a dict of its attributes.

        Override it, and `restore_state`, if attributes cannot be pickled, or are too large.
        """
        return attributes_of(self)

    @hook
    def restore_state(self, state: Any, version: int) -> None:
        """Take a state over that `save_state` returned in an earlier incarnation.

        Args:
            state: the state.
            version: ``state_version`` of the class that made it. Override this method, if the class
                has changed, to bring the state into its present form.

        Raises:
            StateError: the state is of another version.
        """
        if version != self.state_version:
            raise StateError(
                f"the snapshot has version {version} of the state, and {type(self).__name__} has "
                f"{self.state_version}: write restore_state(self, state, version), which brings "
                "the one into the form of the other"
            )
        replace_attributes(self, state)

    # -- actions of agents -----------------------------------------------------------------------

    def run_chains(
        self,
        items: Iterable[T] | AsyncIterable[T],
        chain: Callable[[T], Awaitable[R]],
        *,
        limit: int | str,
        pool_limits: Mapping[str, int] | None = None,
    ) -> AsyncGenerator[FinishedChain[T, R] | FailedChain[T], None]:
        """Run a chain of tasks for each item, ``limit`` at once at most; yield each outcome.

        A chain that raises is told as a `FailedChain`, and ends no other. Items are taken when
        their chains may begin. A task that goes on with a chain goes before those that begin one:
        its priority is higher by 1 for each task type whose results the chain has. No chain begins
        while ``limit`` outcomes wait to be taken, nor when the campaign stops. Leaving the loop
        early (``aclose``) cancels the chains that are under way.

        Args:
            items: the source of the items, also an asynchronous one.
            chain: an ``async def`` that is called with an item, and runs tasks for it.
            limit: the most chains that are under way; or the name of a pool, for as many as it
                has workers, and one if it has none.
            pool_limits: by pool: no chain begins while so many others have a task there.

        Raises:
            UsageError: an argument is wrong, or ``chain`` is no ``async def``.
            UnknownPool: there is no such pool as one of ``pool_limits``, or as ``limit``.
        """
        for pool in [*(pool_limits or ()), *([limit] if isinstance(limit, str) else ())]:
            self.session.check_pool(pool)
        news = self.session.client.watch
        return ManyChains(self._running, items, chain, limit, pool_limits, news).outcomes()

    async def offload(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a thread of this process, and return its value.

        Only this call waits: the loop goes on, and hands out work. The campaign does not end
        meanwhile by itself, nor by ``stop(finish_chains=True)``. The function should read its
        arguments, and change nothing that agents use. Cancelling the await does not stop it. Its
        value is not recorded: a resumed campaign calls it again. `run` calls one on a worker.

        Raises:
            UsageError: it is ``async``, a generator or no function.
            Exception: whatever it raised.
        """
        given: object = function
        if not callable(given) or is_async(given) or is_generator(given):
            raise UsageError(
                "offload takes a plain function that computes, and the arguments that it is called "
                f"with in a thread, not {short(function)}"
            )
        value: R = await self._running.offload(partial(function, *args, **kwargs))
        return value

    def _submit(self, kind: TaskType[..., Any], args: Any, kwargs: Any) -> Task[Any]:
        return self.session._submit(kind, args, kwargs)  # pyright: ignore[reportPrivateUsage]

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
    ) -> Options:
        """Return a submitter whose tasks have these options (see ``Session.options``)."""
        return self.session.options(
            priority=priority,
            timeout_s=timeout_s,
            retries=retries,
            cancel_grace_s=cancel_grace_s,
            needs=needs,
            gang=gang,
            tags=tags,
        )

    def events(
        self,
        *types: type[Event],
        task_type: Callable[..., Any] | str | None = None,
        pool: str | None = None,
        since: int | None = None,
    ) -> EventStream:
        """Return a stream of the broker's events (see ``Session.events``)."""
        return self.session.events(*types, task_type=task_type, pool=pool, since=since)

    async def put(self, value: object) -> Any:
        """Put a value into the store, to give it to tasks by reference (see ``Session.put``)."""
        return await self.session.put(value)

    def versions(self, name: str) -> Versions:
        """Return the versions of a name, such as a model (see ``Session.versions``)."""
        return self.session.versions(name)

    async def checkpoint(self, *, until: Callable[[], Any] | None = None) -> None:
        """Say that this ``@agent`` may go on from here, if the campaign is resumed.

        A snapshot of the campaign is taken here when one is due. From it the agent's method is
        called again, from its start, with all attributes as they are now. An agent that runs for
        long calls it between two steps; without it, a resume calls the agent from the beginning of
        the campaign, and its tasks get their recorded results.

        Args:
            until: a condition to wait for here, as `until` does; snapshots may be taken meanwhile.

        Raises:
            UsageError: another method calls it, or another task that the agent has started; or that
                is no condition.
        """
        await self._running.checkpoint(until)

    async def approve(
        self,
        question: str,
        options: Sequence[str] = ("yes", "no"),
        *,
        timeout_s: float | None = None,
        default: str | None = None,
    ) -> str:
        """Ask a person, or a program that steers the campaign, and return the chosen option.

        The question is announced by an event (``Asked``), and answered once, by ``steerio steer``
        or ``Session.order``. Without ``timeout_s`` it waits as long as the campaign lasts.

        Args:
            question: the question.
            options: the answers that it may have.
            timeout_s: seconds after which ``default`` is taken for the answer.
            default: one of the options.

        Raises:
            UsageError: it cannot be asked so.
            NotAnswered: the campaign ends; in an agent that is no error.
        """
        return await self._running.ask(question, options, timeout_s, default)

    async def consult(self, advisor: Advisor, view: Struct, choices: type[C]) -> Advice[C]:
        """Ask an advisor for the next step, and return its answer, or that of its fallback.

        Only this call waits, and not longer than the advisor's ``timeout_s``. The answer is checked
        against the type of the choices; numbers outside of its limits become the nearest inside. If
        there is no answer in time, or none that fits, or the advisor raises, or its questions of
        the hour are spent, the fallback is followed. An event (``Advised``) tells which it was.

        Args:
            advisor: the advisor.
            view: shown to it: numbers, texts, lists and the like, that JSON can have.
            choices: a type of ``msgspec.Struct``, with limits as in
                ``Annotated[float, Meta(ge=0, le=1)]``.

        Raises:
            UsageError: it cannot be asked so, or the fallback is none of the choices.
        """
        return await self._running.consult(advisor, view, choices)

    async def until(self, condition: Callable[[], Any], *, timeout_s: float | None = None) -> bool:
        """Wait until a condition is true; return whether it is, which it always is without timeout.

        The condition is looked at now, and again after whatever happens in the campaign: a result,
        a step or the end of an agent's work, an event, a change of a board, a pool or a parameter.
        When this returns ``True`` the condition is true. One that is true for a moment only may be
        missed. If every agent waits like this, and nothing is under way, the campaign has ended.

        Args:
            condition: a plain function that returns whether to go on, such as
                ``lambda: len(self.known) >= 8``; it looks, and changes nothing.
            timeout_s: seconds after which to go on although it is not true.

        Raises:
            UsageError: it is no such function; or ``setup`` or ``finish`` waits without
                ``timeout_s``.
        """
        return await self._running.until(condition, timeout_s)

    def publish(self, event: object) -> None:
        """Publish an event of your own, to ``@on_event`` handlers and to every event stream."""
        self._running.publish(event)

    def note(self, /, **numbers: SupportsFloat) -> None:
        """Note numbers of your own, by name, as in ``self.note(best=-3.2)`` (see ``Session.note``).

        The progress shows the latest of each, and so does ``summary.json``.

        Raises:
            UsageError: a number is none, or infinite; a name is no identifier; there are more than
                100 names. Nothing is noted then.
        """
        self.session.note(**numbers)

    def stop(self, *, cancel: bool = False, finish_chains: bool = False, reason: str = "") -> None:
        """End the campaign.

        Boards hand out no more. Queued tasks, and tasks that are submitted from now on, end as
        ``Cancelled``. Running tasks go on to their end, and their handlers are called; with
        ``cancel`` they are cancelled, too.

        With ``finish_chains`` nothing new is begun, and chains that were begun are finished: a task
        that a handler of results submits, or an agent that has awaited another, is run, queued or
        not, unless its type led to it already. Another stop, without it, ends them as well.

        Args:
            cancel: whether running tasks are cancelled.
            finish_chains: whether chains of tasks go on to their ends.
            reason: why, for the log and the record.

        Raises:
            UsageError: the reason is no text, or chains are to be cancelled and finished.
        """
        if cancel and finish_chains:
            raise UsageError(
                "stop(cancel=True) cancels running tasks, and finish_chains=True runs those that "
                "follow them: take one of the two"
            )
        why = said(reason, "the reason to stop") or "an agent stopped the campaign"
        self._running.stop(cancel=cancel, reason=why, finish_chains=finish_chains)

    # -- views of agents -------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session that the campaign runs on."""
        return self._running.session

    @property
    def recovered(self) -> list[Result]:
        """The results of earlier incarnations that no call has asked for since it was resumed.

        While the campaign still gets on, most of these are about to be asked for.  In ``finish``,
        or after the end, those are left whose calls the agents did not make again.
        """
        return self._running.recovered

    @property
    def pools(self) -> Pools:
        """The pools, by the last news of them, and the ways to move workers between them."""
        return self.session.pools

    @property
    def nodes(self) -> Nodes:
        """The nodes, and the ways to drain some of them."""
        return self.session.nodes

    @property
    def _running(self) -> CampaignRun:
        if self._conductor is None:
            raise UsageError(
                f"{type(self).__name__} is not running: submit from setup() or an agent, "
                "and start it with steerio.run(...)"
            )
        return self._conductor

    def _refuse_to_run_twice(self) -> None:
        """Check that the campaign does not run now.

        Raises:
            UsageError: it runs; its agents and boards belong to one run.
        """
        if self._conductor is not None and not self._conductor.is_over:
            raise UsageError(f"this {type(self).__name__} runs already: make another for each run")

    def _conducted_by(self, conductor: CampaignRun) -> None:
        """Note the run that conducts the campaign.

        Raises:
            UsageError: the campaign runs already.
        """
        self._refuse_to_run_twice()
        self.__dict__["_conductor"] = conductor


def _check_store(owner: str, value: object) -> None:
    """Refuse a ``store`` that is no setting: that name is taken.

    Raises:
        UsageError: it is neither a setting nor ``None``.
    """
    if value is not None and not isinstance(value, StoreSetting):
        raise UsageError(
            f"{owner}.store says where large values go: it is a StoreSetting, not {value!r}; call "
            "a value of your own something else"
        )


Campaign._reserved = reserved_names(Campaign)  # pyright: ignore[reportPrivateUsage]
