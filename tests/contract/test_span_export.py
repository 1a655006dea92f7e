"""A record becomes spans of OpenTelemetry, which its own definition of OTLP takes in."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from steerio.edge.record import span_export
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, AttemptEntry, RecordFiles
from steerio.edge.record.record_lines import TASK_COLUMNS
from steerio.edge.record.span_export import export_spans
from tests.contract.run_folders import change_head
from tests.contract.test_record_files import ODD, entry

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
EARLIER = AttemptEntry(1, "lost: killed", "simulate-2", "far", 9.0, None, None, 9.5, None)


def requests(path: Path) -> list[Any]:
    """Return the requests of a file, read by the definition of OTLP: unknown fields are errors."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [
        json_format.ParseDict(_in_base64(json.loads(line)), ExportTraceServiceRequest())
        for line in text.splitlines()
    ]


def _in_base64(value: Any) -> Any:
    """Turn the numbers of spans from hexadecimal, as in OTLP, to base64, as protobuf has bytes."""
    if isinstance(value, list):
        return [_in_base64(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _in_base64(each) for key, each in value.items()}
    for key, length in IDS.items():
        if key in found:
            assert found[key] == found[key].lower()
            number = bytes.fromhex(found[key])
            assert len(number) == length
            assert any(number)
            found[key] = base64.b64encode(number).decode()
    return found


def spans(path: Path) -> list[Any]:
    return [
        span
        for request in requests(path)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def said(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    about = {"campaign": "search:Search", "host": "here", "random_seed": 2**70, "user": None}
    (run / "parameters.json").write_text(json.dumps(about))
    files = RecordFiles(run)
    failed = {
        "ended_as": "failed",
        "error": "ValueError: no: way",
        "value": None,
        "traceback": "line 1",
    }
    retried = entry(8, because=(7, 99), attempt=2, earlier=[EARLIER], **failed)
    files.write([entry(7, because=None), retried, entry(9, ended_as="cancelled", attempt=0)], [])
    files.close()
    return run


def test_a_task_is_a_span_with_its_attempts_below_it(folder: Path, tmp_path: Path) -> None:
    assert export_spans(folder, tmp_path / "run.jsonl", force=False).tasks == 3
    task, attempt, retried, first, second, cancelled = spans(tmp_path / "run.jsonl")
    assert (task.name, attempt.name) == ("search:energy", "attempt 1 at search:energy")
    assert (task.kind, attempt.kind) == (ProtoSpan.SPAN_KIND_INTERNAL, ProtoSpan.SPAN_KIND_CONSUMER)
    assert attempt.trace_id == task.trace_id
    assert attempt.parent_span_id == task.span_id
    assert not task.parent_span_id
    assert (task.start_time_unix_nano, task.end_time_unix_nano) == (10_500_000_000, 12_500_000_000)
    assert attempt.start_time_unix_nano == 11_500_000_000
    assert {first.parent_span_id, second.parent_span_id} == {retried.span_id}
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (9_000_000_000, 9_500_000_000)
    assert said(first.attributes)["steerio.node"] == "far"
    assert len({span.span_id for span in spans(tmp_path / "run.jsonl")}) == 6
    assert cancelled.trace_id != retried.trace_id


def test_links_lead_to_the_results_behind_a_task(folder: Path, tmp_path: Path) -> None:
    export_spans(folder, tmp_path / "run.jsonl", force=False)
    task, _, retried, *_ = spans(tmp_path / "run.jsonl")
    known, unknown = retried.links
    assert (known.trace_id, known.span_id) == (task.trace_id, task.span_id)
    assert unknown.trace_id != known.trace_id
    assert not task.links


def test_status_and_exceptions_say_how_tasks_ended(folder: Path, tmp_path: Path) -> None:
    export_spans(folder, tmp_path / "run.jsonl", force=False)
    task, _, retried, first, second, cancelled = spans(tmp_path / "run.jsonl")
    assert task.status.code == Status.STATUS_CODE_OK
    assert retried.status.code == second.status.code == Status.STATUS_CODE_ERROR
    assert retried.status.message == "ValueError: no: way"
    assert (first.status.code, first.status.message) == (
        Status.STATUS_CODE_ERROR,
        "lost: killed",
    )
    assert cancelled.status.code == Status.STATUS_CODE_UNSET
    (event,) = retried.events
    assert event.name == "exception"
    assert said(event.attributes) == {
        "exception.type": "ValueError",
        "exception.message": "no: way",
        "exception.stacktrace": "line 1",
    }


def test_attributes_have_types_and_the_run_is_the_resource(folder: Path, tmp_path: Path) -> None:
    export_spans(folder, tmp_path / "run.jsonl", force=False)
    (request,) = requests(tmp_path / "run.jsonl")
    (found,) = request.resource_spans
    about = said(found.resource.attributes)
    assert about["service.name"] == "Search"
    assert about["steerio.run"] == "run"
    assert about["steerio.random_seed"] == str(2**70)
    assert found.scope_spans[0].scope.name == "steerio"
    attributes = said(found.scope_spans[0].spans[0].attributes)
    assert attributes["steerio.task.id"] == 7
    assert attributes["steerio.task.priority"] == 0.5
    assert attributes["steerio.task.args"] == '[["C"],{}]'
    assert attributes["steerio.tag.batch"] == "3"


def test_a_repeated_export_is_the_same_and_another_run_has_other_numbers(
    folder: Path, tmp_path: Path
) -> None:
    places = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz", "d.jsonl")]
    for place in places[:3]:
        export_spans(folder, place, force=False)
    assert places[0].read_bytes() == places[1].read_bytes()
    assert requests(places[2]) == requests(places[0])
    moved = folder.rename(tmp_path / "elsewhere")
    export_spans(moved, places[1], force=True)
    numbers = [span.span_id for span in spans(places[0])]
    assert [span.span_id for span in spans(places[1])] == numbers
    change_head(moved, began=1.0)
    export_spans(moved, places[3], force=False)
    assert not {span.span_id for span in spans(places[3])} & {*numbers}


def test_each_line_is_a_request_of_a_bounded_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_export, "BATCH", 2)
    export_spans(folder, tmp_path / "run.jsonl", force=False)
    sizes = [
        len(request.resource_spans[0].scope_spans[0].spans)
        for request in requests(tmp_path / "run.jsonl")
    ]
    assert sizes == [5, 1]


def test_a_run_without_tasks_is_no_request(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    RecordFiles(folder).close()
    export_spans(folder, tmp_path / "run.jsonl", force=False)
    assert requests(tmp_path / "run.jsonl") == []


@given(value=st.text() | st.integers() | st.floats(allow_nan=False) | st.none())
def test_lines_of_any_content_make_spans(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True)
    odd = [value, [value], {"a": value}, True]
    with (folder / TASKS_FILE).open("w") as file:
        for each in odd:
            file.write(json.dumps(dict.fromkeys(TASK_COLUMNS, each)) + "\n")
            times = dict.fromkeys(("queued", "received", "sent", "ended"), 5.0)
            file.write(json.dumps(dict.fromkeys(TASK_COLUMNS, each) | times) + "\n")
    (folder / EVENTS_FILE).touch()
    export_spans(folder, folder / "run.jsonl", force=False)
    requests(folder / "run.jsonl")
