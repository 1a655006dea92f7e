"""The policy of examples/materials on nodes of a machine, by models of its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.example_modules import example_module


@pytest.fixture
def at_scale() -> Iterator[ModuleType]:
    with example_module("materials", "at_scale") as module:
        yield module


def test_450_nodes_have_the_places_of_the_campaign(at_scale: ModuleType) -> None:
    workers, part = at_scale.layout(450)
    assert workers["dynamics"] == 2_440
    assert sum(count * part[pool] for pool, count in workers.items()) == pytest.approx(450)


def test_ten_nodes_are_busy_after_ten_minutes_and_records_are_made_at_once(
    at_scale: ModuleType,
) -> None:
    minutes: list[float] = []
    seen = at_scale.measure(10, 1 / 6, progress=minutes.append)
    assert minutes == pytest.approx([float(n) for n in range(1, len(minutes) + 1)], abs=0.01)
    assert seen.pools["dynamics"] > 0.9
    assert len(seen.recorded) == seen.dynamics > 20
    assert 0 < max(seen.recorded) < 0.2
    assert max(map(sum, zip(*seen.use.values(), strict=True))) <= 1.0001


def test_a_new_model_is_used_soon(at_scale: ModuleType) -> None:
    seen = at_scale.measure(10, 1 / 3)
    assert seen.used
    assert min(seen.used) < 20


def test_at_scale_has_as_many_workers_as_asked(at_scale: ModuleType) -> None:
    ran = at_scale.at_scale(64)
    assert ran.utilisation() > 0.5
    assert ran.worker_seconds()[1] == pytest.approx(64 * ran.duration_s, rel=0.01)


@pytest.mark.stress
@pytest.mark.timeout(3_600)
def test_450_nodes_for_three_hours(at_scale: ModuleType) -> None:
    seen = at_scale.measure(450, 3.0)
    assert 120_000 < seen.tasks < 250_000
    assert seen.failed == pytest.approx(0.43, abs=0.02)
    assert seen.early == pytest.approx(0.25, abs=0.02)
    assert seen.best > 0.95
    assert max(seen.recorded) < 0.2
