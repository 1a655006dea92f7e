"""Access tokens are known by their digests alone, until they are dropped or expire."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest

from steerio.cli.assistant_command import serve_assistant
from steerio.dashboard.access_tokens import AccessTokens, Giver
from steerio.edge.record.broker_file import alone_in
from steerio.errors import UsageError
from steerio.model.roles import ROLES, Budget, Role

LOOK: Role = "look"


def test_a_token_is_known_in_its_role_until_it_is_dropped(tmp_path: Path) -> None:
    tokens = AccessTokens(tmp_path)
    assert tokens.all() == []
    made: dict[Role, str] = {role: tokens.add(f"of-{role}", role, Budget(3)) for role in ROLES}
    for role, token in made.items():
        giver = Giver(f"of-{role}", role, Budget(3))
        assert tokens.giver(f"Bearer {token}") == giver
        assert tokens.giver(f"bearer  {token} ") == giver
        assert token not in (tmp_path / "tokens.json").read_text()
    tokens.drop("of-look")
    assert tokens.giver(f"Bearer {made['look']}") is None
    assert tokens.giver(f"Bearer {made['code']}") is not None


@pytest.mark.parametrize(
    "wrong", ["", "Bearer", "Bearer ", "Bearer x", "Basic {}", "{}", "Bearer {}x"]
)
def test_other_headers_are_of_no_token(tmp_path: Path, wrong: str) -> None:
    tokens = AccessTokens(tmp_path)
    token = tokens.add("bot", "code")
    assert tokens.giver(wrong.format(token)) is None
    digest = tokens.all()[0].digest
    assert tokens.giver(f"Bearer {digest}") is None


def test_a_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = AccessTokens(tmp_path)
    now = time.time()
    token = tokens.add("bot", "look", expires_s=60)
    assert tokens.giver(f"Bearer {token}") is not None
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert tokens.giver(f"Bearer {token}") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[{"name": "x"}]', b"\xff"])
def test_a_file_that_is_none_has_no_token_and_is_not_written_over(
    tmp_path: Path, content: bytes
) -> None:
    tokens = AccessTokens(tmp_path)
    token = tokens.add("bot", "look")
    (tmp_path / "tokens.json").write_bytes(content)
    assert tokens.giver(f"Bearer {token}") is None
    with pytest.raises(UsageError, match="cannot be read"):
        tokens.add("other", "look")
    assert (tmp_path / "tokens.json").read_bytes() == content


def test_a_file_that_others_could_have_written_has_no_token(tmp_path: Path) -> None:
    tokens = AccessTokens(tmp_path)
    token = tokens.add("bot", "look")
    (tmp_path / "tokens.json").chmod(0o666)
    assert tokens.giver(f"Bearer {token}") is None
    with pytest.raises(UsageError, match="others than its owner can write"):
        tokens.all()


@pytest.mark.parametrize("name", ["", "a b", "me@here", "Search.work", "-x", "x" * 65, "a\n", "ä"])
def test_a_token_is_called_like_no_person_and_no_agent(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a token"):
        AccessTokens(tmp_path).add(name, "look")


def test_no_token_and_no_assistant_over_its_own_streams_have_one_name(tmp_path: Path) -> None:
    tokens = AccessTokens(tmp_path)
    with pytest.raises(UsageError, match="is the name of an assistant over steerio mcp"):
        tokens.add("assistant", "steer")
    tokens.add("fitter", "steer")
    with pytest.raises(UsageError, match="there is an access token of the name fitter"):
        serve_assistant(str(tmp_path), "propose", "fitter", None, None)


def test_tokens_are_made_beside_a_standing_broker(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        thread = threading.Thread(
            target=AccessTokens(tmp_path).add, args=("bot", LOOK), daemon=True
        )
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    with alone_in(tmp_path):
        AccessTokens(tmp_path).drop("bot")


def test_tokens_that_are_made_at_a_time_are_all_kept(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=AccessTokens(tmp_path).add, args=(f"bot-{number}", LOOK))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in AccessTokens(tmp_path).all()} == {f"bot-{n}" for n in range(8)}


@pytest.mark.parametrize("hours", [math.nan, math.inf, -1.0])
def test_a_budget_that_bounds_nothing_is_refused(tmp_path: Path, hours: float) -> None:
    with pytest.raises(UsageError, match="worker_hours of a budget is a finite number from 0"):
        AccessTokens(tmp_path).add("bot", "steer", Budget(worker_hours=hours))
