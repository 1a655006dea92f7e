"""Every exception that steerio raises, in one place.

An error carries its facts as attributes and says in its message what to do about them. Every error
derives from `SteerioError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import BrokenExecutor
from typing import TypeGuard


class SteerioError(Exception):
    """Root of all errors raised by steerio."""


class UsageError(SteerioError):
    """A request that cannot be fulfilled: the message names it and says what to do instead."""


class NotAllowed(UsageError):
    """A request of a session that may only look on: it joined by the connection file of observers.

    Attributes:
        what: the request, in words.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"an observer may not {what}: it sees status, events and pools; use the broker's run "
            "directory (connection.json) instead of observer.json"
        )


class UnknownPool(UsageError):
    """A task names a pool that the broker does not have."""

    def __init__(self, pool: str, known: list[str]) -> None:
        self.pool, self.known = pool, known
        names = ", ".join(sorted(known)) or "none"
        super().__init__(
            f"no pool is named {pool!r} (pools here: {names}); "
            f'start it with workers={{"{pool}": 1}} or name another in @task(pool=...)'
        )


class NoPlace(UsageError):
    """A node lacks cores, accelerators or memory that each worker of a pool needs."""

    def __init__(self, pool: str, reason: str) -> None:
        self.pool, self.reason = pool, reason
        super().__init__(f"no place for a worker of pool {pool!r}: {reason}")


class EncodingError(UsageError):
    """A value cannot be sent to a worker or back."""


class PickleRefused(EncodingError):
    """A value or function came as a pickle to a process that reads none."""


class FunctionRefused(UsageError):
    """A function is not among the allowed functions, the only ones that these workers run.

    Attributes:
        function: its import path; ``reason``: why it is not.
    """

    def __init__(self, function: str, reason: str) -> None:
        self.function, self.reason = function, reason
        super().__init__(
            f"{function} is not among the functions that may be run here: {reason} (add it to "
            "those that are allowed: allow=[...], or --allow)"
        )

    def __reduce__(self) -> tuple[type[FunctionRefused], tuple[str, str]]:
        """Travel by its facts."""
        return FunctionRefused, (self.function, self.reason)


class StoreFull(SteerioError):
    """An object does not fit into the store.

    Attributes:
        asked: the bytes of the object; ``free``: the bytes that were free.
        where: the full folder or store.
    """

    def __init__(self, asked: int, free: int, where: str) -> None:
        self.asked, self.free, self.where = asked, free, where
        super().__init__(
            f"an object of {asked} bytes does not fit: {free} bytes are free in {where}. Let go of "
            "values that are no longer needed, run fewer tasks with large values at a time, or "
            "give the store another folder or a spill folder on disk"
        )


class StoreFailed(SteerioError):
    """A store could not be reached, or could not carry out a request.

    Attributes:
        where: the store; ``what``: the request, as a verb and its object.
    """

    def __init__(self, where: str, what: str, error: BaseException) -> None:
        self.where, self.what = where, what
        super().__init__(
            f"{where} did not {what}: {type(error).__name__}: {error}. See whether it runs, can be "
            "reached from here, and has room"
        )


class JournalDamaged(SteerioError):
    """A journal whose file ``path`` cannot be read from byte ``offset`` on, and not by a crash."""

    def __init__(self, path: str, offset: int, reason: str, way_out: str = "") -> None:
        self.path, self.offset, self.reason = path, offset, reason
        super().__init__(
            f"the journal is damaged: {path}, byte {offset}: {reason}. Restore this file from a "
            + (
                way_out
                or "copy; or, to go on with the frames before, copy the folder, remove all .frames "
                f"files behind this one, and cut it there (truncate -s {offset}, or remove it, if "
                "that is 0)"
            )
        )


class JournalTaken(UsageError):
    """Another process (``pid`` on ``host``, since ``started``) may be writing to this journal."""

    def __init__(
        self, folder: str, incarnation: int, host: str, pid: int, started: str, reason: str
    ) -> None:
        self.folder, self.incarnation = folder, incarnation
        self.host, self.pid, self.started = host, pid, started
        super().__init__(
            f"the journal in {folder} has an owner: process {pid} on {host}, since {started} "
            f"(incarnation {incarnation}); {reason}. Wait until it has ended; if you know that it "
            "has, take the journal over (take_over=True, or --take-over)"
        )


class JournalFenced(SteerioError):
    """Another process (``by``) took this journal over; this one may not write to it any more."""

    def __init__(self, folder: str, incarnation: int, by: str) -> None:
        self.folder, self.incarnation, self.by = folder, incarnation, by
        super().__init__(
            f"{by} took the journal in {folder} over from this process (incarnation "
            f"{incarnation}), which has to end"
        )


