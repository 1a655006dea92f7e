"""Driving a campaign by an optimizer: ask, submit, pass on the tasks' items, tell their ends.

Theory.  There is no batch: as soon as one trial has ended another is asked for. The end of a task
is noted in the `Trials` in the very step in which the campaign hears of it, so that a snapshot has
both or neither; the optimizer is told a moment later, and if the process dies in between, from the
`Trials` of the next incarnation. An intermediate value goes to the optimizer as it comes. If that
says to prune, the task is cancelled, and the trial has ended when the task has.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import numbers
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from steerio.asktell.optimizer import Optimizer, taken
from steerio.asktell.trials import EndedTrial, Suggestion, Trial, TrialEnd, Trials
from steerio.campaign.campaign import Campaign
from steerio.campaign.gathering import whole
from steerio.errors import ItemsDropped, ItemsRestarted, TaskDidNotSucceed, UsageError
from steerio.model.results import Cancelled, Failed, Lost, Result, Succeeded, TimedOut
from steerio.model.showing import short
from steerio.session.task import Task
from steerio.session.task_type import TaskType, as_task_type

Progress = Callable[[Any], tuple[int, float] | None]
"""Makes a step and a value of an item that a task has yielded; ``None``: it is neither."""


async def drive(
    campaign: Campaign,
    optimizer: Optimizer,
    objective: Callable[..., Any],
    trials: Trials,
    *,
    at_once: int | None = None,
    progress: Progress | None = None,
    in_thread: bool = False,
) -> None:
    """Run the trials that an optimizer asks for, and return when all have ended.

    Await it in an ``@agent``. The tasks are ordinary ones: handlers of the campaign get their
    results as well. It also returns when the optimizer asks for no more, or when the campaign ends.

    Args:
        campaign: submits the tasks.
        optimizer: asks for trials, and is told how they ended.
        objective: the task; it gets the arguments of a trial by name. If it is a generator, the
            optimizer hears of the values that it yields, and may have the task cancelled.
        trials: the trials; an attribute of the campaign.
        at_once: trials that are out at a time, at most; by default as many as its pool has workers.
        progress: makes a step and a value of a yielded item; by default an item is such a pair, or
            a number, whose steps count from 0.
        in_thread: whether the optimizer is called in a thread, so that agents go on meanwhile.

    Raises:
        UnknownPool: there is no such pool as the task's.
        UsageError: an argument is invalid, no ``@agent`` awaits it, another call has
            the same optimizer or trials, a yielded item has no step and
            value, or the optimizer asks for something else than arguments by name.
    """
    if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"drive() takes an Optimizer, such as OptunaStudy(study, space), not {optimizer!r}"
        )
    if not isinstance(trials, Trials):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"drive() takes Trials, such as Trials(100), not {trials!r}")
    most = None if at_once is None else whole("at_once", at_once)
    calls = _OneAtATime(optimizer, in_thread)
    driving = _Driving(campaign, calls, as_task_type(objective), trials, most, progress)
    with taken(optimizer), taken(trials):
        await driving.run()


class _OneAtATime:
    """Calls an optimizer, one at a time, on the loop or in a thread."""

    def __init__(self, optimizer: Optimizer, in_thread: bool) -> None:
        self.optimizer = optimizer
        self._in_thread = in_thread
        self._turn = asyncio.Lock()

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        if not self._in_thread:
            return function(*args)
        async with self._turn:
            return await asyncio.to_thread(function, *args)


class _Driving:
    """One call of `drive`."""

    def __init__(
        self,
        campaign: Campaign,
        call: _OneAtATime,
        objective: TaskType[..., Any],
        trials: Trials,
        at_once: int | None,
        progress: Progress | None,
    ) -> None:
        self.campaign, self.trials, self.objective = campaign, trials, objective
        self.call, self.optimizer = call, call.optimizer
        self.at_once, self.progress = at_once, progress
        self.again: deque[int] = deque()
        """Open trials that are to be submitted again."""
        self.known: deque[dict[str, Any]] = deque()
        """The arguments of calls whose results are recorded, and belong to no trial yet."""
        self.out: dict[int, Task[Any]] = {}
        self.followers: dict[int, asyncio.Task[None]] = {}
        """They read the items of the trials that are out."""
        self.pruned: set[int] = set()
        self.untold: deque[EndedTrial] = deque()
        self.waits = False
        """Whether the optimizer asks for none before another is told."""

    async def run(self) -> None:
        self.campaign.session.check_pool(self.objective.pool)
        try:
            await self.take_up()
            while True:
                await self.fill()
                if not self.out and not self.untold:
                    break
                await self.campaign.checkpoint(until=self.may_go_on)
                await self.tell()
        finally:
            for follower in self.followers.values():
                follower.cancel()
            await asyncio.gather(*self.followers.values(), return_exceptions=True)
            self.optimizer.close()

    @property
    def stopping(self) -> bool:
        """Whether the campaign ends, so that nothing new may begin."""
        return bool(self.campaign._running.stopping)  # pyright: ignore[reportPrivateUsage]

    @property
    def room(self) -> int:
        """How many more may be out."""
        most = self.at_once
        if most is None:
            pool, pools = self.objective.pool, self.campaign.pools
            most = max(1, pools[pool].workers if pool in pools else 0)
        return most - len(self.out)

    def may_go_on(self) -> bool:
        """Whether there is anything to do: an end to tell, a broken follower, or room."""
        if self.untold or self.broken is not None:
            return True
        more = self.trials.left > 0 and (bool(self.known) or not self.waits)
        return (more or bool(self.again)) and not self.stopping and self.room > 0

    @property
    def broken(self) -> BaseException | None:
        """The error of a follower, if one has failed."""
        over = (each for each in self.followers.values() if each.done() and not each.cancelled())
        return next((error for each in over if (error := each.exception())), None)

    # -- earlier incarnations ---------------------------------------------------------------------

    async def take_up(self) -> None:
        """Teach the optimizer all that is known, and find the trials that are open."""
        trials, campaign = self.trials, self.campaign
        run = f"{campaign._running.run_name}/{trials.name}"  # pyright: ignore[reportPrivateUsage]
        only_it_knows = await self.call(self.optimizer.begin, run, tuple(trials.ended))
        for ended in only_it_knows:
            trials.learn(ended)
        out = {
            task.tags[trials.name]: task
            for task in campaign.session.pending
            if task.type.name == self.objective.name and trials.name in task.tags
        }
        recorded = self.recorded_calls()
        for number, trial in list(trials.open.items()):
            if trial.args in recorded:
                recorded.remove(trial.args)
            if (task := out.get(str(number))) is not None:
                await self.reopen(number)
                self.follow(number, task)
            else:
                self.again.append(number)
        for ended in only_it_knows:
            if (task := out.get(str(ended.number))) is not None:
                task.add_done_callback(_read)  # a handler may want it; the optimizer has it
            elif ended.args in recorded:
                recorded.remove(ended.args)
                campaign.submit(self.objective, **ended.args).add_done_callback(_read)
        self.known.extend(recorded)

    def recorded_calls(self) -> list[dict[str, Any]]:
        """Return the arguments of trials whose recorded results no code has asked for yet."""
        name = self.trials.name  # the tag: of the same task type others may be no trials of these
        found = (r for r in self.campaign.recovered if r.task_type == self.objective.name)
        return [args for r in found if name in r.tags and (args := self.by_name(r)) is not None]

    def by_name(self, result: Result) -> dict[str, Any] | None:
        """Return the arguments of a call by name; ``None``: they are not kept."""
        try:
            bound = inspect.signature(self.objective.function).bind(*result.args, **result.kwargs)
        except TypeError:
            return None
        return dict(bound.arguments)

    async def reopen(self, number: int) -> None:
        trial = self.trials.begin_again(number)
        trial.note = await self.call(self.optimizer.reopen, trial)

    # -- beginning ---------------------------------------------------------------------------------

    async def fill(self) -> None:
        """Submit trials as long as there is room: open ones first, then those that are known."""
        while self.room > 0 and not self.stopping:
            if self.again:
                number = self.again.popleft()
                await self.reopen(number)
            elif self.known and self.trials.left:
                number = self.trials.begin(self.known.popleft()).number
                await self.reopen(number)
            elif self.trials.left and not self.waits:
                asked = await self.call(self.optimizer.ask, self.trials.next_number)
                if asked is None:
                    self.waits = True
                    return
                if not isinstance(asked, Suggestion):
                    asked = Suggestion(_checked(self.optimizer, asked))
                number = self.trials.begin(asked.args, asked.note).number
            else:
                return
            self.submit(number)

    def submit(self, number: int) -> None:
        options = self.campaign.options(tags={self.trials.name: str(number)})
        self.follow(number, options.submit(self.objective, **self.trials.open[number].args))

    def follow(self, number: int, task: Task[Any]) -> None:
        self.out[number] = task
        task.found_again = True  # by its tag
        if self.objective.kind == "generator":
            reading = self.read(self.trials.open[number], task, task.items())
            self.followers[number] = asyncio.get_running_loop().create_task(reading)
        task.add_done_callback(lambda task: self.ended(number, task))

    # -- while it runs -----------------------------------------------------------------------------

    async def read(self, trial: Trial, task: Task[Any], items: AsyncIterator[Any]) -> None:
        """Pass the items of a task on to the optimizer, and cancel it if that says to prune."""
        while True:
            count = 0
            try:
                async for item in items:
                    step_and_value = self.step_and_value(item, count)
                    count += 1
                    if step_and_value is None or not Trials.report(trial, *step_and_value):
                        continue
                    prune = await self.call(self.optimizer.report, trial, *step_and_value)
                    if prune and not task.done:
                        self.pruned.add(trial.number)
                        task.cancel(f"pruned by the optimizer at step {step_and_value[0]}")
                        return
                return
            except ItemsRestarted:
                items = task.items()
            except (TaskDidNotSucceed, ItemsDropped):
                return
            except Exception:
                task.cancel("its items could not be passed on")  # whose end is heard, and this told
                raise

    def step_and_value(self, item: Any, count: int) -> tuple[int, float] | None:
        if self.progress is not None:
            return self.progress(item)
        if isinstance(item, numbers.Real):
            return count, float(item)
        with contextlib.suppress(TypeError, ValueError):
            step, value = item
            return int(step), float(value)
        raise UsageError(
            f"{self.objective.name} yielded {short(item)}, which is neither a number nor a step "
            "and a number: give drive(progress=...), which makes these of it, or returns None"
        )

    # -- the end -----------------------------------------------------------------------------------

    def ended(self, number: int, task: Task[Any]) -> None:
        """Note how a trial ended, in the step in which the campaign hears of it."""
        result = task.result_nowait()  # so its failure is dealt with
        assert result is not None
        del self.out[number]
        how, reason = _end_of(result, number in self.pruned, self.stopping)
        value = result.value if isinstance(result, Succeeded) else None
        self.untold.append(self.trials.end(number, how, value=value, reason=reason))

    async def tell(self) -> None:
        """Tell the optimizer of the trials that have ended."""
        while self.untold:
            ended = self.untold[0]
            if (follower := self.followers.pop(ended.number, None)) is not None:
                await follower  # its last items; it ends with the task
            await self.call(self.optimizer.tell, ended)
            self.untold.popleft()
            self.pruned.discard(ended.number)
            self.waits = False
        if self.broken is not None:
            raise self.broken


def _end_of(result: Result, pruned: bool, stopping: bool) -> tuple[TrialEnd, str]:
    """Return how a trial ended, and why, if it did not succeed."""
    match result:
        case Succeeded():
            return "succeeded", ""
        case Cancelled(reason=reason) if pruned:
            return "pruned", reason
        case Cancelled(reason=reason):
            return ("interrupted" if stopping else "cancelled"), reason
        case Failed(error=error):
            return "failed", f"{error.type}: {error.message}"
        case TimedOut(timeout_s=timeout_s):
            return "timed_out", f"it ran longer than {timeout_s:g} s"
        case Lost(reason=reason):
            return "lost", reason
        case _:
            raise AssertionError(f"a result of an unknown kind: {result!r}")


def _checked(optimizer: Optimizer, asked: object) -> dict[str, Any]:
    if isinstance(asked, Mapping) and all(isinstance(name, str) for name in asked):  # pyright: ignore[reportUnknownVariableType]
        return dict(asked)  # pyright: ignore[reportUnknownArgumentType]
    raise UsageError(
        f"{type(optimizer).__name__}.ask() returned {short(asked)}: return the arguments of a "
        "trial by name, in a dict, or an Suggestion; None if there are none now"
    )


def _read(task: Task[Any]) -> None:
    task.result_nowait()
