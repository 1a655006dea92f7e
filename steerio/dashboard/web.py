"""The routes of the dashboard, behind its door: the page, its updates, and its questions."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Generator, Iterable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from steerio.dashboard.access import ASSISTANTS, METRICS, Access, Tickets
from steerio.dashboard.access_tokens import AccessTokens, Giver
from steerio.dashboard.api import Api, api_error
from steerio.dashboard.assets import (
    MEDIA_TYPES,
    PAGE,
    SCRIPTS,
    STYLE,
    page_file,
    plotly_script,
    plotly_version,
    zipped,
)
from steerio.dashboard.assistant_endpoint import AssistantEndpoint
from steerio.dashboard.broadcast import Broadcast, Watched
from steerio.dashboard.steering_line import SteeringLine
from steerio.edge.system.own_files import to_json
from steerio.edge.system.threads import in_thread
from steerio.view.metrics_text import CONTENT_TYPE, metrics_text

MOST_SPANS = 20_000
"""Attempts in one answer at most: a window with more has to be narrower."""
MOST_QUESTIONS = 4
"""Looks into the record at a time; others wait for one of them to end."""
KEPT_S = 86_400
"""For so long browsers keep the script of plotly."""
MOST_CONNECTIONS = 128
"""Connections at a time, of all pages and strangers: more are answered with 503."""
LEAVE_S = 2
"""How long pages have to take in that the server ends, before their connections are closed."""


def dashboard_app(
    watched: Watched,
    broadcast: Broadcast,
    tickets: Tickets,
    line: SteeringLine,
    person: Giver,
    assistants: AssistantEndpoint | None = None,
    *,
    hosts: Iterable[str] = (),
    root_path: str = "",
) -> Access:
    """Return the application that shows a run, behind its door.

    Args:
        watched: the run.
        broadcast: the reader of the run for all pages.
        tickets: the token and cookie that pages need.
        line: the session with the run's campaign.
        person: the person that has the page, as the giver of orders.
        assistants: answers those that speak MCP; ``None``: their path is unknown.
        hosts: further names by which browsers call this server.
        root_path: the path in front of all of its paths.
    """
    paths = [] if assistants is None else [Route(path, assistants) for path in ASSISTANTS]
    app = Starlette(
        routes=[*routes(watched, broadcast, line), *paths],
        exception_handlers={HTTPException: api_error},
    )
    tokens = AccessTokens(line.folder)
    return Access(app, tickets, person, tokens.giver, hosts, root_path)


def routes(watched: Watched, broadcast: Broadcast, line: SteeringLine) -> list[Route]:
    """Return the routes, which answer requests that the door has let in."""

    async def updates(request: Request) -> Response:
        if broadcast.full:
            return PlainTextResponse("Too many pages are open; close some.", 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        stream = broadcast.updates()
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    questions = asyncio.Semaphore(MOST_QUESTIONS)

    async def ask(question: Callable[..., Any], *args: Any) -> Any:
        async with questions:
            return await in_thread(question, *args)

    async def asked(question: Callable[..., Any], *args: Any) -> Response:
        return _json(await ask(question, *args))

    async def metrics(request: Request) -> Response:
        async with questions:
            snapshot = await broadcast.snapshot()
            if snapshot is None:
                return PlainTextResponse("The server ends.", 503)
            text = await in_thread(metrics_text, snapshot)
        return PlainTextResponse(text, headers={"content-type": CONTENT_TYPE})

    async def spans(request: Request) -> Response:
        begin, end = _number(request, "begin"), _number(request, "end")
        most = _number(request, "most", MOST_SPANS)
        if begin is None or end is None or most is None or not 0 < most <= MOST_SPANS:
            return PlainTextResponse(
                f"spans takes begin= and end= in Unix seconds, and most=, up to {MOST_SPANS}", 400
            )
        return await asked(watched.spans, begin, end, int(most))

    async def story(request: Request) -> Response:
        return await asked(watched.story, request.path_params["number"])

    return [
        *(Route(path, _shows(name)) for path, name in _FILES.items()),
        Route("/plotly.min.js", _plotly),
        Route("/updates", updates),
        Route(METRICS, metrics),
        Route("/spans", spans),
        Route("/tasks/{number:int}", story),
        *Api(line, watched.story, ask).routes(),
    ]


_FILES = {"/": PAGE, **{f"/{name}": name for name in (PAGE, STYLE, *SCRIPTS)}}


def _shows(name: str) -> Callable[[Request], Response]:
    media_type = MEDIA_TYPES[name[name.rindex(".") :]]

    def show(request: Request) -> Response:
        return Response(page_file(name), media_type=media_type)

    return show


def _plotly(request: Request) -> Response:
    """Answer with plotly's script (in a thread of Starlette's, as it is read and compressed)."""
    script = plotly_script()
    if script is None:
        return PlainTextResponse("plotly is not installed here: charts are plain", 404)
    tag = f'"{plotly_version()}"'
    headers = {
        "cache-control": f"private, max-age={KEPT_S}",
        "etag": tag,
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(zipped(script), media_type="text/javascript", headers=headers)
    return Response(script.read_bytes(), media_type="text/javascript", headers=headers)


def _number(request: Request, name: str, default: float | None = None) -> float | None:
    try:
        value = float(request.query_params.get(name, default if default is not None else "nan"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")


class DashboardServer(uvicorn.Server):
    """A server that ends when ``should_exit`` is set, and leaves signals to its caller."""

    def __init__(self, app: Access) -> None:
        config = uvicorn.Config(
            app,
            access_log=False,
            http="h11",
            lifespan="off",
            limit_concurrency=MOST_CONNECTIONS,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=LEAVE_S,
            ws="none",
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield
