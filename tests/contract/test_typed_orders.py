"""Orders that are typed at a terminal are refused before they are sent if they cannot be read."""

from __future__ import annotations

import pytest

from steerio.cli.ordering import submit_task
from steerio.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "kwargs", "said"),
    [
        ("[1", [], "cannot be read as JSON"),
        ('{"x": 1}', [], "the arguments are a list"),
        ("[]", ["x"], "is no keyword argument"),
        ("[]", ["x=1", "x=2"], "--kwarg x is given twice"),
    ],
)
def test_arguments_of_a_task_that_cannot_be_meant_are_refused(
    arguments: str, kwargs: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        submit_task("nowhere", "ada", "measure", arguments, kwargs, None)
