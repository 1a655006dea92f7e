"""Orders to a running campaign: frozen values, in an envelope that names their giver and reason.

A client gives an order to its broker, which passes it to the campaign that takes orders there; the
campaign carries it out between two steps of its agents, and its answer goes the same way back.
"""

from __future__ import annotations

from typing import Any, assert_never

from msgspec import Struct

from steerio.model.roles import NO_BUDGET, Budget, Role
from steerio.model.showing import counted, in_words, short_name

Plain = bool | int | float | str
"""The values of parameters."""
ORDERED_BY = "ordered_by"
"""The tag of an ordered task that has the name of the order's giver."""
NAMED_TASKS = 20
"""The tasks of an order are named in words if they are no more, or if all has to be told."""
NO_CAMPAIGN = "no campaign takes orders here"
"""The first words of a refusal: the order names no campaign, and there is none."""


class SetParameter(Struct, frozen=True, gc=False, tag=True):
    """Give a parameter another value; a text stands for the value of another type, too."""

    name: str
    value: Plain


class Answer(Struct, frozen=True, gc=False, tag=True):
    """Answer an open question, by its number; 0: the only one that is open."""

    choice: str
    question: int = 0


class PauseAgent(Struct, frozen=True, gc=False, tag=True):
    """Make no new call of a triggered method; its calls wait until it is resumed."""

    agent: str


class ResumeAgent(Struct, frozen=True, gc=False, tag=True):
    """Make the calls of a paused method again."""

    agent: str


class Checkpoint(Struct, frozen=True, gc=False, tag=True):
    """Take a snapshot as soon as that can be done, and say whether it was taken."""


class StopCampaign(Struct, frozen=True, gc=False, tag=True):
    """End the campaign in good order; with ``cancel`` running tasks are cancelled, too."""

    cancel: bool = False


class Look(Struct, frozen=True, gc=False, tag=True):
    """Tell the parameters, the open questions and the agents; nothing changes."""


class PausePools(Struct, frozen=True, gc=False, tag=True):
    """Hand out no queued task of these pools, or of all, until they are resumed."""

    pools: tuple[str, ...] = ()


class ResumePools(Struct, frozen=True, gc=False, tag=True):
    """Hand out the queued tasks of paused pools again, or of all."""

    pools: tuple[str, ...] = ()


class MoveWorkers(Struct, frozen=True, gc=False, tag=True):
    """Move workers of one pool to another for good, each when its running task has ended."""

    source: str
    target: str
    workers: int


class SubmitTask(Struct, frozen=True, gc=False, tag=True):
    """Submit a task of a type that the campaign knows; its agents hear of its result as of others.

    Attributes:
        task_type: its name, in full or the last part.
        args: positional arguments, as plain values.
        kwargs: keyword arguments.
        priority: of the task; ``None``: that of its type.
    """

    task_type: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    priority: float | None = None


class CancelTasks(Struct, frozen=True, gc=False, tag=True):
    """Cancel tasks, by their ids; those that have ended are left alone."""

    tasks: tuple[int, ...]


class RankTasks(Struct, frozen=True, gc=False, tag=True):
    """Give queued tasks another priority, by their ids; higher goes first."""

    tasks: tuple[int, ...]
    priority: float


Order = (
    SetParameter
    | Answer
    | PauseAgent
    | ResumeAgent
    | PausePools
    | ResumePools
    | MoveWorkers
    | SubmitTask
    | CancelTasks
    | RankTasks
    | Checkpoint
    | StopCampaign
    | Look
)
"""The closed union of orders to a campaign."""


class GivenOrder(Struct, frozen=True, gc=False):
    """An order in its envelope.

    Attributes:
        order: the order.
        by: the person or program that gives it.
        reason: why, in words.
        id: of its giver; a repeated one is the same order, and gets the same answer.
        based_on: the number of the last event that its giver knew; ``None``: any.
        dry_run: whether to say only which effect it would have.
        role: that of its giver, as the face says by which it came: one below ``steer`` can only
            look or propose.
        budget: of its giver.
    """

    order: Order
    by: str
    reason: str = ""
    id: str = ""
    based_on: int | None = None
    dry_run: bool = False
    role: Role = "steer"
    budget: Budget = NO_BUDGET


