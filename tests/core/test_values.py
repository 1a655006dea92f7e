"""Settings, options, numbers and results: values that check themselves."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from steerio.errors import UsageError
from steerio.model.messages import TaskSettled
from steerio.model.results import Cancelled, Failed, Lost, Result, Succeeded, TimedOut, Timings
from steerio.model.settings import Settings
from steerio.model.tasks import CLIENT_BITS, Retries, TaskOptions, task_id

BOUNDS = Settings.__struct_fields__


def test_the_default_settings_are_sound() -> None:
    settings = Settings()
    assert settings.lease_s >= 2 * settings.beat_s


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_bound_that_bounds_nothing_is_refused_by_its_name(name: str, value: float) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=rf"Settings\.{name} must be .* not {value}"):
        Settings(**wrong)


@pytest.mark.borders
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"beat_s": "1"}, r"Settings\.beat_s must be a number, not '1'"),
        ({"lease_s": 1e308}, r"Settings\.lease_s must be above 0 and at most"),
        ({"start_s": True}, r"Settings\.start_s must be a number, not True"),
        ({"items": 1.5}, r"Settings\.items must be a whole number from 1 on"),
        ({"kills": 0}, r"Settings\.kills must be a whole number from 1 on, not 0"),
    ],
)
def test_settings_are_numbers_that_can_be_meant(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**wrong)


def test_a_lease_shorter_than_two_beats_is_refused() -> None:
    with pytest.raises(UsageError, match=r"lease_s \(1\.9\) must be at least two beats \(1\.0"):
        Settings(beat_s=1.0, lease_s=1.9)
    assert Settings(beat_s=1.0, lease_s=2.0).lease_s == 2.0


def test_settings_are_frozen_and_named() -> None:
    with pytest.raises(AttributeError):
        Settings().kills = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings(1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("priority", [math.nan, math.inf, -math.inf])
def test_a_priority_that_cannot_be_ranked_is_refused(priority: float) -> None:
    with pytest.raises(UsageError, match="priority must be a finite number"):
        TaskOptions(priority=priority)


@pytest.mark.parametrize("timeout_s", [0, -1.0, math.nan, math.inf])
def test_a_timeout_that_can_never_be_meant_is_refused(timeout_s: float) -> None:
    with pytest.raises(UsageError, match="timeout_s must be above 0 and at most"):
        TaskOptions(timeout_s=timeout_s)


@pytest.mark.parametrize("grace", [-0.1, math.nan, math.inf])
def test_a_grace_that_can_never_be_meant_is_refused(grace: float) -> None:
    with pytest.raises(UsageError, match="cancel_grace_s must be 0 or more"):
        TaskOptions(cancel_grace_s=grace)


def test_options_at_their_edges_are_accepted() -> None:
    options = TaskOptions(priority=-1e300, timeout_s=1e-9, cancel_grace_s=0)
    assert options.cancel_grace_s == 0
    assert TaskOptions(timeout_s=None).timeout_s is None


def test_only_lost_workers_are_retried_unless_told_otherwise() -> None:
    assert TaskOptions().retries == Retries(lost=2, failed=0, timed_out=0)


def test_options_are_checked_on_arrival_too() -> None:
    body = msgspec.msgpack.encode([math.nan])
    with pytest.raises(UsageError, match="priority must be a finite number"):
        msgspec.msgpack.decode(body, type=TaskOptions)


def test_task_ids_of_two_clients_never_meet() -> None:
    assert task_id(0, 7) == 7
    assert task_id(3, 7) >> CLIENT_BITS == 3
    assert task_id(1, 0) > task_id(0, 2**CLIENT_BITS - 1)


def test_what_no_broker_will_tell_of_is_told_with_nothing_made_up() -> None:
    told = TaskSettled.unknown(7, "lost", 12.5, "the broker was lost")
    assert (told.task_id, told.ended_as, told.reason) == (7, "lost", "the broker was lost")
    assert (told.attempt, told.worker, told.queued) == (0, None, 12.5)
    assert (told.sent, told.started, told.ended, told.received) == (None, None, None, None)
    assert (told.args_bytes, told.value_bytes, told.body, told.frames) == (0, 0, b"", 0)
    assert told.error is None


def test_run_time_is_known_once_a_task_started_and_ended() -> None:
    assert Timings(started=2.0, ended=5.0).run_s == 3.0
    assert Timings(started=2.0).run_s is None
    assert Timings(ended=2.0).run_s is None
    assert Timings().run_s is None


def test_each_kind_of_result_says_how_it_ended() -> None:
    kinds: list[type[Result]] = [Succeeded, Failed, Cancelled, TimedOut, Lost]
    ends = [kind.ended_as for kind in kinds]
    assert ends == ["succeeded", "failed", "cancelled", "timed_out", "lost"]
