"""What stands for a value says so to whoever takes it for the value, and stays what it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sized
from typing import Any

import numpy as np
import pytest

from steerio import Session, UsageError
from steerio.testing import SimulatedCluster
from tests.simulated.virtual import on_cluster

MISUSES: list[Callable[[Any], object]] = [
    lambda it: it.shape,
    lambda it: it.mean(),
    lambda it: it[0],
]


def check_stand_in(it: Any, hint: str) -> None:
    """Assert that something misused says what to do, and is else as any object."""
    for misuse in MISUSES:
        with pytest.raises((AttributeError, TypeError), match=hint):
            misuse(it)
    with pytest.raises(AttributeError, match=r"no attribute '__array_interface__'$"):
        it.__array_interface__  # noqa: B018 - it is what NumPy asks for
    assert not hasattr(it, "shape")
    assert not hasattr(it, "__array__")
    assert it
    assert not isinstance(it, (Sized, Iterable))
    with pytest.raises(TypeError, match="not iterable"):
        iter(it)
    assert copy.copy(it) is it
    assert copy.deepcopy([it])[0] is it
    held = np.array([it, it])
    assert (held.dtype, held.shape) == (object, (2,))
    assert np.asarray(it).item() is it


@on_cluster(1)
async def test_a_reference_taken_for_its_value_says_how_to_have_that(
    cluster: SimulatedCluster, session: Session
) -> None:
    reference = await session.put([1.0, 2.0])
    check_stand_in(reference, "value = await reference")
    assert (await reference)[1] == 2.0
    models = session.versions("model")
    await models.publish(3)
    current = await models.current()
    check_stand_in(current, "value = await reference")
    assert current.version == 1


@on_cluster(1)
async def test_the_latest_version_taken_for_a_value_says_how_to_have_one(
    cluster: SimulatedCluster, session: Session
) -> None:
    latest = session.versions("model").latest
    check_stand_in(latest, r"await versions\.current\(\), or next\(\)")
    with pytest.raises(UsageError, match=r"<Latest 'model'> .* await versions\.current\(\)"):
        await latest


@on_cluster(1)
async def test_versions_need_a_name(cluster: SimulatedCluster, session: Session) -> None:
    wrong: list[Any] = ["", 3, None, b"model"]
    for name in wrong:
        with pytest.raises(UsageError, match="the name of versions"):
            session.versions(name)
