"""The packing of a call: from its arguments to the body and frames that the broker is sent."""

from __future__ import annotations

from typing import Any, Protocol

from steerio.client.client import Client
from steerio.edge.encoding.references import BareReference, UsedReferences, gather, references_exist
from steerio.edge.encoding.snapshots import Snapshots
from steerio.edge.encoding.values import total_bytes
from steerio.edge.wire.cutting import check_frames
from steerio.edge.wire.endpoint import Frames
from steerio.errors import FunctionRefused, UsageError
from steerio.model.allowed import how_allowed
from steerio.model.bounds import MOST_NEEDED
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.session.arguments import Given, as_submitted
from steerio.session.session_store import SessionStore
from steerio.session.task import Task
from steerio.session.task_code import is_importable
from steerio.session.task_type import TaskType

PackedCall = tuple[TaskSpec, bytes, Frames, Inputs | None, bool, Given, bool]
"""Spec, body, frames, the inputs they need, whether the frames go into the store, the arguments,
and whether these are nothing but atoms by position."""


class Sends(Protocol):
    """A session, as seen by a task that is sent."""

    client: Client
    store: SessionStore


NO_REFERENCES: dict[bytes, BareReference] = {}


def packed_call(
    store: SessionStore,
    snapshots: Snapshots,
    kind: TaskType[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    spec: TaskSpec | None = None,
    used: UsedReferences | None = None,
) -> PackedCall:
    """Encode the arguments of a call, and its function, as they are now.

    Or the function as it was: then ``spec`` is that, and ``used`` has the references in it.

    Raises:
        TypeError, EncodingError: as for `Session.submit`.
        UsageError: a reference is of another session, or there are too many.
        FunctionRefused: the workers would not run the function.
    """
    if store.client.allow is not None:
        _check_allowed(kind, store.client.allow)
    codec = kind.codec
    references = NO_REFERENCES
    inputs = None
    usual = None if kwargs else codec.pack_atoms(args)
    if references_exist():
        with used or gather() as used:
            spec = spec or kind.spec
            body, frames = codec.pack(args, kwargs) if usual is None else (usual, ())
        store.check(used, kind.name)
        references = used.references
        objects, latest = used.objects, used.latest
        if objects or latest:
            inputs = _inputs(objects, latest)
    else:
        spec = spec or kind.spec
        if usual is not None:
            return spec, usual, (), None, False, (args, kwargs), True
        body, frames = codec.pack(args, kwargs)
    nbytes = total_bytes(frames) if frames else 0
    stored = nbytes > 0 and store.takes(nbytes, spec)
    if nbytes and not stored:  # it is sent later, and again if it has to be retried
        check_frames(frames, f"the arguments of {kind.name}")
        frames = snapshots.take(frames)
    given = as_submitted(codec, args, kwargs, body, frames, references)
    return spec, body, frames, inputs, stored, given, usual is not None


def _check_allowed(kind: TaskType[..., Any], allow: tuple[str, ...]) -> None:
    """Refuse a function that the workers would.

    Raises:
        FunctionRefused: it is not among those that they run, or they do not find it by its name.
    """
    if not is_importable(kind.function, kind.name):
        raise FunctionRefused(
            kind.name,
            "workers do not find it by this name, and no code is sent to them: put it at the top "
            "level of a module that they can import",
        )
    if not how_allowed(kind.name, allow):
        raise FunctionRefused(kind.name, f"allowed are {', '.join(allow) or 'none'}")


def _inputs(objects: list[StoredObject], latest: list[str]) -> Inputs:
    if len(objects) + len(latest) > MOST_NEEDED:
        raise UsageError(
            f"a task may be given {MOST_NEEDED} references, not {len(objects) + len(latest)}: put "
            "their values into the store together, as one value"
        )
    return Inputs(None, tuple(objects), tuple(latest))


def send_packed(session: Sends, task: Task[Any], packed: PackedCall) -> None:
    """Submit a task of a session, whose id is reserved; its recorder is told."""
    client, store = session.client, session.store
    spec, body, frames, inputs, stored, _, _ = packed
    if stored:
        put_and_send(client, store, task, spec, body, frames, task.options, inputs)
    else:
        about = (task.options, task.tags or None, task.cause, task.created, inputs, task.because)
        client.submit(task.id, spec, body, frames, *about)


def put_and_send(
    client: Client,
    store: SessionStore,
    task: Task[Any],
    spec: TaskSpec,
    body: bytes,
    frames: Frames,
    options: TaskOptions,
    inputs: Inputs | None,
) -> None:
    """Submit a task whose id is reserved once its frames, as they are now, are in the store."""
    number = task.id
    tags = task.tags or None
    known = inputs or Inputs()
    for needed in known.objects:  # until the broker knows that the task needs it
        client.objects.hold(needed)

    def put(stored: StoredObject | None, error: Exception | None) -> None:
        if not client.is_reserved(number):
            if stored is not None:
                store.discard(stored)
        elif stored is None:
            reason = f"its arguments could not be put into the store: {error}"
            client.give_up(number, "lost", reason)
        else:
            needs = Inputs(stored, known.objects, known.latest)
            about = (options, tags, task.cause, task.created, needs, task.because)
            client.submit(number, spec, body, (), *about)
        for needed in known.objects:
            client.objects.let_go(needed.name)

    store.put_frames(frames, total_bytes(frames), spec.pool, put)
