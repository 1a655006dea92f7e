"""steerio: an asyncio-native framework for steering computational campaigns.

Everything a user needs is importable from here; it is loaded on first use, so that
``import steerio`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from steerio.version import __version__ as __version__

if TYPE_CHECKING:
    from steerio.campaign.advisor import Advisor as Advisor
    from steerio.campaign.attributes import transient as transient
    from steerio.campaign.board import Board as Board
    from steerio.campaign.board_checks import BoardFull as BoardFull
    from steerio.campaign.campaign import Campaign as Campaign
    from steerio.campaign.conducting import conduct as conduct
    from steerio.campaign.item_flows import StreamedItem as StreamedItem
    from steerio.campaign.limits import Limits as Limits
    from steerio.campaign.many_chains import FailedChain as FailedChain
    from steerio.campaign.many_chains import FinishedChain as FinishedChain
    from steerio.campaign.running import run as run
    from steerio.campaign.steered_values import parameter as parameter
    from steerio.campaign.triggers import agent as agent
    from steerio.campaign.triggers import every as every
    from steerio.campaign.triggers import on_event as on_event
    from steerio.campaign.triggers import on_failure as on_failure
    from steerio.campaign.triggers import on_idle as on_idle
    from steerio.campaign.triggers import on_item as on_item
    from steerio.campaign.triggers import on_result as on_result
    from steerio.campaign.triggers import on_success as on_success
    from steerio.edge.encoding.serializers import register_serializer as register_serializer
    from steerio.edge.store.segments import SharedMemoryConnector as SharedMemoryConnector
    from steerio.errors import AgentsGoOn as AgentsGoOn
    from steerio.errors import BatchFailed as BatchFailed
    from steerio.errors import BrokerLost as BrokerLost
    from steerio.errors import CallLost as CallLost
    from steerio.errors import DependencyFailed as DependencyFailed
    from steerio.errors import DrainFailed as DrainFailed
    from steerio.errors import EncodingError as EncodingError
    from steerio.errors import ExecutorBroken as ExecutorBroken
    from steerio.errors import FunctionRefused as FunctionRefused
    from steerio.errors import ItemsDropped as ItemsDropped
    from steerio.errors import ItemsRestarted as ItemsRestarted
    from steerio.errors import JoinRefused as JoinRefused
    from steerio.errors import JournalDamaged as JournalDamaged
    from steerio.errors import JournalFailed as JournalFailed
    from steerio.errors import JournalFenced as JournalFenced
    from steerio.errors import JournalFull as JournalFull
    from steerio.errors import JournalTaken as JournalTaken
    from steerio.errors import MoveDeadlock as MoveDeadlock
    from steerio.errors import MoveFailed as MoveFailed
    from steerio.errors import NotAllowed as NotAllowed
    from steerio.errors import NotAnswered as NotAnswered
    from steerio.errors import ObjectMissing as ObjectMissing
    from steerio.errors import OrderRefused as OrderRefused
    from steerio.errors import PauseFailed as PauseFailed
    from steerio.errors import PickleRefused as PickleRefused
    from steerio.errors import PoolBroken as PoolBroken
    from steerio.errors import ProgramFailed as ProgramFailed
    from steerio.errors import StateError as StateError
    from steerio.errors import SteerioError as SteerioError
    from steerio.errors import StoreFull as StoreFull
    from steerio.errors import TaskCancelled as TaskCancelled
    from steerio.errors import TaskDidNotSucceed as TaskDidNotSucceed
    from steerio.errors import TaskFailed as TaskFailed
    from steerio.errors import TaskLost as TaskLost
    from steerio.errors import TaskTimedOut as TaskTimedOut
    from steerio.errors import UnhandledFailure as UnhandledFailure
    from steerio.errors import UnknownPool as UnknownPool
    from steerio.errors import UsageError as UsageError
    from steerio.launch.needs import Needs as Needs
    from steerio.launch.on_executor import OnExecutor as OnExecutor
    from steerio.launch.workers import Workers as Workers
    from steerio.model.advice import Advice as Advice
    from steerio.model.advice import advice_prompt as advice_prompt
    from steerio.model.campaign_orders import Answer as Answer
    from steerio.model.campaign_orders import CampaignView as CampaignView
    from steerio.model.campaign_orders import CancelTasks as CancelTasks
    from steerio.model.campaign_orders import Checkpoint as Checkpoint
    from steerio.model.campaign_orders import Look as Look
    from steerio.model.campaign_orders import MoveWorkers as MoveWorkers
    from steerio.model.campaign_orders import OrderAnswer as OrderAnswer
    from steerio.model.campaign_orders import PauseAgent as PauseAgent
    from steerio.model.campaign_orders import PausePools as PausePools
    from steerio.model.campaign_orders import RankTasks as RankTasks
    from steerio.model.campaign_orders import ResumeAgent as ResumeAgent
    from steerio.model.campaign_orders import ResumePools as ResumePools
    from steerio.model.campaign_orders import SetParameter as SetParameter
    from steerio.model.campaign_orders import StopCampaign as StopCampaign
    from steerio.model.campaign_orders import SubmitTask as SubmitTask
    from steerio.model.events import Advised as Advised
    from steerio.model.events import Answered as Answered
    from steerio.model.events import Asked as Asked
    from steerio.model.events import BoardChanged as BoardChanged
    from steerio.model.events import BrokerReturned as BrokerReturned
    from steerio.model.events import ClientLost as ClientLost
    from steerio.model.events import Event as Event
    from steerio.model.events import EventsMissed as EventsMissed
    from steerio.model.events import LoopStalled as LoopStalled
    from steerio.model.events import NodeDrained as NodeDrained
    from steerio.model.events import NodeDraining as NodeDraining
    from steerio.model.events import NodeEnding as NodeEnding
    from steerio.model.events import NodeJoined as NodeJoined
    from steerio.model.events import NodeLost as NodeLost
    from steerio.model.events import NodeUndrained as NodeUndrained
    from steerio.model.events import Ordered as Ordered
    from steerio.model.events import ParameterChanged as ParameterChanged
    from steerio.model.events import PoolChanged as PoolChanged
    from steerio.model.events import PoolFailed as PoolFailed
    from steerio.model.events import PoolPaused as PoolPaused
    from steerio.model.events import PoolResumed as PoolResumed
    from steerio.model.events import PoolStalled as PoolStalled
    from steerio.model.events import Published as Published
    from steerio.model.events import QuestionClosed as QuestionClosed
    from steerio.model.events import TaskEnded as TaskEnded
    from steerio.model.events import TaskProgress as TaskProgress
    from steerio.model.events import TaskQueued as TaskQueued
    from steerio.model.events import TaskRetried as TaskRetried
    from steerio.model.events import TaskStarted as TaskStarted
    from steerio.model.events import TaskYielded as TaskYielded
    from steerio.model.events import VersionPublished as VersionPublished
    from steerio.model.events import WorkerJoined as WorkerJoined
    from steerio.model.events import WorkerLost as WorkerLost
    from steerio.model.events import WorkerMoved as WorkerMoved
    from steerio.model.events import WorkerRetired as WorkerRetired
    from steerio.model.objects import StoreLoad as StoreLoad
    from steerio.model.objects import StoreSetting as StoreSetting
    from steerio.model.results import Cancelled as Cancelled
    from steerio.model.results import Failed as Failed
    from steerio.model.results import Lost as Lost
    from steerio.model.results import Result as Result
    from steerio.model.results import Sizes as Sizes
    from steerio.model.results import Succeeded as Succeeded
    from steerio.model.results import TaskError as TaskError
    from steerio.model.results import TimedOut as TimedOut
    from steerio.model.results import Timings as Timings
    from steerio.model.roles import Budget as Budget
    from steerio.model.settings import Settings as Settings
    from steerio.model.status import NodeStatus as NodeStatus
    from steerio.model.status import PoolLoad as PoolLoad
    from steerio.session.arguments import NotKept as NotKept
    from steerio.session.blocks import Blocks as Blocks
    from steerio.session.executables import executable as executable
    from steerio.session.executables import mpi_task as mpi_task
    from steerio.session.joblib_backend import joblib_backend as joblib_backend
    from steerio.session.mlflow_versions import MlflowVersions as MlflowVersions
    from steerio.session.moves import Lease as Lease
    from steerio.session.moves import Move as Move
    from steerio.session.nodes import Nodes as Nodes
    from steerio.session.opening import connect as connect
    from steerio.session.opening import open_session as open_session
    from steerio.session.opening_executor import open_executor as open_executor
    from steerio.session.pools import Pools as Pools
    from steerio.session.reference import Reference as Reference
    from steerio.session.rules import FirstThen as FirstThen
    from steerio.session.rules import KeepIdle as KeepIdle
    from steerio.session.rules import Priority as Priority
    from steerio.session.rules import Proportional as Proportional
    from steerio.session.rules import Rule as Rule
    from steerio.session.rules import at_least as at_least
    from steerio.session.rules import at_most as at_most
    from steerio.session.session import Session as Session
    from steerio.session.task import Task as Task
    from steerio.session.task_type import TaskType as TaskType
    from steerio.session.task_type import task as task
    from steerio.session.versions import Versions as Versions
    from steerio.worker.context import gang as gang
    from steerio.worker.context import random_seed as random_seed
    from steerio.worker.context import report as report
    from steerio.worker.context import should_stop as should_stop
    from steerio.worker.meeting import Gang as Gang
    from steerio.worker.programs import Command as Command
    from steerio.worker.programs import Commands as Commands
    from steerio.worker.programs import Completed as Completed
    from steerio.worker.resources import Resource as Resource
    from steerio.worker.resources import resource as resource

_HOMES = {
    "steerio.session.arguments": ["NotKept"],
    "steerio.campaign.advisor": ["Advisor"],
    "steerio.model.advice": ["Advice", "advice_prompt"],
    "steerio.campaign.board": ["Board"],
    "steerio.campaign.board_checks": ["BoardFull"],
    "steerio.campaign.campaign": ["Campaign"],
    "steerio.campaign.attributes": ["transient"],
    "steerio.campaign.conducting": ["conduct"],
    "steerio.session.task": ["Task"],
    "steerio.campaign.limits": ["Limits"],
    "steerio.campaign.many_chains": ["FailedChain", "FinishedChain"],
    "steerio.campaign.item_flows": ["StreamedItem"],
    "steerio.session.joblib_backend": ["joblib_backend"],
    "steerio.session.executables": ["executable", "mpi_task"],
    "steerio.session.mlflow_versions": ["MlflowVersions"],
    "steerio.session.blocks": ["Blocks"],
    "steerio.session.nodes": ["Nodes"],
    "steerio.session.opening": ["connect", "open_session"],
    "steerio.session.opening_executor": ["open_executor"],
    "steerio.session.moves": ["Lease", "Move"],
    "steerio.session.pools": ["Pools"],
    "steerio.session.reference": ["Reference"],
    "steerio.session.rules": [
        "FirstThen", "KeepIdle", "Priority", "Proportional", "Rule", "at_least", "at_most",
    ],
    "steerio.campaign.running": ["run"],
    "steerio.session.session": ["Session"],
    "steerio.session.task_type": ["TaskType", "task"],
    "steerio.campaign.triggers": [
        "agent", "every", "on_event", "on_failure", "on_idle", "on_item", "on_result",
        "on_success",
    ],
    "steerio.campaign.steered_values": ["parameter"],
    "steerio.model.campaign_orders": [
        "Answer", "CampaignView", "CancelTasks", "Checkpoint", "Look", "MoveWorkers", "OrderAnswer",
        "PauseAgent", "PausePools", "RankTasks", "ResumeAgent", "ResumePools", "SetParameter",
        "StopCampaign", "SubmitTask",
    ],
    "steerio.model.roles": ["Budget"],
    "steerio.session.versions": ["Versions"],
    "steerio.model.settings": ["Settings"],
    "steerio.edge.store.segments": ["SharedMemoryConnector"],
    "steerio.edge.encoding.serializers": ["register_serializer"],
    "steerio.errors": [
        "AgentsGoOn", "BatchFailed", "BrokerLost", "CallLost", "DependencyFailed", "DrainFailed",
        "EncodingError", "ExecutorBroken", "FunctionRefused",
        "ItemsDropped", "ItemsRestarted", "JoinRefused", "JournalDamaged", "JournalFailed",
        "JournalFenced", "JournalFull", "JournalTaken", "MoveDeadlock", "MoveFailed",
        "NotAllowed", "NotAnswered", "ObjectMissing", "OrderRefused", "PauseFailed",
        "PickleRefused", "PoolBroken", "ProgramFailed", "StateError", "SteerioError",
        "StoreFull", "TaskCancelled", "TaskDidNotSucceed", "TaskFailed", "TaskLost", "TaskTimedOut",
        "UnhandledFailure", "UnknownPool", "UsageError",
    ],
    "steerio.launch.needs": ["Needs"],
    "steerio.launch.on_executor": ["OnExecutor"],
    "steerio.launch.workers": ["Workers"],
    "steerio.model.events": [
        "Advised", "Answered", "Asked", "BoardChanged", "BrokerReturned", "ClientLost", "Event",
        "EventsMissed", "LoopStalled",
        "NodeDrained", "NodeDraining", "NodeEnding", "NodeJoined", "NodeLost", "NodeUndrained",
        "PoolChanged", "PoolFailed",
        "Ordered", "ParameterChanged", "PoolPaused", "PoolResumed", "PoolStalled", "Published",
        "QuestionClosed", "TaskEnded", "TaskProgress",
        "TaskQueued", "TaskRetried",
        "TaskStarted", "TaskYielded", "VersionPublished", "WorkerJoined", "WorkerLost",
        "WorkerMoved", "WorkerRetired",
    ],
    "steerio.model.objects": ["StoreLoad", "StoreSetting"],
    "steerio.model.results": [
        "Cancelled", "Failed", "Lost", "Result", "Sizes", "Succeeded", "TaskError", "TimedOut",
        "Timings",
    ],
    "steerio.model.status": ["NodeStatus", "PoolLoad"],
    "steerio.worker.context": ["gang", "random_seed", "report", "should_stop"],
    "steerio.worker.meeting": ["Gang"],
    "steerio.worker.programs": ["Command", "Commands", "Completed"],
    "steerio.worker.resources": ["Resource", "resource"],
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Advice",
    "Advised",
    "Advisor",
    "AgentsGoOn",
    "Answer",
    "Answered",
    "Asked",
    "BatchFailed",
    "Blocks",
    "Board",
    "BoardChanged",
    "BoardFull",
    "BrokerLost",
    "BrokerReturned",
    "Budget",
    "CallLost",
    "Campaign",
    "CampaignView",
    "CancelTasks",
    "Cancelled",
    "Checkpoint",
    "ClientLost",
    "Command",
    "Commands",
    "Completed",
    "DrainFailed",
    "EncodingError",
    "Event",
    "EventsMissed",
    "ExecutorBroken",
    "Failed",
    "FailedChain",
    "FinishedChain",
    "FirstThen",
    "FunctionRefused",
    "Gang",
    "ItemsDropped",
    "ItemsRestarted",
    "JoinRefused",
    "JournalDamaged",
    "JournalFailed",
    "JournalFenced",
    "JournalFull",
    "JournalTaken",
    "KeepIdle",
    "Lease",
    "Limits",
    "Look",
    "LoopStalled",
    "Lost",
    "MlflowVersions",
    "Move",
    "MoveDeadlock",
    "MoveFailed",
    "MoveWorkers",
    "Needs",
    "NodeDrained",
    "NodeDraining",
    "NodeEnding",
    "NodeJoined",
    "NodeLost",
    "NodeStatus",
    "NodeUndrained",
    "Nodes",
    "NotAnswered",
    "NotKept",
    "ObjectMissing",
    "OnExecutor",
    "OrderAnswer",
    "OrderRefused",
    "Ordered",
    "ParameterChanged",
    "PauseAgent",
    "PauseFailed",
    "PausePools",
    "PickleRefused",
    "PoolBroken",
    "PoolChanged",
    "PoolFailed",
    "PoolLoad",
    "PoolPaused",
    "PoolResumed",
    "PoolStalled",
    "Pools",
    "Priority",
    "ProgramFailed",
    "Proportional",
    "Published",
    "QuestionClosed",
    "RankTasks",
    "Reference",
    "Resource",
    "Result",
    "ResumeAgent",
    "ResumePools",
    "Rule",
    "Session",
    "SetParameter",
    "Settings",
    "SharedMemoryConnector",
    "Sizes",
    "StateError",
    "SteerioError",
    "StopCampaign",
    "StoreFull",
    "StoreLoad",
    "StoreSetting",
    "StreamedItem",
    "SubmitTask",
    "Succeeded",
    "Task",
    "TaskCancelled",
    "TaskDidNotSucceed",
    "TaskEnded",
    "TaskError",
    "TaskFailed",
    "TaskLost",
    "TaskProgress",
    "TaskQueued",
    "TaskRetried",
    "TaskStarted",
    "TaskTimedOut",
    "TaskType",
    "TaskYielded",
    "TimedOut",
    "Timings",
    "UnhandledFailure",
    "UnknownPool",
    "UsageError",
    "VersionPublished",
    "Versions",
    "WorkerJoined",
    "WorkerLost",
    "WorkerMoved",
    "WorkerRetired",
    "Workers",
    "advice_prompt",
    "agent",
    "at_least",
    "at_most",
    "conduct",
    "connect",
    "every",
    "executable",
    "gang",
    "joblib_backend",
    "mpi_task",
    "on_event",
    "on_failure",
    "on_idle",
    "on_item",
    "on_result",
    "on_success",
    "open_executor",
    "open_session",
    "parameter",
    "random_seed",
    "register_serializer",
    "report",
    "resource",
    "run",
    "should_stop",
    "task",
    "transient",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'steerio' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
