"""Messages: the closed unions that cross a wire, by sender and by receiver.

``ToBroker`` is every message the broker accepts, ``FromBroker`` every one it sends; nothing else
decodes, and a peer decodes only those that are for its like.  Structs are arrays on the wire
(``array_like``) with an integer tag, so a header costs under a microsecond.  A ``frames`` field
counts the out-of-band frames that belong to the message and follow the headers, in order (see
``edge.wire.headers``).

``run`` numbers one attempt of one task, uniquely per broker: a report that names a
run the broker no longer has is late, and is dropped.

Each sender's messages stand in a module of their own, those of clients in two; this module has all
of them, for the code that sends or takes in some.
"""

from __future__ import annotations

from steerio.model.from_broker import Accepted as Accepted
from steerio.model.from_broker import Announced as Announced
from steerio.model.from_broker import AskAccount as AskAccount
from steerio.model.from_broker import BeatAnswer as BeatAnswer
from steerio.model.from_broker import Closing as Closing
from steerio.model.from_broker import Events as Events
from steerio.model.from_broker import FetchAhead as FetchAhead
from steerio.model.from_broker import ForgetObjects as ForgetObjects
from steerio.model.from_broker import GrantRun as GrantRun
from steerio.model.from_broker import LedgerTask as LedgerTask
from steerio.model.from_broker import LedgerTasks as LedgerTasks
from steerio.model.from_broker import MeetAt as MeetAt
from steerio.model.from_broker import MoveNews as MoveNews
from steerio.model.from_broker import NodeNews as NodeNews
from steerio.model.from_broker import OrderNews as OrderNews
from steerio.model.from_broker import PassOrder as PassOrder
from steerio.model.from_broker import PauseNews as PauseNews
from steerio.model.from_broker import Refused as Refused
from steerio.model.from_broker import ReturnHeld as ReturnHeld
from steerio.model.from_broker import RunTask as RunTask
from steerio.model.from_broker import SignalWorker as SignalWorker
from steerio.model.from_broker import StartWorker as StartWorker
from steerio.model.from_broker import StopRunning as StopRunning
from steerio.model.from_broker import TakeBack as TakeBack
from steerio.model.from_broker import TaskItem as TaskItem
from steerio.model.from_broker import TaskReason as TaskReason
from steerio.model.from_broker import TaskSettled as TaskSettled
from steerio.model.from_broker import TaskStates as TaskStates
from steerio.model.from_broker import TellWorker as TellWorker
from steerio.model.from_broker import VersionNews as VersionNews
from steerio.model.from_clients import Announce as Announce
from steerio.model.from_clients import AskLedger as AskLedger
from steerio.model.from_clients import AskLook as AskLook
from steerio.model.from_clients import AskResults as AskResults
from steerio.model.from_clients import AskStatus as AskStatus
from steerio.model.from_clients import AskVersion as AskVersion
from steerio.model.from_clients import AskWhy as AskWhy
from steerio.model.from_clients import Beat as Beat
from steerio.model.from_clients import CancelTasks as CancelTasks
from steerio.model.from_clients import DefineTask as DefineTask
from steerio.model.from_clients import ForgetTasks as ForgetTasks
from steerio.model.from_clients import ForgetTypes as ForgetTypes
from steerio.model.from_clients import GiveOrder as GiveOrder
from steerio.model.from_clients import GrantItems as GrantItems
from steerio.model.from_clients import HoldObject as HoldObject
from steerio.model.from_clients import JoinClient as JoinClient
from steerio.model.from_clients import Leave as Leave
from steerio.model.from_clients import LetGo as LetGo
from steerio.model.from_clients import OrderDone as OrderDone
from steerio.model.from_clients import Publish as Publish
from steerio.model.from_clients import PublishVersion as PublishVersion
from steerio.model.from_clients import ReassignTasks as ReassignTasks
from steerio.model.from_clients import Reprioritise as Reprioritise
from steerio.model.from_clients import StopBroker as StopBroker
from steerio.model.from_clients import SubmitTask as SubmitTask
from steerio.model.from_clients import Subscribe as Subscribe
from steerio.model.from_clients import TakeOrders as TakeOrders
from steerio.model.from_clients import Unsubscribe as Unsubscribe
from steerio.model.from_clients import WatchTasks as WatchTasks
from steerio.model.from_nodes import Account as Account
from steerio.model.from_nodes import JoinNode as JoinNode
from steerio.model.from_nodes import JoinWorker as JoinWorker
from steerio.model.from_nodes import KeptWorker as KeptWorker
from steerio.model.from_nodes import NotBegun as NotBegun
from steerio.model.from_nodes import RemoteError as RemoteError
from steerio.model.from_nodes import Report as Report
from steerio.model.from_nodes import ReportPort as ReportPort
from steerio.model.from_nodes import ReportProgress as ReportProgress
from steerio.model.from_nodes import ReturnTask as ReturnTask
from steerio.model.from_nodes import WorkerAccount as WorkerAccount
from steerio.model.from_nodes import WorkerExited as WorkerExited
from steerio.model.from_nodes import WorkerSaid as WorkerSaid
from steerio.model.from_nodes import YieldItem as YieldItem
from steerio.model.pool_requests import AskDrain as AskDrain
from steerio.model.pool_requests import AskMove as AskMove
from steerio.model.pool_requests import AskPause as AskPause
from steerio.model.pool_requests import AskResume as AskResume
from steerio.model.pool_requests import AskUndrain as AskUndrain
from steerio.model.pool_requests import AwaitMove as AwaitMove
from steerio.model.pool_requests import EndMove as EndMove
from steerio.model.pool_requests import WatchPools as WatchPools
from steerio.model.status import PoolStatus as PoolStatus
from steerio.model.status import Status as Status

