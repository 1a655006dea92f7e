"""The messages between a campaign and its prompts."""

from __future__ import annotations

import msgspec
import pytest

from steerio.model.attached import INTERRUPTED, RAN, FromPrompt, RunStatement, StatementEnded


@pytest.mark.parametrize(
    ("outcome", "ran"), [(RAN, True), (INTERRUPTED, False), ("KeyError", False)]
)
def test_a_statement_ran_or_did_not(outcome: str, ran: bool) -> None:
    assert StatementEnded(outcome).ran is ran


def test_messages_tell_their_kind() -> None:
    message = RunStatement("1 + 1")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=FromPrompt) == message