class JournalFull(SteerioError):
    """A batch that does not fit on the disk. Nothing of it was appended: try it again later."""

    def __init__(self, folder: str, asked: int, reason: str) -> None:
        self.folder, self.asked = folder, asked
        super().__init__(
            f"{asked} bytes do not fit into the journal in {folder}: {reason}. Make room, and go on"
        )


class JournalFailed(SteerioError):
    """A write or sync of a journal that failed: it is not known how much of it is on the disk."""

    def __init__(self, folder: str, what: str, reason: str) -> None:
        self.folder, self.what = folder, what
        super().__init__(
            f"the journal in {folder} cannot go on: to {what} failed ({reason}), and a second try "
            "would not tell whether the first was lost. See to the disk, and open the journal anew"
        )


class StateError(SteerioError):
    """A campaign's state that cannot be written, or read with the code as it is now."""


class ObjectMissing(SteerioError):
    """An object that is not in the store (any more).

    Attributes:
        name: its name in the store; ``where``: the store.
    """

    def __init__(self, name: bytes, where: str) -> None:
        self.name, self.where = name, where
        shown = f"object {name.decode()}" if name.isascii() and len(name) < 80 else "object"
        super().__init__(
            f"the {shown} is not in {where}: it was freed (nothing held it any more), its "
            "campaign has ended, or this process looks into another store than its writer"
        )


class ObjectBroken(SteerioError):
    """An entry of the store that is no object as steerio writes it, or only a part of one."""


class ProtocolError(SteerioError):
    """A message from a peer that the protocol does not allow."""


class BrokerLost(SteerioError):
    """The broker ended or has not answered within its lease."""


class JoinRefused(SteerioError):
    """The broker did not accept this peer; ``again`` says whether it may later."""

    def __init__(self, reason: str, again: bool = False) -> None:
        self.again = again
        super().__init__(reason)


class PoolBroken(SteerioError):
    """The workers of a pool cannot be started; carries the error of the last one."""

    def __init__(self, pool: str, reason: str) -> None:
        self.pool, self.reason = pool, reason
        super().__init__(f"no worker of pool {pool!r} can be started:\n{reason}")


class MoveFailed(SteerioError):
    """A move of workers that can never succeed, or has too few workers left.

    Attributes:
        source, target: the pools; ``count``: the number of workers that were asked for.
        reason: why not, with the numbers.
    """

    def __init__(self, source: str, target: str, count: int, reason: str) -> None:
        self.source, self.target, self.count, self.reason = source, target, count, reason
        workers = "1 worker" if count == 1 else f"{count} workers"
        super().__init__(f"cannot move {workers} from {source!r} to {target!r}: {reason}")


class DrainFailed(SteerioError):
    """A node was not drained, or not undrained.

    Attributes:
        node: its name.
        reason: why not.
    """

    def __init__(self, node: str, reason: str) -> None:
        self.node, self.reason = node, reason
        super().__init__(f"node {node!r}: {reason}")


class BatchFailed(SteerioError):
    """A batch system has refused an order, or has not answered.

    Attributes:
        system: its name.
        reason: why, in its own words if it has any.
    """

    def __init__(self, system: str, reason: str) -> None:
        self.system, self.reason = system, reason
        super().__init__(f"the batch system {system}: {reason}")


class OrderRefused(SteerioError):
    """A campaign, or its broker, has refused an order.

    Attributes:
        order: the order, in words.
        reason: why.
    """

    def __init__(self, order: str, reason: str) -> None:
        self.order, self.reason = order, reason
        super().__init__(f"{order}: {reason}")


class NotAnswered(SteerioError):
    """A question will not be answered: its campaign ends.

    Attributes:
        question: its text.
        reason: why the campaign ends.
    """

    def __init__(self, question: str, reason: str) -> None:
        self.question, self.reason = question, reason
        super().__init__(f"{question!r} will not be answered: {reason}")


class PauseFailed(SteerioError):
    """A pool was resumed before its pause had taken effect.

    Attributes:
        pool: its name.
        reason: by whose order it was resumed, and why.
    """

    def __init__(self, pool: str, reason: str) -> None:
        self.pool, self.reason = pool, reason
        super().__init__(f"pool {pool!r} is not paused: {reason}")


class MoveDeadlock(MoveFailed):
    """A wait for lent workers that would never end, as their holder waits for workers held here.

    An agent that holds a lease and waits for another gives the first back only when it has the
    second. If another agent does so the other way round, neither ever goes on. The last to ask gets
    this error; its ``reason`` says which leases each holds and which it waits for. Leave the scopes
    of the leases that you hold and try again; or take them in one order everywhere.
    """


class TaskDidNotSucceed(SteerioError):
    """The error of awaiting a task that ended in any way but success.

    Attributes:
        result: how the task ended, as data (a `Result`).
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class TaskFailed(TaskDidNotSucceed):
    """The task's function raised; the original exception is the cause if it can be pickled."""


