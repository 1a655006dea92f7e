"""Calls of nothing but atoms are recorded as all others are, though nothing is kept of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from steerio import Session, task
from steerio.client.client import LEFT
from steerio.edge.encoding.digests import digest_call
from steerio.edge.record.atom_calls import SHOWN_BYTES, AtomCalls
from steerio.edge.record.entries import Call, decode_result, encode_result, key_of
from steerio.errors import JournalFull
from steerio.model.messages import TaskSettled
from steerio.session.arguments import Given
from steerio.session.recorded_calls import RecordedCalls, call_of
from steerio.session.recorder import ResultRecorder
from steerio.session.replay import RecordedResult, Replay
from steerio.session.task_type import TaskType
from tests.simulated.virtual import on_cluster, simulation

ENDED = TaskSettled(
    7, "succeeded", 1, "w", 1.0, 2.0, 3.0, 4.0, 5.0, 4, 1, b"\x02", 0, None, "", None, None
)
atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=2 * SHOWN_BYTES)
)


class Journal:
    """A journal that may have no room."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []
        self.has_room = True

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        if not self.has_room:
            raise JournalFull("its folder", len(entries), "the disk is full")
        self.entries += entries
        return len(self.entries)


class Handle:
    """As much of the handle of a task as the recording of its result looks at."""

    id, replayed, recalled = 1, False, ""

    def __init__(self, kind: TaskType[..., Any], *args: Any) -> None:
        self.type = kind
        self.given: Given = (args, {})
        self.tags: dict[str, str] = {}
        self.call: Call | AtomCalls | None = None


def known(calls: RecordedCalls, kind: TaskType[..., Any], *args: Any) -> Handle:
    """Return a handle of a call that was taken in."""
    handle, body = Handle(kind, *args), kind.codec.pack_atoms(args)
    assert body is not None
    calls.know(handle, kind.spec, args, {}, body, of_atoms=True)
    return handle


def key(kind: TaskType[..., Any], *args: Any) -> bytes:
    code = b"" if kind.is_known_by_name else kind.spec.code
    return digest_call(kind.name, kind.version, code, args, {})


def keys_of(handles: Sequence[Handle]) -> list[bytes]:
    return [call.key for handle in handles if (call := call_of(handle)) is not None]


def replay(*keys: bytes) -> Replay:
    never: Any = None
    return Replay(never, [RecordedResult(n, key, by_key=True) for n, key in enumerate(keys, 1)])


@given(
    st.lists(atoms, max_size=4),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
def test_an_entry_is_that_of_any_call(
    args: list[Any], version: str, code: bytes, tags: dict[str, str]
) -> None:
    calls = AtomCalls("module:function", version, code)
    call = calls.call(tuple(args), tags)
    assert call.key == digest_call("module:function", version, code, tuple(args), {})
    entry = calls.encode_result(tuple(args), tags, ENDED)
    assert entry == encode_result(call, ENDED, ())
    assert key_of(entry) == call.key
    assert (decode_result(entry).settled, decode_result(entry).tags) == (ENDED, tags)


def test_all_calls_of_a_type_have_their_digests_and_only_the_first_is_kept() -> None:
    calls = RecordedCalls(replay())
    handles = [known(calls, simulation, float(n)) for n in range(4)]
    assert keys_of(handles) == [key(simulation, float(n)) for n in range(4)]
    assert [type(handle.call) for handle in handles] == [Call, AtomCalls, AtomCalls, AtomCalls]
    assert handles[1].call is handles[3].call
    assert calls.versions == {simulation.name: ""}


def test_types_that_take_turns_and_share_a_spec_are_told_apart_by_their_versions() -> None:
    def function(x: int) -> int:
        return x

    kinds = [task(version=version)(function) for version in ("1", "2")]
    assert kinds[0].spec == kinds[1].spec
    calls = RecordedCalls(replay())
    turns = [kinds[n] for n in (0, 1, 0, 0, 1, 1, 0, 1)]
    handles = [known(calls, kind, 5) for kind in turns]
    assert keys_of(handles) == [key(kind, 5) for kind in turns]
    assert len({*keys_of(handles)}) == 2


def test_a_function_that_changes_has_other_digests() -> None:
    def made(step: int) -> Callable[[int], int]:
        def function(x: int) -> int:
            return x + step

        return function

    function = made(1)
    changing = task(function)
    calls = RecordedCalls(replay())
    before = [known(calls, changing, 1) for _ in range(3)]
    function.__closure__[0].cell_contents = 2  # type: ignore[index]
    after = [known(calls, changing, 1) for _ in range(3)]
    assert len({*keys_of(before)}) == len({*keys_of(after)}) == 1
    assert keys_of(before)[0] != keys_of(after)[0]


def test_while_recorded_results_are_left_each_call_is_compared_with_them() -> None:
    recorded = replay(key(simulation, 3.0))
    calls = RecordedCalls(recorded)
    handles = [known(calls, simulation, float(n)) for n in range(3)]
    assert {type(handle.call) for handle in handles} == {Call}
    handle, body = Handle(simulation, 3.0), simulation.codec.pack_atoms((3.0,))
    assert body is not None
    assert calls.know(handle, simulation.spec, (3.0,), {}, body, of_atoms=True)


def test_calls_with_a_memo_and_generators_are_no_usual_ones() -> None:
    @task(memo=True)
    def remembered(x: int) -> int:
        return x

    @task
    def several(x: int) -> Any:
        yield x

    calls = RecordedCalls(replay())
    assert [type(known(calls, remembered, 1).call) for _ in range(3)] == [Call] * 3
    assert [known(calls, several, 1).call for _ in range(3)] == [None] * 3


@on_cluster(1)
async def test_a_result_that_waits_for_room_is_recorded_although_its_broker_is_lost(
    cluster: object, session: Session
) -> None:
    del cluster
    journal, failures = Journal(), list[Exception]()
    journal.has_room = False
    client = session.client
    recorder = ResultRecorder(client, journal, Replay(client), failures.append)
    session.recorder = recorder
    tasks = [session.submit(simulation, 1.0), session.submit(simulation, 2.0)]
    await asyncio.sleep(5)
    assert recorder.full
    assert not any(task.done() for task in tasks)
    client._lose(LEFT)
    assert all(task.done() for task in tasks)
    journal.has_room = True
    await asyncio.sleep(5)
    assert [key_of(body) for _, body in journal.entries] == [
        key(simulation, 1.0),
        key(simulation, 2.0),
    ]
    assert not failures
    recorder.close()
    session.recorder = None


@on_cluster(1)
async def test_tasks_of_another_campaign_before_are_not_recorded(
    cluster: object, session: Session
) -> None:
    del cluster
    client, journals = session.client, [Journal(), Journal()]
    first = ResultRecorder(client, journals[0], Replay(client), print)
    session.recorder = first
    tasks = [session.submit(simulation, 1.0) for _ in range(3)]
    first.close()
    second = ResultRecorder(client, journals[1], Replay(client), print)
    session.recorder = second
    await session.gather(*tasks, session.submit(simulation, 4.0))
    assert not journals[0].entries
    assert [key_of(body) for _, body in journals[1].entries] == [key(simulation, 4.0)]
    second.close()
    session.recorder = None
