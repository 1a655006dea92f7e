"""The messages of clients to the broker, but for those about pools, which `pool_requests` has.

Nodes, too, send `Beat` and `Leave`.  A request with an answer carries the client's own number for
it (``request``), by which the client knows the answer.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.events import Announcement
from steerio.model.objects import Inputs, StoredObject
from steerio.model.tasks import TaskOptions, TaskSpec

IN_WORKER = "STEERIO_WORKER"
"""The variable that tells programs which worker's task they run in: a `JoinClient.worker`."""


class JoinClient(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """A client asks to be let in; the broker refuses every other message of a stranger.

    ``worker`` is the worker in whose task the client runs, if in any: its name and process,
    ``name:pid``. With ``observes`` it only looks on; a client with the key of observers does in any
    case. ``returns`` is the number that it had, if it was in before and comes back: its tasks have
    their ids by it. If it is ``detached`` its tasks go on when it leaves, and the next client that
    joins so under this name takes its place; ``session`` is the number that it had among these.
    """

    protocol: int
    name: str
    worker: str = ""
    observes: bool = False
    returns: int = -1
    detached: bool = False
    session: int = 0


class DefineTask(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Make a task type known under a number (chosen by the sender, for its own link).

    Code that is too long for a header travels as the frame of this message, on that way only.
    """

    type_id: int
    spec: TaskSpec
    frames: int = 0


class ForgetTypes(Struct, frozen=True, gc=False, array_like=True, tag=23):
    """These task types are not used any more under these numbers.

    A client says so to the broker, of types that it defined; the broker to workers, once no client
    knows a type and all its tasks have ended.
    """

    types: list[int]


class SubmitTask(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Queue a task; ``created`` is in Unix seconds.

    ``cause`` names the agent that submitted it, and ``because`` the results that it handled then.
    ``again``: another broker had it before, since it was created; ``attempts`` is the last attempt
    at it of which the client heard from that.
    """

    task_id: int
    type_id: int
    created: float
    body: bytes
    frames: int
    options: TaskOptions
    tags: dict[str, str] | None
    cause: str
    inputs: Inputs | None = None
    because: tuple[int, ...] = ()
    attempts: int = 0
    again: bool = False


class TakeOrders(Struct, frozen=True, gc=False, array_like=True, tag=84):
    """I am a campaign, and take orders from now on; or (``takes=False``) no longer."""

    takes: bool = True


class GiveOrder(Struct, frozen=True, gc=False, array_like=True, tag=85):
    """Pass an order to a campaign; `OrderNews` answers.

    ``to`` is the name of its client; empty: the only one that takes orders.
    """

    request: int
    to: str
    given: GivenOrder


class AskLook(Struct, frozen=True, gc=False, array_like=True, tag=46):
    """Pass a `Look` to a campaign, as `GiveOrder` does; observers may, too."""

    request: int
    to: str = ""


class OrderDone(Struct, frozen=True, gc=False, array_like=True, tag=47):
    """A campaign's answer to the order that the broker passed to it under this number."""

    number: int
    answer: OrderAnswer


class Announce(Struct, frozen=True, gc=False, array_like=True, tag=48):
    """A campaign tells of itself; `Announced` says under which number.

    The broker numbers and times the event, and enters the campaign's name.
    """

    request: int
    event: Announcement


class AskLedger(Struct, frozen=True, gc=False, array_like=True, tag=24):
    """Tell me, a detached client, tasks of my ledger, and the results of those that ended.

    ``start`` is the place of the first, in the order in which they were submitted.
    """

    request: int
    start: int


class AskResults(Struct, frozen=True, gc=False, array_like=True, tag=29):
    """Tell me the results of these tasks of my ledger, as far as they have ended: I am back."""

    tasks: list[int]


class ForgetTasks(Struct, frozen=True, gc=False, array_like=True, tag=25):
    """Tasks of my ledger that ended, and whose results I will not ask for again."""

    tasks: list[int]


class CancelTasks(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """Cancel tasks, queued or running.

    With ``queued_only`` those that are in a worker's hands go on, but are not tried again.
    """

    tasks: list[int]
    reason: str
    queued_only: bool = False


class Reprioritise(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Give queued tasks new priorities."""

    changes: list[tuple[int, float]]


class Subscribe(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Send me events from now on (or after event ``since``); ``None`` filters nothing."""

    subscription: int
    types: list[str] | None
    task_type: str | None
    pool: str | None
    since: int | None


class Unsubscribe(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Send no more events of this subscription."""

    subscription: int


class Publish(Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Publish a user's event; ``body`` is its encoded value."""

    topic: str
    body: bytes


class AskStatus(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """Ask once for the broker's whole status."""

    request: int


class AskWhy(Struct, frozen=True, gc=False, array_like=True, tag=28):
    """Ask once why a task runs or waits now; it may be another client's."""

    request: int
    task_id: int


class WatchTasks(Struct, frozen=True, gc=False, array_like=True, tag=45):
    """Tell me the states of my tasks now, and whenever one starts or is queued again."""


class GrantItems(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """The submitter of a generator task has room for ``count`` more items.

    0: there is no reader. No attempt at the task is held back any more, and none sends its items.
    """

    task_id: int
    count: int


class ReassignTasks(Struct, frozen=True, gc=False, array_like=True, tag=17):
    """Have queued tasks wait in another pool."""

    tasks: list[int]
    pool: str


class HoldObject(Struct, frozen=True, gc=False, array_like=True, tag=42):
    """I put this object into the store, and need it until I let it go."""

    stored: StoredObject


class LetGo(Struct, frozen=True, gc=False, array_like=True, tag=43):
    """I need these objects no more: an object named twice has two holds less."""

    names: list[bytes]


class PublishVersion(Struct, frozen=True, gc=False, array_like=True, tag=44):
    """This object is the next version of a name; `VersionNews` says which number it got.

    That is ``number`` or more: a campaign that is resumed goes on where its numbers were.
    """

    request: int
    name: str
    stored: StoredObject
    number: int = 1


class AskVersion(Struct, frozen=True, gc=False, array_like=True, tag=41):
    """Tell me of the newest version of a name, once there is one newer than ``after``.

    I then hold its object.
    """

    request: int
    name: str
    after: int


class Beat(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """I am alive.  ``sent`` is the sender's clock, ``offset_s`` its lag behind the broker's.

    ``trip_s`` is how long a node's beat and its answer take, as far as it knows.
    ``said`` counts a node's messages about its workers up to here, so that a lost one shows.
    """

    sent: float
    offset_s: float | None
    trip_s: float = 0.0
    said: int = 0


class Leave(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """I am leaving in good order; nodes say why."""

    reason: str = ""


class StopBroker(Struct, frozen=True, gc=False, array_like=True, tag=14):
    """End the broker with everything that joined it."""

    reason: str