class TaskCancelled(TaskDidNotSucceed):
    """The task was cancelled before it ended."""


class TaskTimedOut(TaskDidNotSucceed):
    """The task ran longer than its ``timeout_s``."""


class TaskLost(TaskDidNotSucceed):
    """The task's worker (or the broker) was lost, and it may not be tried again."""


class CallLost(TaskLost, BrokenExecutor):
    """A call of a session's executor whose worker was lost; the executor goes on."""


class ExecutorBroken(BrokerLost, BrokenExecutor):
    """The session of an executor has ended."""


class ProgramFailed(SteerioError):
    """A program that a task ran has ended badly: by a signal, or with another exit code than 0.

    Attributes:
        command: its command line, as it was started.
        exit_code: the code it ended with; below 0: it was ended by the signal of that number.
        signal: the name of that signal, such as ``SIGSEGV``; else empty.
        folder: the folder that it ran in, if that is kept; else empty.
        stderr_end: the last lines of its standard errors, or if it wrote none, of its output.
    """

    def __init__(
        self, command: list[str], exit_code: int, signal: str, folder: str, stderr_end: str
    ) -> None:
        self.command, self.exit_code, self.signal = command, exit_code, signal
        self.folder, self.stderr_end = folder, stderr_end
        how = f"was ended by {signal}" if signal else f"exited with {exit_code}"
        line = " ".join(command)
        shown = line if len(line) <= 300 else f"{line[:200]} ... {line[-90:]}"
        where = f"; its folder is kept: {folder}" if folder else ""
        said = f"\n{stderr_end}" if stderr_end else ""
        super().__init__(f"{shown} {how}{where}{said}")

    def __reduce__(self) -> tuple[type[ProgramFailed], tuple[list[str], int, str, str, str]]:
        """Travel by its facts."""
        facts = self.command, self.exit_code, self.signal, self.folder, self.stderr_end
        return type(self), facts


class DependencyFailed(SteerioError):
    """A task takes the value of another task, and that one did not succeed.

    Attributes:
        result: how the other ended, as data (a `Result`); in a chain, the first that failed.
    """

    def __init__(self, how: str, result: object = None) -> None:
        self.result = result
        super().__init__(f"it takes the value of another task: {how}")


class ItemsRestarted(SteerioError):
    """Another attempt at a generator task yields its items again, from the first.

    Items that were read before belong to an attempt that was lost, or stopped: forget them, and
    iterate over ``task.items()`` once more. Or have the task not tried again:
    ``retries={"lost": 0}``.

    Attributes:
        task_id: the task; ``before``, ``attempt``: the attempt that was read, and the one that
            yields now.
    """

    def __init__(self, task_id: int, name: str, before: int, attempt: int) -> None:
        self.task_id, self.before, self.attempt = task_id, before, attempt
        super().__init__(
            f"task {task_id} {name} is tried again (attempt {attempt}, after attempt {before}) and "
            "yields its items from the first: forget those that you have and iterate over "
            'task.items() again, or let it not be tried again: retries={"lost": 0}'
        )


class ItemsDropped(SteerioError):
    """The items of a generator task were not kept, as no reader came for them.

    Attributes:
        task_id: the task.
    """

    def __init__(self, task_id: int, name: str) -> None:
        self.task_id = task_id
        super().__init__(
            f"the items of task {task_id} {name} were not kept, as no reader came for them: call "
            "its items() as soon as it is submitted, even if you iterate over them later, or use "
            "stream(...)"
        )


class UnhandledFailure(SteerioError):
    """A task that did not succeed, that no agent handles and no code awaits."""


class DeadlockError(SteerioError):
    """In a simulation every coroutine waits, and nothing is left that could wake one.

    Attributes:
        at_s: the virtual time of the deadlock, in seconds from the start.
    """

    def __init__(self, at_s: float, waiting: list[str]) -> None:
        self.at_s, self.waiting = at_s, waiting
        names = "\n  ".join(waiting) or "(no task left)"
        super().__init__(f"deadlock at {at_s:.6f} s of virtual time; waiting:\n  {names}")


class TaskStopped(BaseException):
    """Raised inside a running task that was asked to stop (SIGTERM), so that it unwinds.

    A ``BaseException``: ``except Exception`` in user code must not swallow it.
    """


def leaves(group: BaseException) -> list[BaseException]:
    """Return the exceptions inside a group, without the groups."""
    if not _is_group(group):
        return [group]
    return [leaf for error in group.exceptions for leaf in leaves(error)]


def guess(name: str, known: Iterable[str]) -> str:
    """Ask whether one of the known names was meant, if one is like this; else say nothing."""
    from difflib import get_close_matches  # only for errors: a run that goes well starts without it

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(error, BaseExceptionGroup)


class AgentsGoOn(SteerioError):
    """A campaign had to end, and some of its agents do not let themselves be cancelled."""
