"""Models that behave as the tasks of a recorded run did, for policies that are tried on its record.

Duration and end are drawn together, by attempt. A call that was recorded goes as it went; any other
call goes as one of its type did, each equally likely, so that failures keep their share. The value
is that of the record if the record tells it in full, else the task's own function is called for it.
"""

from __future__ import annotations

import builtins
import contextlib
import random
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from msgspec import UNSET, Struct

from steerio.edge.encoding.annotations import hints_of
from steerio.edge.record.export_files import record_of
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, shown
from steerio.edge.record.record_lines import check_schema
from steerio.edge.wire.endpoint import Frames
from steerio.errors import UsageError
from steerio.model.messages import RunTask
from steerio.model.showing import in_words
from steerio.testing.course import AnyDraw, Course
from steerio.testing.model import Model, name_of_type
from steerio.testing.task_streams import TaskStream
from steerio.view.seen_lines import SeenEvent, SeenTask
from steerio.worker.loading import LoadedType

HELD_ON_S = 1.0
"""Seconds by which an attempt that was stopped at its timeout lasts longer than it did, and fails:
so the same timeout ends it again."""
NULL = b"null"
_NOT_IN_FULL = b'"<'
"""Begins the words that the record has in place of a value that it cannot tell."""
_READ = (b'"NodeJoined"', b'"WorkerJoined"', b'"WorkerLost"', b'"WorkerRetired"', b'"TaskYielded"')
_encode = msgspec.json.Encoder(enc_hook=in_words).encode


class YieldEvent(SeenEvent):
    """A line of ``events.jsonl``, with the number of an item."""

    index: int = 0


class ModelledTask(SeenTask):
    """A line of ``tasks.jsonl``, with arguments and value as they stand there."""

    args: msgspec.Raw = msgspec.Raw(NULL)
    value: msgspec.Raw = msgspec.Raw(NULL)


class RecordedAttempt(Struct, gc=False):
    """One attempt of the record.

    Attributes:
        run_s: seconds that it ran.
        failed: how it failed, in words; empty if it did not.
        crashed: whether its worker ended with it.
        value: as JSON; empty if the record does not tell it in full.
        items: how many items it yielded.
    """

    run_s: float
    failed: str = ""
    crashed: bool = False
    value: bytes = b""
    items: int = 0


class RecordedModel:
    """The attempts of one task type in a record."""

    def __init__(self) -> None:
        self._all: list[RecordedAttempt] = []
        self._calls: dict[bytes, list[dict[int, RecordedAttempt]]] = {}
        """By arguments, the attempts of each call, by number."""
        self._hint: tuple[LoadedType, Any] | None = None
        """The function seen last, and its annotation of the value."""

    def __repr__(self) -> str:
        return f"<RecordedModel of {len(self._all)} attempts>"

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, args: bytes, attempts: dict[int, RecordedAttempt]) -> None:
        """Add the attempts at one task; ``args`` are its arguments in the record."""
        self._all += attempts.values()
        if args != NULL and attempts:
            self._calls.setdefault(args, []).append(attempts)

    def draw_call(
        self, stream: TaskStream, task: RunTask, frames: Frames, loaded: LoadedType
    ) -> Course:
        """Return the course of the attempt that was recorded, or draw one of another."""
        args = _encode(shown(task.body, frames))
        calls = self._calls.get(args)
        if calls:
            same = stream.before < len(calls) and _NOT_IN_FULL not in args
            call = calls[stream.before] if same else stream.rng.choice(calls)
            attempt = call.get(task.attempt)
            if attempt is not None:
                return _course(attempt, loaded, self._value(attempt.value, loaded))
        return _course(stream.rng.choice(self._all), loaded, UNSET)

    def _value(self, recorded: bytes, loaded: LoadedType) -> Any:
        """Return a value that the record tells in full, else `UNSET`: by the annotation."""
        if not recorded:
            return UNSET
        if self._hint is None or self._hint[0] is not loaded:
            hint: Any = hints_of(loaded.function).get("return", Any)
            if loaded.kind == "generator":
                hint = (*get_args(hint), Any, Any, Any)[2]
            self._hint = (loaded, hint)
        value: Any = msgspec.json.decode(recorded)
        _, hint = self._hint
        if hint is Any:
            return UNSET if isinstance(value, (list, dict)) else value
        try:
            return msgspec.convert(value, hint, str_keys=True)
        except (msgspec.ValidationError, TypeError, ValueError):
            return UNSET