class ParameterView(Struct, frozen=True, gc=False):
    """A parameter as it is now.

    Attributes:
        value: its value.
        default: the value that it had if it was given no other.
        kind: the name of its type.
        allowed: the values that it may have, in words.
        help: a text for those that set it.
    """

    value: Plain
    default: Plain
    kind: str
    allowed: str
    help: str = ""


class QuestionView(Struct, frozen=True, gc=False):
    """An open question.

    Attributes:
        number: by which it is answered.
        text: the question.
        options: the answers that may be given.
        by: the agent that asks.
        left_s: seconds after which the default is taken; ``None``: it waits.
        default: that one.
        order: the order that is carried out if it is approved; ``None``: it is no proposal.
    """

    number: int
    text: str
    options: tuple[str, ...]
    by: str
    left_s: float | None = None
    default: str | None = None
    order: GivenOrder | None = None


class AgentView(Struct, frozen=True, gc=False):
    """An agent as it is now: its trigger, its calls, and whether it is paused."""

    trigger: str
    queued: int
    under_way: int
    paused: bool = False


class CampaignView(Struct, frozen=True, gc=False):
    """A campaign at a glance.

    Attributes:
        campaign: its name.
        parameters: by name.
        questions: those that are open.
        agents: by the names of their methods.
        stopping: why it ends, if it does.
        at_event: the number of the last event that its answer may be based on.
    """

    campaign: str
    parameters: dict[str, ParameterView]
    questions: list[QuestionView]
    agents: dict[str, AgentView]
    stopping: str = ""
    at_event: int = 0


class OrderAnswer(Struct, frozen=True, gc=False):
    """The answer to an order.

    Attributes:
        done: whether it was carried out (of a dry run: could be).
        words: its effect, or why it was refused.
        view: the answer to `Look`.
        question: the question by which it is approved or denied, if its giver may only propose; it
            is not carried out yet then.
        tasks: the ids of tasks that were submitted.
    """

    done: bool
    words: str
    view: CampaignView | None = None
    question: int = 0
    tasks: tuple[int, ...] = ()


def order_in_words(order: Order, *, in_full: bool = False) -> str:
    """Return an order in a few words, or with all of its tasks, for someone who approves it."""
    match order:
        case SetParameter(name, value):
            return f"set {name} to {value!r}"
        case Answer(choice, question):
            return f"answer {f'question {question}' if question else 'the question'} {choice!r}"
        case PauseAgent(agent):
            return f"pause {agent}"
        case ResumeAgent(agent):
            return f"resume {agent}"
        case PausePools() | ResumePools() | MoveWorkers():
            return _for_pools(order)
        case SubmitTask() | CancelTasks() | RankTasks():
            return _for_tasks(order, in_full=in_full)
        case Checkpoint():
            return "take a snapshot"
        case StopCampaign(cancel):
            return "stop, and cancel running tasks" if cancel else "stop"
        case Look():
            return "look"
        case _:
            assert_never(order)


def _for_pools(order: PausePools | ResumePools | MoveWorkers) -> str:
    match order:
        case MoveWorkers(source, target, workers):
            return f"move {counted(workers, 'worker')} from {source} to {target}"
        case PausePools(pools) | ResumePools(pools):
            verb = "pause" if isinstance(order, PausePools) else "resume"
            if not pools:
                return f"{verb} all pools"
            return f"{verb} pool{'s' if len(pools) > 1 else ''} {', '.join(pools)}"
        case _:
            assert_never(order)


def _for_tasks(order: SubmitTask | CancelTasks | RankTasks, *, in_full: bool) -> str:
    match order:
        case SubmitTask(task_type, args, kwargs):
            # in full: someone may have to approve just this call
            named = (f"{name}={in_words(value)}" for name, value in kwargs.items())
            return f"submit {short_name(task_type)}({', '.join([*map(in_words, args), *named])})"
        case CancelTasks(tasks):
            return f"cancel {_tasks_in_words(tasks, in_full=in_full)}"
        case RankTasks(tasks, priority):
            return f"rank {_tasks_in_words(tasks, in_full=in_full)} at {priority:g}"
        case _:
            assert_never(order)


def _tasks_in_words(tasks: tuple[int, ...], *, in_full: bool) -> str:
    if len(tasks) == 1:
        return f"task {tasks[0]}"
    if len(tasks) > NAMED_TASKS and not in_full:
        return counted(len(tasks), "task")
    return f"tasks {', '.join(map(str, tasks))}"
