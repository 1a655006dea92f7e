"""A server that speaks as those of language models do, on a free port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec


class ChatServer:
    """Gives each request the next of some replies, and keeps the requests.

    A reply is the text of a completion; a status, with bytes for its body; bytes for a body; or
    ``None``: it never comes.
    """

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.url = ""
        self.came = asyncio.Event()
        """Set when a request has come."""
        self.left = asyncio.Event()
        """Set when a client has left without a reply."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            body = await reader.readexactly(int(length[1]))
            self.heads.append(head)
            self.requests.append(msgspec.json.decode(body))
            self.came.set()
            await self.answer(reader, writer, self.replies.pop(0))
        except ConnectionError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Any
    ) -> None:
        if reply is None:
            assert await reader.read() == b""
            self.left.set()
            return
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        if isinstance(body, str):
            body = msgspec.json.encode({"choices": [{"message": {"content": body}}], "id": "c1"})
        writer.write(f"HTTP/1.1 {status} x\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()


@contextlib.asynccontextmanager
async def chat_server(*replies: Any) -> AsyncGenerator[ChatServer]:
    chat = ChatServer(*replies)
    server = await asyncio.start_server(chat.serve, "127.0.0.1", 0)
    chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/"
    try:
        yield chat
    finally:
        server.close()
        await server.wait_closed()