class RecordedModels(Mapping[str, AnyDraw | Model]):
    """The models of all task types of a recorded run, by name.

    ``models | {train: Model(60)}`` has another model for one type, and those of the record for the
    rest.

    Attributes:
        start_s: draws the seconds that a worker takes to start, as recorded.
    """

    def __init__(self, models: Mapping[str, AnyDraw | Model], start_s: RecordedStarts) -> None:
        self._models = dict(models)
        self.start_s = start_s

    def __repr__(self) -> str:
        return f"<RecordedModels of {', '.join(self._models) or 'nothing'}>"

    def __getitem__(self, name: str) -> AnyDraw | Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __or__(self, others: Mapping[Any, AnyDraw | Model]) -> RecordedModels:
        named = {name_of_type(key): model for key, model in others.items()}
        return RecordedModels(self._models | named, self.start_s)


class RecordedStarts:
    """The seconds that the workers of a run took to start, by pool."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}
        self._joined: dict[str, float] = {}
        self._first: dict[tuple[str, str], int] = {}
        self._ended: dict[str, deque[float]] = {}
        """The ends of workers of each node that no other has followed yet."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{pool}: {len(each)}" for pool, each in self._seconds.items())
        return f"<RecordedStarts of {counts or 'nothing'}>"

    def __call__(self, rng: random.Random, pool: str = "", *args: Any) -> float:
        """Draw one of the times of a pool, or of any pool if it had no worker; 0 without any."""
        found = self._seconds.get(pool) or [s for each in self._seconds.values() for s in each]
        return rng.choice(found) if found else 0.0

    def take(self, event: SeenEvent) -> None:
        """Take in an event of a node or worker."""
        node, pool = event.node or "", event.pool or ""
        if event.type == "NodeJoined":
            self._joined[node] = event.at
            workers = cast("dict[str, int]", event.workers or {})
            self._first |= {(node, each): count for each, count in workers.items()}
            self._ended[node] = deque()
        elif event.type in ("WorkerLost", "WorkerRetired"):
            self._ended.setdefault(node, deque()).append(event.at)
        elif event.type == "WorkerJoined":
            began = self._joined.get(node, event.at)
            if self._first.get((node, pool), 0) > 0:
                self._first[node, pool] -= 1
            elif self._ended.get(node):
                began = self._ended[node].popleft()
            self._seconds.setdefault(pool, []).append(max(0.0, event.at - began))


