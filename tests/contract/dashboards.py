"""A dashboard for a test: served on the test's loop, and asked over TCP as by a browser."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from steerio.dashboard.broadcast import Watched
from steerio.dashboard.run_follower import watch
from steerio.dashboard.serving import Served, listen, serving


@dataclass
class Dashboard:
    """A dashboard, the URLs that it has told, and a client that has no cookie yet."""

    port: int
    client: httpx.AsyncClient
    urls: list[str] = field(default_factory=list)

    async def open(self) -> None:
        """Open the newest URL, as a browser does, and keep the cookie."""
        answer = await self.client.get(self.urls[-1])
        assert answer.status_code == 200

    @contextlib.asynccontextmanager
    async def updates(self, path: str = "/updates") -> AsyncGenerator[Updates]:
        """Read the stream of updates."""
        async with self.client.stream("GET", path) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Updates(answer)


class Updates:
    """The server-sent events of one page."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._bytes = answer.aiter_bytes()
        self._rest = b""

    async def first(self) -> bytes:
        """Return the first bytes that come."""
        self._rest = await anext(self._bytes)
        return self._rest

    async def next(self, event: str) -> bytes:
        """Return the whole text of the next event of a name."""
        while True:
            text, end, rest = self._rest.partition(b"\n\n")
            if not end:
                self._rest += await anext(self._bytes)
                continue
            self._rest = rest
            if text.startswith(b"event: %b\n" % event.encode()):
                return text + end


@contextlib.asynccontextmanager
async def running(
    run: Path | Watched, served: Served | None = None, **client: object
) -> AsyncGenerator[Dashboard]:
    """Serve a run for the length of a context."""
    with contextlib.ExitStack() as opened:
        watched = opened.enter_context(watch(run)) if isinstance(run, Path) else run
        served = served or Served()
        listener = opened.enter_context(contextlib.closing(listen(served)))
        urls: list[str] = []
        tell: Callable[[str], None] = urls.append
        port = listener.getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        async with (
            serving(watched, served, listener, tell),
            httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as asked,
        ):
            yield Dashboard(port, asked, urls)
