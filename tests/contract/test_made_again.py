"""``steerio resume`` makes a campaign with the arguments that it was made with."""

from __future__ import annotations

import types
from typing import Any

from steerio import Campaign
from steerio.campaign.run_journal import began_now
from steerio.cli.resuming import _made_again  # pyright: ignore[reportPrivateUsage]


class PassingOn(Campaign):
    """Its ``__init__`` takes any arguments, as one does that passes them on."""

    def __init__(self, *args: Any, size: int = 3, **options: Any) -> None:
        self.given = args, size, options


def test_an_init_that_passes_arguments_on_is_called_as_from_the_command_line() -> None:
    module = types.ModuleType(__name__)
    module.PassingOn = PassingOn  # type: ignore[attr-defined]
    began = began_now(PassingOn(size=5), "search.py", 1, ({}, {}))
    again = _made_again(module, began)
    assert isinstance(again, PassingOn)
    assert again.given == ((), 5, {})
