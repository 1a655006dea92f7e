"""The lives of tasks, workers, moves and peers, each as one table.

Every change of a state goes through `advance` (a task), `turn` (a worker), `step` (a move) or
`change` (a peer), which refuse all that their tables do not list.  The diagrams in the
documentation are drawn from the tables (`core.drawings`).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, auto
from typing import Protocol

from steerio.errors import SteerioError

# -- tasks --------------------------------------------------------------------------------------


class State(IntEnum):
    """The states of a task."""

    QUEUED = 0
    """in its pool's backlog"""
    HELD = 1
    """at a worker, behind the task that it works on"""
    RUNNING = 2
    """the task that its worker works on"""
    STOPPING = 3
    """at a worker, asked to stop"""
    ENDED = 4
    """its result is known and will not change"""


class Fact(IntEnum):
    """The facts of the life of a task."""

    SENT = 0
    """handed to an idle worker"""
    SENT_AHEAD = 1
    """handed to a worker that is still busy"""
    REACHED = 2
    """its worker finished the tasks before it"""
    RETURNED = 3
    """its worker gave it back unstarted"""
    STOP_ASKED = 4
    """cancelled or out of time while at a worker"""
    RETRIED = 5
    """its attempt ended badly and another is allowed"""
    SETTLED = 6
    """its result is known"""


Q, H, R, S, E = State.QUEUED, State.HELD, State.RUNNING, State.STOPPING, State.ENDED

TRANSITIONS: dict[tuple[State, Fact], State] = {
    (Q, Fact.SENT): R,
    (Q, Fact.SENT_AHEAD): H,
    (Q, Fact.SETTLED): E,
    (H, Fact.REACHED): R,
    (H, Fact.RETURNED): Q,
    (H, Fact.STOP_ASKED): S,
    (H, Fact.RETRIED): Q,
    (H, Fact.SETTLED): E,
    (R, Fact.RETURNED): Q,
    (R, Fact.STOP_ASKED): S,
    (R, Fact.RETRIED): Q,
    (R, Fact.SETTLED): E,
    (S, Fact.REACHED): S,
    (S, Fact.RETRIED): Q,
    (S, Fact.SETTLED): E,
}
"""The whole life of a task, which is born ``QUEUED``.

A ``RUNNING`` task can be returned: the broker infers which one runs, and the worker
may give a task back in the moment in which it would have begun it.
"""

_NEXT = [[TRANSITIONS.get((state, fact), -1) for fact in Fact] for state in State]

# -- workers ------------------------------------------------------------------------------------


class Phase(StrEnum):
    """The phases of the life of a worker."""

    STARTING = auto()
    """its node was told to start it, and it has not joined"""
    IDLE = auto()
    """it has nothing in hand, and waits for a task"""
    BUSY = auto()
    """it has tasks in hand, or is about to be given some"""
    RESERVED = auto()
    """it has nothing in hand, and waits for the others of its move"""
    RETIRING = auto()
    """it was told to end, in good order"""
    GONE = auto()
    """it has ended, or is given up for lost"""


class Turn(StrEnum):
    """The facts of the life of a worker."""

    JOINED = auto()
    """its process said that it is ready"""
    TAKEN = auto()
    """it was idle, and is about to be given something to do"""
    UNUSED = auto()
    """nothing is there for it to do"""
    RESERVED = auto()
    """a move wants it, and waits for others"""
    MOVED = auto()
    """it went to another pool"""
    RELEASED = auto()
    """the move that it waited for is undone"""
    RETIRED = auto()
    """its process is not needed as it is, or its node is left"""
    LOST = auto()
    """its process ended, or its node was lost"""


STARTING, IDLE, BUSY, RESERVED = Phase.STARTING, Phase.IDLE, Phase.BUSY, Phase.RESERVED
RETIRING, GONE = Phase.RETIRING, Phase.GONE

TURNS: dict[tuple[Phase, Turn], Phase] = {
    (STARTING, Turn.JOINED): BUSY,
    (STARTING, Turn.LOST): GONE,
    (IDLE, Turn.TAKEN): BUSY,
    (IDLE, Turn.RETIRED): RETIRING,
    (IDLE, Turn.LOST): GONE,
    (BUSY, Turn.UNUSED): IDLE,
    (BUSY, Turn.RESERVED): RESERVED,
    (BUSY, Turn.MOVED): BUSY,
    (BUSY, Turn.RETIRED): RETIRING,
    (BUSY, Turn.LOST): GONE,
    (RESERVED, Turn.MOVED): BUSY,
    (RESERVED, Turn.RELEASED): BUSY,
    (RESERVED, Turn.RETIRED): RETIRING,
    (RESERVED, Turn.LOST): GONE,
    (RETIRING, Turn.LOST): GONE,
}
"""The whole life of a worker, which is born ``STARTING``."""

READY = frozenset((IDLE, BUSY, RESERVED))
"""The phases of workers that have joined and stay."""

# -- moves --------------------------------------------------------------------------------------


