"""The MCP server of one access token: kept from the token's first request until it is not used.

One server answers all requests of a token, so that its bounds on calls and orders hold across them.
It ends, and all that it works on with it, when its token is dropped or expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from steerio.dashboard.access import Receive, Refusal, Scope, Send
from steerio.dashboard.access_tokens import Giver
from steerio.edge.system.threads import in_thread
from steerio.errors import SteerioError
from steerio.mcp.seen_run import AssistantGate

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

log = logging.getLogger("steerio.dashboard")

MOST_MESSAGE = 1 << 20
"""Bytes of a message at most."""
CHECK_S = 1.0
"""How often it is looked whether the token still holds."""
IDLE_S = 600.0
"""A server that was asked nothing for so long ends: it has a session with the broker."""
RATED_S = 60.0
"""The time that bounds on orders look back: a younger server makes no room for another."""
LEAVE_S = 3.0
"""How long requests under way have to be broken off."""

_SDK = "mcp.server.streamable_http_manager"
"""A module of an extra's package, which takes a second to import."""

ENDS = Refusal(503, "the dashboard ends")
DROPPED = Refusal(401, "this access token was dropped, or has expired")
FAILED = Refusal(500, "the server has failed, and the log of the dashboard says why")


class TokenServer:
    """The server of one token.

    Args:
        folder: the run directory.
        giver: name, role and budget of the token.
        holds: returns whether the token still holds; it may block.
    """

    def __init__(self, folder: Path, giver: Giver, holds: Callable[[], bool]) -> None:
        self._folder = folder
        self.giver = giver
        self._holds = holds
        self._manager: StreamableHTTPSessionManager | None = None
        self._opened, self._told, self._left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._over = asyncio.Event()
        self._refusal = ENDS
        self._used = time.monotonic()
        self.requests = 0
        """Requests that are under way."""

    def __repr__(self) -> str:
        return f"<TokenServer of {self.giver.name}: {self.requests} requests>"

    @property
    def over(self) -> bool:
        """Whether it takes no more requests."""
        return self._over.is_set() or self._told.is_set()

    @property
    def unused_s(self) -> float:
        """For how long it was asked nothing."""
        return 0.0 if self.requests else time.monotonic() - self._used

    def end(self) -> None:
        """Have it end, and break off the requests that are under way."""
        self._told.set()

    # -- its life --------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Be there for requests until `end`, or the token is gone, or nothing is asked for long."""
        try:
            await in_thread(import_module, _SDK)
            self._manager = _manager_of(self._folder, self.giver)
            async with self._manager.run():
                self._opened.set()
                try:
                    self._refusal = await self._until_over()
                finally:
                    self._over.set()
                with anyio.move_on_after(LEAVE_S):
                    while self.requests:
                        self._left.clear()
                        await self._left.wait()
        except (SteerioError, OSError) as error:
            self._refusal = Refusal(503, f"the run cannot be shown: {error}")
        except Exception:
            log.exception("the server for assistants of the token %s has failed", self.giver.name)
            self._refusal = FAILED
        finally:
            self._over.set()
            self._opened.set()

    async def _until_over(self) -> Refusal:
        """Wait until the server has to end, and return the refusal of requests under way."""
        while self.unused_s <= IDLE_S:
            with anyio.move_on_after(CHECK_S):
                await self._told.wait()
            if self._told.is_set():
                return ENDS
            if not await in_thread(self._holds):
                return DROPPED
        return ENDS

    # -- its requests ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def taking(self) -> Generator[None]:
        """Count a request that is under way."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self._used = time.monotonic()
            self._left.set()

    async def answer(
        self, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> Refusal | None:
        """Answer a request, unless the server ends or the client leaves first.

        Args:
            scope: of the request.
            body: its body, which was received.
            receive: tells that the client leaves.
            send: sends the answer.

        Returns:
            the refusal, if no answer was begun; ``None``: one was, or the client has left.
        """
        await self._opened.wait()
        if self._over.is_set() or self._manager is None:
            return self._refusal
        said = _Said(send)
        asked = _Replayed(body)
        answering = asyncio.ensure_future(self._manager.handle_request(scope, asked, said))
        over = asyncio.ensure_future(self._over.wait())
        gone = asyncio.ensure_future(_gone(receive))
        waits: list[asyncio.Future[Any]] = [answering, over, gone]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            left = gone.done() and not answering.done()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if said.begun or left:
            return None
        if self._over.is_set():
            return self._refusal
        log.error("a request of an assistant has failed", exc_info=answering.exception())
        return FAILED


def _manager_of(folder: Path, giver: Giver) -> StreamableHTTPSessionManager:
    """Make the server, with no state of its clients: each request is answered by itself."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from steerio.mcp.assistant_server import assistant_server

    server = assistant_server(folder, AssistantGate(giver.role, giver.name, giver.budget))
    return StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=MOST_MESSAGE
    )


async def _gone(receive: Receive) -> None:
    """Wait until a client leaves whose request was received."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Replayed:
    """Receives a body once more; then nothing comes until the request is answered or broken off."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __call__(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": False}


class _Said:
    """Sends an answer on, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Any) -> None:
        self.begun = True
        await self._send(message)
