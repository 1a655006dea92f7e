"""The path at which AI assistants speak MCP to the dashboard, each with an access token.

The door has let a request in by its token before it comes here. Each token has a server of its own,
of which there is a bounded number.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from steerio.dashboard.access import GIVER, Receive, Scope, Send, rpc_error
from steerio.dashboard.access_tokens import Giver
from steerio.dashboard.api import body_of
from steerio.dashboard.token_server import ENDS, MOST_MESSAGE, RATED_S, TokenServer
from steerio.errors import UsageError
from steerio.mcp.stdio_serving import need_sdk

MOST_SERVERS = 32
"""Tokens that are served at a time."""
MOST_REQUESTS = 16
"""Requests of one token at a time: fewer than the dashboard takes connections."""


class AssistantEndpoint:
    """An ASGI application that answers assistants; `hold` has to run meanwhile.

    Args:
        folder: the run directory.
        token_giver: returns the giver whose token is in a header of authorization; it may block.
    """

    def __init__(self, folder: Path, token_giver: Callable[[str], Giver | None]) -> None:
        self._folder = folder
        self._token_giver = token_giver
        self._servers: dict[str, TokenServer] = {}
        self._tasks: TaskGroup | None = None
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<AssistantEndpoint of {self._folder}: {len(self._servers)} servers>"

    async def hold(self) -> None:
        """Keep the servers until `close`, and end them."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self._closed.wait()
            finally:
                self._tasks = None
                for server in self._servers.values():
                    server.end()

    def close(self) -> None:
        """Have `hold` end, and break off the requests that are under way."""
        self._closed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            await self._answer(request, send)
        except HTTPException as error:
            content, headers = rpc_error(error.detail), dict(error.headers or {})
            answer = Response(content, error.status_code, headers, "application/json")
            await answer(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> None:
        """Have a request answered by the server of its token.

        Raises:
            HTTPException: it cannot be.
        """
        if request.method != "POST":
            raise HTTPException(405, "messages are sent by POST alone", {"allow": "POST"})
        try:
            need_sdk()
        except UsageError as error:
            raise HTTPException(501, f"{error}, where the dashboard runs") from None
        server = self._server_of(request.headers["authorization"], request.scope[GIVER])
        if server.requests >= MOST_REQUESTS:
            raise HTTPException(
                429, f"{MOST_REQUESTS} requests of this token are under way: ask again later"
            )
        with server.taking():
            body = await body_of(request, MOST_MESSAGE)
            refusal = await server.answer(request.scope, body, request.receive, send)
        if refusal is not None:
            raise HTTPException(refusal.status, refusal.reason)

    def _server_of(self, header: str, giver: Giver) -> TokenServer:
        """Return the server of the token in a header, which is started if there is none.

        Raises:
            HTTPException: no more can be started.
        """
        token = header.partition(" ")[2].strip()  # the same, however the header is written
        key = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
        server = self._servers.get(key)
        if server is not None and not server.over:
            if server.giver == giver:
                return server
            server.end()
        if self._tasks is None:
            raise HTTPException(ENDS.status, ENDS.reason)
        self._make_room()

        def holds() -> bool:
            return self._token_giver(f"Bearer {token}") == giver

        server = self._servers[key] = TokenServer(self._folder, giver, holds)
        self._tasks.start_soon(self._keep, key, server)
        return server

    async def _keep(self, key: str, server: TokenServer) -> None:
        try:
            await server.keep()
        finally:
            if self._servers.get(key) is server:
                del self._servers[key]

    def _make_room(self) -> None:
        """End the server that was unused for longest, if there are too many.

        Raises:
            HTTPException: all are in use.
        """
        there = [server for server in self._servers.values() if not server.over]
        if len(there) < MOST_SERVERS:
            return
        oldest = max(there, key=lambda server: server.unused_s)
        if oldest.unused_s <= RATED_S:
            raise HTTPException(
                503, f"assistants with {MOST_SERVERS} tokens are served already: ask again later"
            )
        oldest.end()
