"""The arguments of each tool, typed and bounded, and their JSON schemas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from steerio.model.bounds import NAME_CHARACTERS
from steerio.model.campaign_orders import (
    Answer,
    CancelTasks,
    Checkpoint,
    MoveWorkers,
    PauseAgent,
    PausePools,
    RankTasks,
    ResumeAgent,
    ResumePools,
    SetParameter,
    StopCampaign,
    SubmitTask,
)
from steerio.model.events import AnyEvent, EventsMissed

MOST_WAIT_S = 60.0
"""The longest time that a tool waits."""
MOST_ORDERS = 20
"""Orders in one call."""
MOST_STORIES, MOST_TASKS = 10, 50
"""Tasks whose stories, and whose results, are told in one call."""
MOST_EVENTS, MOST_FAILURES = 200, 20
if TYPE_CHECKING:
    EventKind = str
else:
    EventKind = Literal[tuple(k.__name__ for k in get_args(AnyEvent) if k is not EventsMissed)]
"""The types of events that an assistant may ask for: all that a record has."""
_UNKNOWN = re.compile(
    r"(?:Object contains unknown (field)|Invalid (?:enum )?(value)) (.*?)( - at `\$[\w.\[\]]*`)?",
    re.DOTALL,
)
_NAME = re.compile(r"\w{1,40}", re.ASCII)

Name = Annotated[str, Meta(max_length=NAME_CHARACTERS)]
TaskId = Annotated[int, Meta(ge=0, le=(1 << 63) - 1, description="The number of a task.")]
Campaign = Annotated[
    str,
    Meta(
        max_length=NAME_CHARACTERS,
        description="Name of the campaign; leave it out unless several share the broker.",
    ),
]
Wait = Annotated[float, Meta(ge=0, le=MOST_WAIT_S, description="Longest wait, in seconds.")]


class ToolInput(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a tool."""


class OverviewInput(ToolInput, frozen=True):
    """Arguments of ``overview``."""

    campaign: Campaign = ""


class TasksInput(ToolInput, frozen=True):
    """Arguments of ``tasks``."""

    ids: Annotated[list[TaskId], Meta(min_length=1, max_length=MOST_STORIES)]
    depth: Annotated[
        int, Meta(ge=0, le=5, description="Steps that the reasons of a task are followed back.")
    ] = 2


class ResultsInput(ToolInput, frozen=True):
    """Arguments of ``results``."""

    ids: Annotated[list[TaskId], Meta(min_length=1, max_length=MOST_TASKS)]


class FailuresInput(ToolInput, frozen=True):
    """Arguments of ``failures``."""

    last: Annotated[int, Meta(ge=1, le=MOST_FAILURES, description="How many, newest first.")] = 5


class EventsInput(ToolInput, frozen=True):
    """Arguments of ``events``."""

    since: Annotated[
        int | None,
        Meta(description="Tell the events behind this number; without it the last ones."),
    ] = None
    types: Annotated[
        list[EventKind], Meta(max_length=50, description="Only these types; empty: all.")
    ] = []
    pool: Annotated[Name, Meta(description="Only of this pool.")] = ""
    task_id: Annotated[TaskId | None, Meta(description="Only of this task.")] = None
    most: Annotated[int, Meta(ge=1, le=MOST_EVENTS)] = 50


class QuestionsInput(ToolInput, frozen=True):
    """Arguments of ``questions``."""

    campaign: Campaign = ""


class AuditInput(ToolInput, frozen=True):
    """Arguments of ``audit``."""

    last: Annotated[int, Meta(ge=1, le=100, description="How many, the newest last.")] = 30


class WaitInput(ToolInput, frozen=True):
    """Arguments of ``wait``."""

    tasks: Annotated[
        list[TaskId], Meta(max_length=MOST_TASKS, description="Wait until these have ended.")
    ] = []
    question: Annotated[
        int | None,
        Meta(description="Wait until this question is answered, such as one for a proposal."),
    ] = None
    campaign: Campaign = ""
    timeout_s: Wait = 20.0


Proposable = (
    SetParameter
    | PauseAgent
    | ResumeAgent
    | PausePools
    | ResumePools
    | MoveWorkers
    | SubmitTask
    | CancelTasks
    | RankTasks
    | Checkpoint
)
"""The orders that an assistant may propose."""
Givable = Proposable | Answer | StopCampaign
"""Those that one with the role ``steer`` may give."""
Reason = Annotated[
    str, Meta(min_length=1, max_length=2_000, description="Why, for the people of the campaign.")
]
OrderId = Annotated[
    str,
    Meta(
        max_length=100,
        description=(
            "The same id is the same order: it is carried out once, however often it is given. "
            "Without one, equal orders are the same; to mean it once more, give another id."
        ),
    ),
]
BasedOn = Annotated[
    int | None,
    Meta(
        description=(
            "The at_event of the overview that you decided by: the order is refused if the "
            "parameter, agent or question that it is about has changed since."
        )
    ),
]


class ProposedOrder(ToolInput, frozen=True):
    """One order, with its reason."""

    order: Proposable
    reason: Reason
    id: OrderId = ""
    based_on: BasedOn = None


class SteeringOrder(ToolInput, frozen=True):
    """One order, with its reason."""

    order: Givable
    reason: Reason
    id: OrderId = ""
    based_on: BasedOn = None


DryRun = Annotated[bool, Meta(description="Only say which effect they would have.")]


class ProposalsInput(ToolInput, frozen=True):
    """Arguments of ``propose_orders``."""

    orders: Annotated[list[ProposedOrder], Meta(min_length=1, max_length=MOST_ORDERS)]
    campaign: Campaign = ""
    dry_run: DryRun = False


class OrdersInput(ToolInput, frozen=True):
    """Arguments of ``give_orders``."""

    orders: Annotated[list[SteeringOrder], Meta(min_length=1, max_length=MOST_ORDERS)]
    campaign: Campaign = ""
    dry_run: DryRun = False


def schema_of(kind: type[ToolInput]) -> dict[str, Any]:
    """Return the JSON schema of the arguments of a tool."""
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    schema = dict(parts.pop(kind.__name__))
    schema.pop("title", None)
    schema.pop("description", None)
    if parts:
        schema["$defs"] = parts
    return schema


def read_input(kind: type[ToolInput], arguments: dict[str, Any] | None) -> Any:
    """Return the arguments of a call.

    Raises:
        msgspec.ValidationError: they are others than the schema allows.
    """
    return msgspec.convert(arguments or {}, kind)


def fault_in_words(error: msgspec.ValidationError) -> str:
    """Return the fault of arguments in steerio's own words, but for single names."""
    text = str(error)
    unknown = _UNKNOWN.fullmatch(text)
    if unknown is None:
        return text if text.startswith(("Expected ", "Object missing ")) else "invalid"
    kind = f"unknown {unknown[1] or unknown[2]}"
    given = unknown[3].strip("`'\"")
    return kind + (f" `{given}`" if _NAME.fullmatch(given) else "") + (unknown[4] or "")
