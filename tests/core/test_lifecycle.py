from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from steerio.core.drawings import draw_moves, draw_peers, draw_workers, mermaid
from steerio.core.lifecycle import (
    ROLES,
    STEPS,
    TRANSITIONS,
    TURNS,
    Fact,
    IllegalTransition,
    MoveState,
    Phase,
    Role,
    State,
    Step,
    Turn,
    Word,
    advance,
    change,
    step,
    turn,
)
from tests.core.scene import Scene

EVERY_STEP = list(itertools.product(State, Fact))


def name(part: object) -> str:
    return getattr(part, "name", str(part))


@pytest.mark.parametrize(("state", "fact"), EVERY_STEP, ids=name)
def test_a_task_moves_as_the_table_says_and_no_other_way(state: State, fact: Fact) -> None:
    record = Scene().task()
    record.state = state
    if (state, fact) in TRANSITIONS:
        advance(record, fact)
        assert record.state == TRANSITIONS[state, fact]
    else:
        with pytest.raises(IllegalTransition) as caught:
            advance(record, fact)
        assert record.state == state
        assert caught.value.record is record
        assert caught.value.fact == fact
        assert str(caught.value) == f"task {record.task_id} is {state.name}, so no {fact.name}"


def test_a_task_is_born_queued() -> None:
    assert Scene().task().state == State.QUEUED


def test_nothing_happens_to_a_task_that_has_ended() -> None:
    assert not [step for step in TRANSITIONS if step[0] == State.ENDED]


def test_every_task_can_end_from_wherever_it_is() -> None:
    assert all((state, Fact.SETTLED) in TRANSITIONS for state in State if state != State.ENDED)


def test_a_stopped_task_only_ends_or_is_tried_again() -> None:
    after = {state for (before, _), state in TRANSITIONS.items() if before == State.STOPPING}
    assert after == {State.STOPPING, State.QUEUED, State.ENDED}


def test_every_state_can_be_reached_and_every_fact_does_something() -> None:
    assert {*TRANSITIONS.values(), State.QUEUED} == set(State)
    assert {fact for _, fact in TRANSITIONS} == set(Fact)


def test_the_diagram_lists_every_step_of_the_table() -> None:
    lines = [line.strip() for line in mermaid().splitlines()]
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "[*] --> QUEUED: submitted"
    assert lines[-1] == "ENDED --> [*]"
    wanted = {f"{a.name} --> {b.name}: {f.name}" for (a, f), b in TRANSITIONS.items()}
    assert set(lines[2:-1]) == wanted
    assert len(lines) == len(TRANSITIONS) + 3


# -- workers, moves and peers ----------------------------------------------------------------------

LIVES: list[tuple[Any, Any, Any, str, str, Any, Any]] = [
    (TURNS, Phase, Turn, "phase", "name", turn, draw_workers),
    (STEPS, MoveState, Step, "state", "number", step, draw_moves),
    (ROLES, Role, Word, "role", "number", change, draw_peers),
]
KINDS = ["worker", "move", "peer"]


@pytest.mark.parametrize(
    ("table", "states", "facts", "field", "named", "go", "draw"), LIVES, ids=KINDS
)
def test_each_of_the_others_moves_as_its_table_says_and_no_other_way(
    table: Any, states: Any, facts: Any, field: str, named: str, go: Any, draw: Any
) -> None:
    del draw
    for state, fact in itertools.product(states, facts):
        one = SimpleNamespace(**{field: state, named: 7})
        if (state, fact) in table:
            go(one, fact)
            assert getattr(one, field) is table[state, fact]
        else:
            with pytest.raises(
                IllegalTransition, match=f"7 is {state.name}, so no {fact.name}"
            ) as caught:
                go(one, fact)
            assert (caught.value.record, caught.value.fact) == (one, fact)
            assert getattr(one, field) is state


@pytest.mark.parametrize(
    ("table", "states", "facts", "field", "named", "go", "draw"), LIVES, ids=KINDS
)
def test_every_one_of_their_states_can_be_reached_and_left_and_every_fact_does_something(
    table: Any, states: Any, facts: Any, field: str, named: str, go: Any, draw: Any
) -> None:
    del field, named, go
    born, dead = next(iter(states)), {"Phase": "GONE", "MoveState": "ENDED", "Role": "GONE"}
    last = states[dead[states.__name__]]
    assert {*table.values(), born} == set(states)
    assert {before for before, _ in table} | {last} == set(states)
    assert {fact for _, fact in table} == set(facts)
    lines = [line.strip() for line in draw().splitlines()]
    assert lines[1].startswith(f"[*] --> {born.name}")
    assert lines[-1] == f"{last.name} --> [*]"
    assert set(lines[2:-1]) == {f"{a.name} --> {b.name}: {f.name}" for (a, f), b in table.items()}
