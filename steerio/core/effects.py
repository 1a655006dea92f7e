"""Effects: a closed union of the core's orders to the broker.

The core appends effects to a list; the broker performs them in that order.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from steerio.core.lifecycle import GONE, MoveState
from steerio.core.records import MoveRecord, NodeRecord, TaskRecord, TypeRecord, WorkerRecord
from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.messages import RemoteError
from steerio.model.moving import DrainEnd
from steerio.model.objects import StoredObject
from steerio.model.tasks import EndedAs, GangPlace, SignalName


class Ending(Struct, frozen=True, gc=False):
    """How a task ended: everything a result needs that its record does not hold."""

    ended_as: EndedAs
    body: bytes = b""
    frames: tuple[Any, ...] = ()
    error: RemoteError | None = None
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    stored: StoredObject | None = None


class DefineType(Struct, frozen=True, gc=False):
    """Tell a worker of a task type, by its id: tasks of it will come."""

    worker: WorkerRecord
    type: TypeRecord


class SendTask(Struct, frozen=True, gc=False):
    """Send this attempt to its worker; ``place``: that has this place in a gang."""

    worker: WorkerRecord
    record: TaskRecord
    place: GangPlace | None = None


class Grant(Struct, frozen=True, gc=False):
    """Let the generator of this attempt yield ``count`` more items; 0: there is no reader."""

    worker: WorkerRecord
    run: int
    count: int


class RecallTask(Struct, frozen=True, gc=False):
    """Keep the worker from beginning this attempt, if it has not; it then comes back."""

    worker: WorkerRecord
    run: int


class AskToStop(Struct, frozen=True, gc=False):
    """Raise the cooperative signal for the attempt that the worker runs."""

    worker: WorkerRecord
    run: int


class TellPort(Struct, frozen=True, gc=False):
    """Tell a worker of a gang the port at which its first one is reached, and their token."""

    worker: WorkerRecord
    run: int
    port: int
    token: bytes


class Signal(Struct, frozen=True, gc=False):
    """Send the worker's process group ``term`` or ``kill``."""

    worker: WorkerRecord
    run: int
    signal: SignalName


class Start(Struct, frozen=True, gc=False):
    """Start this worker on its node."""

    node: NodeRecord
    worker: WorkerRecord


class Discard(Struct, frozen=True, gc=False):
    """Have a node end a worker that it has kept, and of which nothing is known here."""

    node: NodeRecord
    worker: str


class Retire(Struct, frozen=True, gc=False):
    """Have this worker end in good order: a fresh process takes its place, or none."""

    worker: WorkerRecord


class TellMove(Struct, frozen=True, gc=False):
    """Tell the client how far its move is; ``reason``: why it ended other than asked.

    ``came`` and ``gone`` are the workers that are, or are no longer, at the target for it since it
    was last told; of one that has ended all are gone.
    """

    move: MoveRecord
    state: MoveState | Literal["deadlocked"]
    came: list[str]
    gone: list[str]
    reason: str = ""


class TellNode(Struct, frozen=True, gc=False):
    """Tell a client the end of its request to drain a node; ``reason``: why that."""

    client: int
    request: int
    state: DrainEnd
    reason: str = ""


class TellPause(Struct, frozen=True, gc=False):
    """Tell a client that a pool's pause has taken effect, or for which reason it never will."""

    client: int
    request: int
    reason: str


class SendOrder(Struct, frozen=True, gc=False):
    """Pass an order to a campaign, under this number; ``at_event``: the last event's."""

    taker: int
    number: int
    given: GivenOrder
    at_event: int


class TellOrder(Struct, frozen=True, gc=False):
    """Tell the giver of an order its answer."""

    giver: int
    request: int
    answer: OrderAnswer


class Dismiss(Struct, frozen=True, gc=False):
    """Tell a node that it may end, in good order."""

    peer: int
    reason: str


class Expel(Struct, frozen=True, gc=False):
    """Tell a peer that it is no longer let in."""

    peer: int
    reason: str


class FreeObjects(Struct, frozen=True, gc=False):
    """Remove these objects from the store: they are not needed any more."""

    names: list[bytes]


class ForgetCopies(Struct, frozen=True, gc=False):
    """Have a node keep no copies of these objects, which were freed."""

    node: NodeRecord
    names: list[bytes]


class SweepObjects(Struct, frozen=True, gc=False):
    """Remove all that these makers, which are gone, put into the store without telling."""

    makers: list[str]


class FetchCopies(Struct, frozen=True, gc=False):
    """Have a node fetch the objects of a task that will run there."""

    node: NodeRecord
    objects: list[StoredObject]


class UndefineTypes(Struct, frozen=True, gc=False):
    """Tell a worker to forget these task types, by their ids: no task of them will come."""

    worker: WorkerRecord
    types: list[int]


class Settle(Struct, frozen=True, gc=False):
    """Tell the task's client (and the record) how it ended."""

    record: TaskRecord
    ending: Ending


Effect = (
    DefineType
    | SendTask
    | Grant
    | RecallTask
    | AskToStop
    | TellPort
    | Signal
    | Start
    | Discard
    | Retire
    | TellMove
    | TellNode
    | TellPause
    | SendOrder
    | TellOrder
    | Dismiss
    | Expel
    | Settle
    | FreeObjects
    | ForgetCopies
    | SweepObjects
    | FetchCopies
    | UndefineTypes
)
"""Everything the core can want."""

ForWorker = SendTask | Grant | RecallTask | AskToStop | TellPort | Signal
"""Those about a task in a worker's hands: void once that worker has ended."""


def is_void(effect: Effect) -> bool:
    """Say whether an effect is about a task in the hands of a worker that has ended by now.

    If that was lost in the step in which it was sent the task, or told to stop it, the task has
    ended, or waits again, or is at another worker.
    """
    return isinstance(effect, ForWorker) and effect.worker.phase is GONE
