"""The access tokens of a run: which programs may ask and order at its dashboard, in which role.

A token is 256 random bits, shown once. The run directory has its digest alone (SHA-256: there is
nothing to guess, so nothing slower is needed), in a file that only its owner can read. The file is
read at each request that shows a token, so a token that was dropped, or has expired, is refused
from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
from msgspec import Struct

from steerio.edge.system.own_files import open_lock, read_own, rewriting
from steerio.errors import UsageError
from steerio.model.roles import ASSISTANT, NO_BUDGET, Budget, Role, check_budget
from steerio.session.run_dir import TOKENS, TOKENS_LOCK

log = logging.getLogger("steerio.dashboard")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""The names of tokens. A person is USER@HOST and an agent Class.method: no token is called so."""
MOST_TOKENS = 1_000
"""Tokens of one run at most."""


class Giver(Struct, frozen=True):
    """The person or program of a request: its name in the audit, its role, and its budget."""

    name: str
    role: Role
    budget: Budget = NO_BUDGET


class AccessToken(Struct, frozen=True):
    """A token as the file has it.

    Attributes:
        name: of the program that has it.
        role: that of its requests.
        digest: SHA-256 of the token, in hexadecimal digits.
        created: when it was made, in Unix seconds.
        expires: when it is refused from, in Unix seconds; ``None``: it does not expire.
        budget: how much it may have computed.
    """

    name: str
    role: Role
    digest: str
    created: float
    expires: float | None = None
    budget: Budget = NO_BUDGET


class AccessTokens:
    """The tokens in the file of a run directory.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / TOKENS

    def __repr__(self) -> str:
        return f"<AccessTokens in {self._path}>"

    def all(self) -> list[AccessToken]:
        """Return all tokens, those that have expired too, in the order in which they were made.

        Raises:
            UsageError: the file cannot be read, or others than its owner could have written it.
        """
        try:
            content, _ = read_own(self._path)
            return msgspec.json.decode(content, type=list[AccessToken])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{self._path} cannot be read: {error}") from None

    def add(
        self, name: str, role: Role, budget: Budget = NO_BUDGET, expires_s: float | None = None
    ) -> str:
        """Make a token, and return it: it is kept nowhere.

        Args:
            name: of the program that gets it, unlike all others.
            role: its role.
            budget: how much it may have computed.
            expires_s: seconds after which it is refused; ``None``: it does not expire.

        Raises:
            UsageError: the name is none or taken, the budget is none, or the file cannot be read or
                written.
        """
        check_budget(budget)
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} is no name of a token: take 1 to 64 letters, digits, _ and -, and "
                "a letter or digit first"
            )
        if name == ASSISTANT:
            raise UsageError(
                f"{name} is the name of an assistant over steerio mcp, from which the audit and "
                "the budgets could not tell this one: take another name"
            )
        token, now = secrets.token_urlsafe(32), time.time()
        with self._changing() as tokens:
            if any(each.name == name for each in tokens):
                raise UsageError(
                    f"there is a token of the name {name} already: drop it (steerio token "
                    f"{self._folder} drop {name}), or take another name"
                )
            if len(tokens) >= MOST_TOKENS:
                raise UsageError(f"there are {MOST_TOKENS} tokens already: drop those not in use")
            expires = None if expires_s is None else now + expires_s
            tokens.append(AccessToken(name, role, _digest(token), now, expires, budget))
        return token

    def drop(self, name: str) -> None:
        """Remove a token, which is refused from now on.

        Raises:
            UsageError: there is none of this name, or the file cannot be read or written.
        """
        with self._changing() as tokens:
            left = [each for each in tokens if each.name != name]
            if len(left) == len(tokens):
                there = ", ".join(each.name for each in tokens) or "none"
                raise UsageError(f"there is no token of the name {name!r} (there are: {there})")
            tokens[:] = left

    def giver(self, header: str) -> Giver | None:
        """Return the program whose token is in a header of authorization; ``None``: it has none.

        A file that cannot be read has no token.
        """
        scheme, _, given = header.partition(" ")
        try:
            tokens = self.all() if scheme.lower() == "bearer" else []
        except UsageError as error:
            log.warning("no access token is accepted: %s", error)
            return None
        digest, now, found = _digest(given.strip()), time.time(), None
        for each in tokens:  # all of them, in a time that does not tell which
            if secrets.compare_digest(each.digest.encode(), digest.encode()):
                found = each
        if found is None or (found.expires is not None and now >= found.expires):
            return None
        return Giver(found.name, found.role, found.budget)

    @contextlib.contextmanager
    def _changing(self) -> Generator[list[AccessToken]]:
        """Give the tokens to change, which are written if all goes well; one process at a time."""
        try:
            # not the folder: a standing broker has locked that for as long as it lives
            lock = open_lock(self._folder / TOKENS_LOCK)
        except OSError as error:
            raise UsageError(
                f"{self._folder} is no run directory: {error.strerror}; name that of the dashboard"
            ) from None
        with rewriting(self._path, lock, self.all) as tokens:
            yield tokens


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