def recorded_models(run_dir: Path | str) -> RecordedModels:
    """Return models of the tasks of a recorded run: ``simulate(..., model=recorded_models(DIR))``.

    An attempt that was cancelled, or lost with its node, tells nothing of its task and is left out.
    One that took its worker with it, or was killed from outside, crashes its worker. One that timed
    out lasts a second longer, so that the same timeout ends it again. A generator yields the items
    of its own function, evenly over its time. An ``async def`` function whose value is not in the
    record runs on the virtual clock after its recorded time.

    Args:
        run_dir: the run directory, of a real or a simulated run.

    Raises:
        UsageError: it has no record, or one that cannot be read.
    """
    folder, _ = record_of(Path(run_dir))
    try:
        lines = (folder / TASKS_FILE).read_bytes()
        check_schema(folder)
        tasks = msgspec.json.Decoder(ModelledTask).decode_lines(lines)
        events = _events(folder)
    except OSError as error:
        raise UsageError(f"{run_dir} is no run directory: {error}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"the record in {run_dir} cannot be read: {error}") from None
    starts, items = RecordedStarts(), dict[int, int]()
    for event in events:
        if event.type == "TaskYielded":
            number = event.task_id or 0
            items[number] = max(items.get(number, 0), event.index + 1)
        else:
            starts.take(event)
    models: dict[str, RecordedModel] = {}
    for task in tasks:
        model = models.setdefault(task.task_type, RecordedModel())
        model.add(bytes(task.args), _attempts(task, items.get(task.task_id, 0)))
    return RecordedModels({name: model for name, model in models.items() if model}, starts)


def starts_of(models: object) -> float | RecordedStarts:
    """Return how long workers take to start if nothing else is said: as recorded, or not at all."""
    return models.start_s if isinstance(models, RecordedModels) else 0.0


def _events(folder: Path) -> list[YieldEvent]:
    """Return the events that tell of starts and of items."""
    try:
        data = (folder / EVENTS_FILE).read_bytes()
    except FileNotFoundError:
        return []
    lines = (line for line in data.splitlines() if any(kind in line for kind in _READ))
    return msgspec.json.Decoder(YieldEvent).decode_lines(b"\n".join(lines))


def _attempts(task: ModelledTask, items: int) -> dict[int, RecordedAttempt]:
    """Return the attempts of a task that tell how it behaves, by number."""
    found: dict[int, RecordedAttempt] = {}
    for each in task.earlier or ():
        run_s = _seconds(each.started, each.ended) or _seconds(each.sent, each.received)
        if each.reason == "timed out":
            found[each.attempt] = RecordedAttempt(run_s + HELD_ON_S, each.reason)
        elif each.reason.startswith("lost: its process"):
            found[each.attempt] = RecordedAttempt(run_s, crashed=True)
        elif each.started is not None and not each.reason.startswith(("lost: ", "preempted: ")):
            found[each.attempt] = RecordedAttempt(run_s, each.reason)
    last = _last_attempt(task, items)
    if last is not None:
        found[task.attempt] = last
    return found


def _last_attempt(task: ModelledTask, items: int) -> RecordedAttempt | None:
    run_s = _seconds(task.started, task.ended)
    match task.ended_as:
        case "succeeded" if task.started is not None:
            value = bytes(task.value)
            if _NOT_IN_FULL in value or (value == NULL and task.value_bytes != 1):
                value = b""
            return RecordedAttempt(run_s, value=value, items=items)
        case "failed" if task.started is not None:
            return RecordedAttempt(run_s, task.error or "failed")
        case "timed_out" if task.started is not None:
            return RecordedAttempt(run_s + HELD_ON_S, "timed out")
        case "lost" if task.sent is not None and "process" in (task.reason or ""):
            return RecordedAttempt(_seconds(task.sent, task.received), crashed=True)
        case _:
            return None


def _seconds(begin: float | None, end: float | None) -> float:
    return max(0.0, end - begin) if begin is not None and end is not None else 0.0


def _course(attempt: RecordedAttempt, loaded: LoadedType, value: Any) -> Course:
    if attempt.failed or attempt.crashed:
        items = () if loaded.kind == "generator" else UNSET
        fails = _error(attempt.failed) if attempt.failed else False
        return Course(attempt.run_s, items=items, fails=fails, crashes=attempt.crashed)
    if loaded.kind == "generator":
        if attempt.items:
            return Course(attempt.run_s / attempt.items)
        return Course(attempt.run_s, items=(), value=value)
    return Course(attempt.run_s, value=value)


def _error(recorded: str) -> Exception:
    """Return an error that reads like a recorded one; of its class if that is one of Python's."""
    name, _, message = recorded.partition(": ")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(Exception):  # some take more than a message
            error = kind(message)
            if str(error) == message:
                return error
    return RuntimeError(recorded)
