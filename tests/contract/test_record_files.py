"""The record is one line per task and per event, which pandas reads in one line, come what may."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.values import ANY_VALUE
from steerio.edge.record.record_files import (
    EVENTS_FILE,
    SHOWN_BYTES,
    SHOWN_DEPTH,
    TASKS_FILE,
    RecordFiles,
    TaskEntry,
    shown,
)
from steerio.edge.record.record_head import HEAD_FILE, SCHEMA, read_head
from steerio.edge.wire.headers import decode_from_broker, encode_headers
from steerio.model import events as ev
from steerio.model import messages as ms
from steerio.model.campaign_orders import GivenOrder, Plain, SubmitTask
from steerio.model.tasks import EndedAs

NUMBERS = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]
ODD = b"run-\xff".decode(errors="surrogateescape")


def entry(number: int = 1, **changes: Any) -> TaskEntry:
    """Return what is recorded of a task."""
    plain = TaskEntry(
        number, "search:energy", "simulate", "succeeded", 1, "simulate-1", "node", "relearn", (7,),
        {"batch": "3"}, 0.5, 10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 17, 8, None, None, "",
        [["C"], {}], 2.5,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def published(value: Any, number: int = 1) -> ev.Published:
    return ev.Published(number, 10.0, "Note", value, "client")


@contextmanager
def journal_in(folder: Path) -> Iterator[RecordFiles]:
    journal = RecordFiles(folder)
    try:
        yield journal
    finally:
        journal.close()


def lines(path: Path) -> list[Any]:
    """Read a file as strictly as anything does: no NaN, no duplicate keys, no half lines."""

    def no_constant(text: str) -> None:
        raise ValueError(f"{text} is no JSON")

    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=no_constant) for line in text.split("\n")[:-1]]


def test_pandas_reads_the_tasks_in_one_line(tmp_path: Path) -> None:
    values = [1.5, float("nan"), float("inf"), None, True, "text", b"\xff\x00", [1, [2]], {"a": 1}]
    entries = [
        entry(number, args=[[value], {}], value=value) for number, value in enumerate(values)
    ]
    entries.append(entry(99, ended_as="failed", error="ValueError: negative", value=None))
    entries.append(entry(100, ended_as="lost", worker=None, node=None, sent=None, started=None))
    with journal_in(tmp_path) as journal:
        journal.write(entries[:3], [])
        journal.write(entries[3:], [])

    table = pd.read_json(tmp_path / TASKS_FILE, lines=True)

    assert list(table.task_id) == [*range(len(values)), 99, 100]
    assert list(table.columns) == list(TaskEntry.__struct_fields__)
    assert table.ended_as.value_counts().to_dict() == {"succeeded": 9, "failed": 1, "lost": 1}
    assert np.isclose(table.received - table.queued, 2.0).all()
    assert table.args[0] == [[1.5], {}]
    assert table.args[1] == [[None], {}]


def test_pandas_reads_the_events_in_one_line(tmp_path: Path) -> None:
    samples: dict[Any, Any] = {
        int: 1,
        bool: True,
        float: 10.0,
        str: "simulate",
        EndedAs: "succeeded",
        Literal["advisor", "fallback"]: "advisor",
        str | None: None,
        int | None: None,
        float | None: 2.5,
        dict[str, int]: {"simulate": 2},
        tuple[str, ...]: ("yes", "no"),
        Plain: 0.5,
        GivenOrder | None: GivenOrder(SubmitTask("energy", (float("nan"), b"\xff")), "ada"),
        Any: {"x": float("nan"), "y": b"\xff"},
    }
    events = [
        kind(*(samples[field.type] for field in msgspec.structs.fields(kind)))
        for kind in get_args(ev.AnyEvent)
    ]
    with journal_in(tmp_path) as journal:
        journal.write([], events)

    table = pd.read_json(tmp_path / EVENTS_FILE, lines=True)

    assert list(table.type) == [kind.__name__ for kind in get_args(ev.AnyEvent)]
    assert (table.number == 1).all()


def test_pandas_reads_a_record_in_which_nothing_happened(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.write([], [])

    assert pd.read_json(tmp_path / TASKS_FILE, lines=True).empty
    assert pd.read_json(tmp_path / EVENTS_FILE, lines=True).empty


@pytest.mark.parametrize("number", NUMBERS)
def test_pandas_reads_numbers_of_any_size(tmp_path: Path, number: int) -> None:
    body, _ = ANY_VALUE.pack(number)
    with journal_in(tmp_path) as journal:
        journal.write([entry(value=shown(body))], [published(shown(body))])

    tasks = pd.read_json(tmp_path / TASKS_FILE, lines=True)
    events = pd.read_json(tmp_path / EVENTS_FILE, lines=True)

    assert [tasks.value[0], events.value[0]] == [number, number]


def test_what_has_no_word_in_json_is_put_into_words(tmp_path: Path) -> None:
    odd: list[Any] = [
        {(1, 2): "tuple", b"\xff": "bytes", None: "none", 1.5: "float", ODD: ODD},
        {"deep": [{(1,): {2: {(ODD,): ODD}}}]},
        ODD,
    ]
    with journal_in(tmp_path) as journal:
        journal.write(
            [entry(1, value=value, tags={ODD: ODD}, cause=ODD, reason=ODD) for value in odd],
            [published(value) for value in odd],
        )
        journal.write([entry(2)], [published("after", 2)])

    tasks, events = lines(tmp_path / TASKS_FILE), lines(tmp_path / EVENTS_FILE)
    assert [task["task_id"] for task in tasks] == [1, 1, 1, 2]
    assert [event["type"] for event in events] == ["Published"] * 4
    assert tasks[0]["tags"] == {"run-\\udcff": "run-\\udcff"}
    assert tasks[0]["value"]["run-\\udcff"] == "run-\\udcff"
    assert tasks[0]["value"]["(1, 2)"] == "tuple"
    assert [task["value"] for task in tasks[:3]] == [event["value"] for event in events[:3]]
    assert list(tasks[0]) == list(TaskEntry.__struct_fields__)
    assert len(pd.read_json(tmp_path / TASKS_FILE, lines=True)) == 4


def test_lines_are_there_at_once_and_come_after_those_of_before(tmp_path: Path) -> None:
    for number in range(3):
        with journal_in(tmp_path) as journal:
            journal.write([entry(number)], [published(None, number)])
            assert [task["task_id"] for task in lines(tmp_path / TASKS_FILE)] == [
                *range(number + 1)
            ]
    assert [event["number"] for event in lines(tmp_path / EVENTS_FILE)] == [0, 1, 2]


@pytest.mark.smoke
def test_lines_say_which_incarnation_wrote_them(tmp_path: Path) -> None:
    for number in range(3):
        with journal_in(tmp_path) as journal:
            assert journal.incarnation == number + 1
            task = entry(number, incarnation=journal.incarnation)
            journal.write([task], [published("}\n{", number), published({}, number)])

    for file in (TASKS_FILE, EVENTS_FILE):
        written = [line["incarnation"] for line in lines(tmp_path / file)]
        assert sorted(set(written)) == [1, 2, 3]
        assert written == sorted(written)


def test_an_incarnation_that_wrote_no_line_counts_as_well(tmp_path: Path) -> None:
    for number in range(3):
        with journal_in(tmp_path) as journal:
            assert journal.incarnation == number + 1


def test_a_record_of_before_the_first_schema_is_written_on(tmp_path: Path) -> None:
    old = {"task_id": 1, "ended_as": "succeeded"}
    (tmp_path / TASKS_FILE).write_text(json.dumps(old) + "\n")
    (tmp_path / EVENTS_FILE).write_text('{"type":"TaskQueued","number":7,"at":1.0}\n')
    with journal_in(tmp_path) as journal:
        assert (journal.incarnation, journal.last_event) == (2, 7)
        journal.write([entry(2, incarnation=2)], [])

    assert lines(tmp_path / TASKS_FILE)[0] == old
    assert list(pd.read_json(tmp_path / TASKS_FILE, lines=True).incarnation.fillna(0)) == [0, 2]


def test_the_head_says_who_writes_and_whether_the_record_is_closed(tmp_path: Path) -> None:
    with journal_in(tmp_path):
        head = read_head(tmp_path)
        assert head is not None
        assert (head.schema, head.incarnation, head.closed) == (SCHEMA, 1, False)
        assert (head.writer.pid, head.began > 0) == (os.getpid(), True)
    closed = read_head(tmp_path)
    assert closed == msgspec.structs.replace(head, closed=True)

    with journal_in(tmp_path):
        again = read_head(tmp_path)
        assert again is not None
        assert (again.incarnation, again.began, again.closed) == (2, head.began, False)


def test_a_process_that_was_taken_over_from_leaves_the_head_as_it_is(tmp_path: Path) -> None:
    first = RecordFiles(tmp_path)
    with journal_in(tmp_path):
        first.close()
        head = read_head(tmp_path)
        assert head is not None
        assert (head.incarnation, head.closed) == (2, False)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema":"x"}', "\x00" * 100])
def test_a_head_that_cannot_be_read_is_written_anew(tmp_path: Path, content: str) -> None:
    with journal_in(tmp_path) as journal:
        journal.write([entry(1)], [])
    (tmp_path / HEAD_FILE).write_text(content)
    assert read_head(tmp_path) is None
    with journal_in(tmp_path) as journal:
        assert journal.incarnation == 2


def test_a_link_in_the_place_of_the_head_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / HEAD_FILE).symlink_to(elsewhere)
    assert read_head(run) is None
    with journal_in(run):
        assert elsewhere.read_text() == "mine"
        assert not (run / HEAD_FILE).is_symlink()


def test_a_journal_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / EVENTS_FILE).mkdir()

    with pytest.raises(OSError, match="directory"):
        RecordFiles(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        RecordFiles(tmp_path / "absent")


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Have the operating system refuse to write beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_an_error_that_leaves_whole_lines(tmp_path: Path) -> None:
    many = [entry(number) for number in range(100)]
    with journal_in(tmp_path) as journal:
        journal.write(many[:5], [])
        size = (tmp_path / TASKS_FILE).stat().st_size
        with no_file_longer_than(size + 1_000), pytest.raises(OSError, match="too large"):
            journal.write(many[5:], [])
        assert len(lines(tmp_path / TASKS_FILE)) == 5

        journal.write(many[5:], [])  # once there is room again

    assert [task["task_id"] for task in lines(tmp_path / TASKS_FILE)] == [*range(100)]


# -- what is shown of arguments and values ------------------------------------------------


def test_small_arguments_and_values_are_shown_and_others_are_not() -> None:
    def energy(smiles: str, charges: list[int], *, method: str = "pm6") -> float: ...

    codec = CallCodec(energy, "search:energy")

    body, _ = codec.pack(("C", [1]), {"method": "dft"})
    assert shown(body) == [["C", [1]], {"method": "dft"}]
    assert shown(codec.result.pack(1.5)[0]) == 1.5
    assert shown(ANY_VALUE.pack(None)[0]) is None
    assert shown(ANY_VALUE.pack(np.zeros(100))[0]) == "<array f8 100>", "its frame is not here"
    assert shown(ANY_VALUE.pack((1, 2))[0]) == "<object>"
    assert shown(ANY_VALUE.pack(b"a" * 100_000)[0]) == "<bytes>"
    assert shown(ANY_VALUE.pack("a" * SHOWN_BYTES)[0]) is None
    assert shown(b"") is None


bodies = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(0, 9) | st.binary(), inner, max_size=4)
    ),
    max_leaves=20,
).map(msgspec.msgpack.encode)


@given(body=bodies)
@example(body=b"\xa1\xff")
@example(body=b"\x91" * SHOWN_BYTES)
@example(body=b"\x91" * 900 + b"\x01")
@example(body=b"\x81\x01" * 500 + b"\x01")
@example(body=b"\x81" * 500 + b"\x01" * 501)
@example(body=b"\x81" + b"\x91" * 500 + b"\x01\x01")
@example(body=b"\xd7\xff" + b"\xff" * 8)
@example(body=b"\xd6\xff" + b"\x00" * 4)
@example(body=b"\x82\x01\x01\xa1\x31\x02")
@example(body=b"\xc1")
@example(body=b"\xdd\xff\xff\xff\xff")
def test_whatever_a_body_holds_is_shown_in_a_way_that_everybody_can_pass_on(body: bytes) -> None:
    value = shown(body)

    # to subscribers, who read it many calls deep
    batch = encode_headers([ms.Events(1, [published(value)])])
    assert isinstance(_deep_down(200, decode_from_broker, batch), list)


def _deep_down(levels: int, function: Any, argument: Any) -> Any:
    return _deep_down(levels - 1, function, argument) if levels else function(argument)


@given(bodies=st.lists(bodies, min_size=1, max_size=5))
def test_whatever_bodies_hold_the_record_has_a_line_for_each(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True)
    with journal_in(folder) as journal:
        journal.write(
            [entry(n, args=shown(body), value=shown(body)) for n, body in enumerate(bodies)],
            [published(shown(body), n) for n, body in enumerate(bodies)],
        )

    assert [task["task_id"] for task in lines(folder / TASKS_FILE)] == [*range(len(bodies))]
    assert [event["number"] for event in lines(folder / EVENTS_FILE)] == [*range(len(bodies))]


@pytest.mark.parametrize("levels", [1, SHOWN_DEPTH - 1, SHOWN_DEPTH, SHOWN_DEPTH + 1, 500])
def test_nested_values_are_shown_as_deep_as_the_bound_says(levels: int) -> None:
    body = b"\x91" * levels + b"\x01"

    assert (shown(body) is not None) == (levels <= SHOWN_DEPTH)


def test_wide_values_are_shown_however_many_containers_they_hold() -> None:
    value = [[1, 2], {"a": []}] * 100

    assert shown(msgspec.msgpack.encode(value)) == value


SMALL_ARRAYS: dict[str, tuple[np.ndarray[Any, Any], Any]] = {
    "in the body": (np.array([1.5, -2.0]), [1.5, -2.0]),
    "in a frame": (np.arange(60.0), [float(x) for x in range(60)]),
    "of two dimensions": (np.arange(4, dtype="i4").reshape(2, 2), [[0, 1], [2, 3]]),
    "of three": (np.ones((2, 1, 2), dtype="f4"), [[[1.0, 1.0]], [[1.0, 1.0]]]),
    "of none": (np.array(3), 3),
    "empty": (np.zeros((0, 3)), []),
    "of truths": (np.array([True, False]), [True, False]),
    "of bytes": (np.array([1, 255], dtype="u1"), [1, 255]),
    "not contiguous": (np.arange(6)[::2], [0, 2, 4]),
    "too long": (np.zeros((10, 30)), "<array f8 10x30>"),
    "of text": (np.array(["ab"]), "<array U2 1>"),
    "of complex numbers": (np.array([1j]), "<array c16 1>"),
    "in the other order": (np.array([1, 2], dtype=">i4"), "<array >i4 2>"),
}


@pytest.mark.borders
@pytest.mark.parametrize("kind", SMALL_ARRAYS)
def test_small_arrays_of_numbers_are_shown_as_lists(kind: str) -> None:
    array, expected = SMALL_ARRAYS[kind]
    assert shown(*ANY_VALUE.pack(array)) == expected
    codec = CallCodec(lambda a, b: None, "f")
    assert shown(*codec.pack((array, 1), {})) == [[expected, 1], {}]
    assert shown(*codec.pack((array,), {"b": array.copy()})) == [[expected], {"b": expected}]
    come = ANY_VALUE.unpack(*ANY_VALUE.pack(array))
    assert (come.dtype, come.shape, come.flags.writeable) == (array.dtype, array.shape, True)
    assert np.array_equal(come, array)


@pytest.mark.borders
def test_what_an_array_claims_to_be_harms_nobody() -> None:
    long, odd = ("<f8", (10**12,), 0), ("<f8", (-1, 3), 0)
    for head in (long, odd, ("<f8", (2,) * 40, b"12"), ("O", (1,), b"")):
        body = msgspec.msgpack.encode(msgspec.msgpack.Ext(1, msgspec.msgpack.encode(head)))
        shown(body, (b"12345678",))
