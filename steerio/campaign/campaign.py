"""Campaigns: agents, their state, and what they can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, SupportsIndex

from steerio.campaign.declarations import (
    check_class,
    check_value,
    hook,
    reserved_names,
    say_taken,
)
from steerio.campaign.found_boards import HOLDERS
from steerio.campaign.parameters import bound_arguments
from steerio.errors import UsageError
from steerio.launch.needs import Needs
from steerio.launch.workers import AskedWorkers
from steerio.model.bounds import said
from steerio.model.events import Event
from steerio.model.objects import StoreSetting
from steerio.session.event_stream import EventStream
from steerio.session.nodes import Nodes
from steerio.session.pools import Pools
from steerio.session.session import Session
from steerio.session.submitting import Options, Submitter
from steerio.session.task import Task
from steerio.session.task_type import TaskType
from steerio.session.versions import Versions


class CampaignRun(Protocol):
    """One run of a campaign, as the campaign itself sees it."""

    session: Session

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was left behind."""
        ...

    def stop(self, *, cancel: bool, reason: str) -> None:
        """Begin to end."""
        ...

    def publish(self, event: object) -> None:
        """Give an event to the handlers that want it, and to everyone's streams."""
        ...

    def reassigned(self, old: object, new: object) -> None:
        """Take in that an attribute has another value, and that there are boards in one of them."""
        ...


class Campaign(Submitter):
    """One whole run.  Subclass it, keep state in attributes, mark methods as agents.

    Set ``workers`` on the class to say how many each pool has where nobody says otherwise, and
    ``store`` to say where large values go.
    Override ``setup`` and ``finish`` for what comes before and after.
    """

    workers: ClassVar[AskedWorkers] = {}
    store: ClassVar[StoreSetting | None] = None

    _conductor: CampaignRun | None = None
    _reserved: ClassVar[dict[str, str]] = {}
    """What are names of its own, and what each is for."""
    run_dir: Path | None = None
    """The run directory, while the campaign runs and after."""

    _made_with: dict[str, Any] | None = None
    """The values of ``__init__`` by name, defaults included, as they were said."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_class(cls, Campaign, Campaign._reserved)
        _check_store(cls.__qualname__, cls.store)

    if not TYPE_CHECKING:  # to type checkers, any name would be an attribute then

        def __new__(cls, *args, **kwargs):
            """Note what a campaign is made with, for its record."""
            if cls.__init__ is object.__init__ and (args or kwargs):
                raise TypeError(f"{cls.__name__}() takes no arguments")
            made = super().__new__(cls)
            if cls.__init__ is not object.__init__:
                made.__dict__["_made_with"] = bound_arguments(cls, args, kwargs)
            return made

        def __setattr__(self, name, value):
            """Set an attribute; the campaign feeds from a board that it is given as one.

            Raises:
                UsageError: campaigns have something else of that name.
            """
            if name in self._reserved:
                written = f"self.{name} of {type(self).__name__}"
                raise UsageError(say_taken(written, name, self._reserved[name]))
            if name == "store":
                _check_store(type(self).__name__, value)
            for base in type(self).__mro__:  # nearly all are in none, and handlers set many
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
        """Refuse to be sent, as with a method of it, as long as it runs.

        Raises:
            TypeError: so it is.
        """
        if self._conductor is not None and not self._conductor.is_over:
            raise TypeError(
                "a campaign stays in its process: have a function or a staticmethod run as the "
                "task, and give it the values that it needs"
            )
        return super().__reduce_ex__(protocol)

    @hook
    async def setup(self) -> None:
        """Do what comes before the agents start; ``self.run`` works here."""

    @hook
    async def finish(self) -> None:
        """Do what comes after the agents ended well; ``self.run`` works here."""

    # -- what agents do --------------------------------------------------------------------------

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
        tags: Mapping[str, str] | None = None,
    ) -> Options:
        """Return a submitter whose tasks have these options (see ``Session.options``)."""
        return self.session.options(
            priority=priority,
            timeout_s=timeout_s,
            retries=retries,
            cancel_grace_s=cancel_grace_s,
            needs=needs,
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

    def publish(self, event: object) -> None:
        """Publish an event of your own, to ``@on_event`` handlers and to every event stream."""
        self._running.publish(event)

    def stop(self, *, cancel: bool = False, reason: str = "") -> None:
        """End the campaign.

        Boards hand out no more; what is queued, and what is submitted from now on, ends as
        ``Cancelled``; what is running ends, and its handlers run.  With ``cancel`` what is
        running is cancelled too.

        Raises:
            UsageError: the reason is no text.
        """
        why = said(reason, "the reason to stop") or "an agent stopped the campaign"
        self._running.stop(cancel=cancel, reason=why)

    # -- what agents see -------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session that the campaign runs on."""
        return self._running.session

    @property
    def pools(self) -> Pools:
        """The pools as last heard, and the ways to move workers between them."""
        return self.session.pools

    @property
    def nodes(self) -> Nodes:
        """The nodes, and the ways to have some of them left."""
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
        """See that nobody runs it now.

        Raises:
            UsageError: somebody does: its agents and boards are those of one run.
        """
        if self._conductor is not None and not self._conductor.is_over:
            raise UsageError(f"this {type(self).__name__} runs already: make another for each run")

    def _conducted_by(self, conductor: CampaignRun) -> None:
        """Note who runs it.

        Raises:
            UsageError: somebody else does now.
        """
        self._refuse_to_run_twice()
        self.__dict__["_conductor"] = conductor


def _check_store(owner: str, value: object) -> None:
    """Refuse a ``store`` that is no setting, for then it is a name that is taken.

    Raises:
        UsageError: it is something else.
    """
    if value is not None and not isinstance(value, StoreSetting):
        raise UsageError(
            f"{owner}.store says where large values go: it is a StoreSetting, not {value!r}; call "
            "a value of your own something else"
        )


Campaign._reserved = reserved_names(Campaign)  # pyright: ignore[reportPrivateUsage]
