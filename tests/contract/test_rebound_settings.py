"""A setting that was changed where workers do not see it is told of, once."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steerio.session.task_type import as_task_type

pytestmark = pytest.mark.borders

SOURCE = """
SCALE, NAME, OTHER, _calls, TABLE, lazily = 2, "a", 1.0, 0, {}, None

def scaled(x):
    return SCALE * x

def indirectly(x):
    return scaled(x)

def named(x):
    global _calls, lazily
    _calls += 1
    lazily = lazily or object()
    TABLE[x] = x
    return NAME, TABLE, lazily

def pure(x):
    return x
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    name = f"settings_{uuid.uuid4().hex}"  # one that comes again counts as reloaded
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    del sys.modules[name]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings since this was asked last."""
    said = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return said


@pytest.mark.parametrize("name", ["scaled", "indirectly"])
def test_a_number_that_was_changed_here_is_told_of_once(
    settings: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    kind = as_task_type(getattr(settings, name))
    spec = kind.spec
    assert kind.spec is spec
    settings.OTHER = 3.0
    assert kind.spec is spec
    assert told(caplog) == []
    settings.SCALE = 10
    assert kind.spec is spec, "it goes by path all the same"
    (said,) = told(caplog)
    assert f"{name} reads SCALE of {settings.__name__}, which was 2 and is 10 here by now" in said
    settings.SCALE = 11
    assert kind.spec is spec
    assert told(caplog) == []


def test_the_beginning_of_a_run_counts_and_not_the_first_submit(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kind = as_task_type(settings.named)
    kind.note_settings()
    settings.NAME = "b"
    with kind.as_it_is():
        assert kind.spec.name.endswith("named")
    (said,) = told(caplog)
    assert "NAME" in said


def test_what_each_process_makes_for_itself_is_not_told_of(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kind = as_task_type(settings.named)
    assert kind.spec is kind.spec
    settings.named(1)
    settings.SCALE = 10  # which it does not read
    assert kind.spec is kind.spec
    assert told(caplog) == []


def test_a_function_that_reads_no_setting_is_looked_at_no_more(settings: Any) -> None:
    kind = as_task_type(settings.pure)
    assert "spec" not in vars(kind)
    assert kind.spec is vars(kind)["spec"]
