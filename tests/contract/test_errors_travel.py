"""An exception of a task arrives itself, of whatever class it is and whatever it carries."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steerio.worker.failure import PICKLED_BYTES, describe

pytestmark = pytest.mark.borders


class NotConverged(Exception):
    def __init__(self, message: str, carried: Any) -> None:
        super().__init__(message, carried)
        self.carried = carried


def class_of_a_script() -> type[Exception]:
    """Return a class that goes by value, as those of ``__main__`` do."""

    class Diverged(Exception):
        def __init__(self, message: str, carried: Any) -> None:
            super().__init__(message)
            self.carried = carried

        def __reduce__(self) -> Any:
            return type(self), (self.args[0], self.carried)

    return Diverged


CARRIED: dict[str, Any] = {
    "a short array": np.arange(3.0),
    "4 kB": np.arange(512.0),
    "100 kB": np.arange(12_800.0),
    "columns first": np.asfortranarray(np.arange(2_000.0).reshape(40, -1)),
    "every other one": np.arange(4_000.0)[::2],
    "dates": np.arange(2_000).astype("M8[s]"),
    "arrays in a dict": {"a": np.arange(2_000.0), "b": [np.arange(1_000)]},
    "a table": pd.DataFrame({"a": np.arange(2_000.0)}),
    "bytes": bytes(100_000),
    "a bytearray": bytearray(100_000),
}


@pytest.mark.parametrize("kind", [NotConverged, class_of_a_script()], ids=["module", "script"])
@pytest.mark.parametrize("name", CARRIED)
def test_an_exception_arrives_with_what_it_carries(kind: Any, name: str) -> None:
    raised = kind("no", CARRIED[name])
    error = describe(raised, 0)
    arrived = pickle.loads(error.pickled)
    assert type(arrived) is kind
    assert arrived.args[0] == "no"
    assert repr(arrived.carried) == repr(CARRIED[name])


def test_an_exception_that_carries_too_much_is_told_of_in_words() -> None:
    error = describe(class_of_a_script()("no", np.zeros(PICKLED_BYTES)), 0)
    assert error.pickled == b""
    assert "it does not travel itself" in error.message