class MoveState(StrEnum):
    """The states of a move or a lease."""

    WAITING = auto()
    """it is in the queue of its source, and has not got all its workers"""
    GRANTED = auto()
    """it has got them; a move for good is over then"""
    RETURNING = auto()
    """it was undone or given back, and some workers are not home yet"""
    ENDED = auto()
    """all are home"""


class Step(StrEnum):
    """The facts of the life of a move."""

    SERVED = auto()
    """it has got the last of its workers"""
    TAKEN_BACK = auto()
    """it was undone, or its lease was given back"""
    ALL_HOME = auto()
    """it has no worker left to bring home"""


WAITING, GRANTED, RETURNING, ENDED = (
    MoveState.WAITING,
    MoveState.GRANTED,
    MoveState.RETURNING,
    MoveState.ENDED,
)

STEPS: dict[tuple[MoveState, Step], MoveState] = {
    (WAITING, Step.SERVED): GRANTED,
    (WAITING, Step.TAKEN_BACK): RETURNING,
    (GRANTED, Step.TAKEN_BACK): RETURNING,
    (RETURNING, Step.ALL_HOME): ENDED,
}
"""The whole life of a move or lease, which is born ``WAITING``."""

# -- peers --------------------------------------------------------------------------------------


class Role(StrEnum):
    """The roles of a peer of the broker."""

    STRANGER = auto()
    """it has said nothing yet that lets it in"""
    CLIENT = auto()
    """it submits tasks, or looks on"""
    OBSERVER = auto()
    """it is a client that may only look on"""
    NODE = auto()
    """it starts workers and watches them"""
    WORKER = auto()
    """it runs tasks"""
    GONE = auto()
    """it left, was lost, or was shown out"""


class Word(StrEnum):
    """The facts that change the role of a peer."""

    CLIENT_JOINS = auto()
    """it says that it is a client"""
    OBSERVER_JOINS = auto()
    """it says that it is a client, and it has the key of observers or wants no more"""
    NODE_JOINS = auto()
    """it says that it is a node, and offers workers for pools that may be"""
    WORKER_JOINS = auto()
    """it says that it is a worker that is expected"""
    PARTS = auto()
    """it says goodbye, falls silent, cannot be understood, or is told to end"""


ROLES: dict[tuple[Role, Word], Role] = {
    (Role.STRANGER, Word.CLIENT_JOINS): Role.CLIENT,
    (Role.STRANGER, Word.OBSERVER_JOINS): Role.OBSERVER,
    (Role.STRANGER, Word.NODE_JOINS): Role.NODE,
    (Role.STRANGER, Word.WORKER_JOINS): Role.WORKER,
    (Role.CLIENT, Word.PARTS): Role.GONE,
    (Role.OBSERVER, Word.PARTS): Role.GONE,
    (Role.NODE, Word.PARTS): Role.GONE,
    (Role.WORKER, Word.PARTS): Role.GONE,
    (Role.GONE, Word.PARTS): Role.GONE,
}
"""The whole life of a peer, which is born a ``STRANGER``; it parts once more if it is told so."""

CLIENTS = frozenset((Role.CLIENT, Role.OBSERVER))
"""The roles of peers that look on, and to the core are clients."""

# -- going along the tables ---------------------------------------------------------------------


class TaskLike(Protocol):
    """A record that has the life of a task."""

    task_id: int
    state: int


class WorkerLike(Protocol):
    """A record that has the life of a worker."""

    name: str
    phase: Phase


class MoveLike(Protocol):
    """A record that has the life of a move."""

    number: int
    state: MoveState


class PeerLike(Protocol):
    """A record that has the life of a peer."""

    number: int
    role: Role


class IllegalTransition(SteerioError):
    """The core tried a step that a table forbids: a bug in steerio, never the user's fault."""

    def __init__(self, record: object, name: str, state: str, fact: IntEnum | StrEnum) -> None:
        self.record, self.fact = record, fact
        super().__init__(f"{name} is {state}, so no {fact.name}")


def advance(record: TaskLike, fact: Fact) -> None:
    """Move a task along its table.

    Raises:
        IllegalTransition: the table has no such step.
    """
    state = _NEXT[record.state][fact]
    if state < 0:
        raise IllegalTransition(record, f"task {record.task_id}", State(record.state).name, fact)
    record.state = state


def turn(worker: WorkerLike, fact: Turn) -> None:
    """Move a worker along its table.

    Raises:
        IllegalTransition: the table has no such step.
    """
    phase = TURNS.get((worker.phase, fact))
    if phase is None:
        raise IllegalTransition(worker, f"worker {worker.name}", worker.phase.name, fact)
    worker.phase = phase


def step(move: MoveLike, fact: Step) -> None:
    """Move a move along its table.

    Raises:
        IllegalTransition: the table has no such step.
    """
    state = STEPS.get((move.state, fact))
    if state is None:
        raise IllegalTransition(move, f"move {move.number}", move.state.name, fact)
    move.state = state


def change(peer: PeerLike, fact: Word) -> None:
    """Move a peer along its table.

    Raises:
        IllegalTransition: the table has no such step.
    """
    role = ROLES.get((peer.role, fact))
    if role is None:
        raise IllegalTransition(peer, f"peer {peer.number}", peer.role.name, fact)
    peer.role = role