PROTOCOL = 15
"""Version of these unions; checked on joining, for both sides must speak the same."""

Introduction = JoinClient | JoinNode | JoinWorker
"""The first message of a peer."""

FromClient = (
    DefineTask
    | ForgetTypes
    | SubmitTask
    | CancelTasks
    | Reprioritise
    | Subscribe
    | Unsubscribe
    | Publish
    | WatchPools
    | WatchTasks
    | AskStatus
    | AskWhy
    | GrantItems
    | AskMove
    | EndMove
    | AwaitMove
    | ReassignTasks
    | HoldObject
    | LetGo
    | PublishVersion
    | AskVersion
    | AskDrain
    | AskUndrain
    | AskPause
    | AskResume
    | TakeOrders
    | GiveOrder
    | AskLook
    | OrderDone
    | Announce
    | AskLedger
    | AskResults
    | ForgetTasks
    | StopBroker
    | Beat
    | Leave
)
"""Everything that a client says once it has joined."""

FromObserver = Subscribe | Unsubscribe | WatchPools | AskStatus | AskWhy | AskLook | Beat | Leave
"""All of it that an observer may say."""

FromNode = WorkerSaid | WorkerExited | NotBegun | Account | Beat | Leave
"""Everything that a node says once it has joined."""

FromWorker = Report | ReturnTask | YieldItem | ReportProgress | ReportPort
"""Everything that a worker says once it has joined."""

Relayed = JoinWorker | FromWorker
"""Everything that a worker says, and so all that a node passes on."""

ToBroker = Introduction | FromClient | FromNode | FromWorker
"""Everything a broker accepts."""

ToClient = (
    Accepted
    | Refused
    | BeatAnswer
    | Closing
    | TaskSettled
    | TaskItem
    | TaskStates
    | Events
    | PoolStatus
    | Status
    | MoveNews
    | VersionNews
    | NodeNews
    | LedgerTasks
    | PauseNews
    | TaskReason
    | PassOrder
    | OrderNews
    | Announced
)
"""Everything a broker says to a client."""

ToNode = (
    Accepted
    | Refused
    | BeatAnswer
    | Closing
    | StartWorker
    | StopRunning
    | SignalWorker
    | TakeBack
    | TellWorker
    | AskAccount
    | FetchAhead
    | ForgetObjects
)
"""Everything a broker says to a node."""

ToWorker = (
    Accepted
    | Refused
    | Closing
    | DefineTask
    | ForgetTypes
    | RunTask
    | ReturnHeld
    | GrantRun
    | MeetAt
)
"""Everything a broker says to a worker."""

FromBroker = ToClient | ToNode | ToWorker
"""Everything a broker sends."""
