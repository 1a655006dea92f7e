"""A web service that runs tasks: a steerio session inside a Starlette app.

The app owns the event loop; the session lives in it from start to end of the app.

    POST   /tasks?samples=1000000   submit; answers {"id": ...}
    GET    /tasks/{id}              state, and the value once there is one
    DELETE /tasks/{id}              cancel
    GET    /events                  server-sent events: tasks that start, progress and end

    python examples/service/app.py --port 8000    serve
    python examples/service/app.py --quick        serve, ask itself a few things, and end

It needs starlette, uvicorn and httpx.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from steerio import (
    Failed,
    Session,
    Succeeded,
    Task,
    TaskEnded,
    TaskProgress,
    TaskStarted,
    open_session,
    report,
    should_stop,
    task,
)

KEPT_TASKS = 1_000
"""Tasks that are remembered; of more, the oldest that have ended are forgotten."""


@task(timeout_s=60.0)
def estimate_pi(samples: int) -> float:
    """Estimate pi from random points; where it is asked to stop, from those it has so far."""
    chance = random.Random(samples)
    inside, count = 0, 1
    for count in range(1, samples + 1):
        inside += chance.random() ** 2 + chance.random() ** 2 < 1
        if count % 50_000 == 0:
            report(count / samples)
            if should_stop():
                break
    return 4 * inside / count


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold the session open while the app serves."""
    async with open_session(workers={"default": 2}) as session:
        app.state.session = session
        app.state.tasks = {}
        yield


async def submit(request: Request) -> JSONResponse:
    """Queue a task."""
    try:
        samples = int(request.query_params.get("samples", "1000000"))
    except ValueError:
        raise HTTPException(400, "samples must be a whole number") from None
    if not 0 < samples <= 100_000_000:
        raise HTTPException(400, "samples must be from 1 to 100,000,000")
    session: Session = request.app.state.session
    tasks: dict[int, Task[Any]] = request.app.state.tasks
    forget_ended(tasks)
    handle = session.submit(estimate_pi, samples)
    tasks[handle.id] = handle
    return JSONResponse({"id": handle.id}, 202)


def forget_ended(tasks: dict[int, Task[Any]]) -> None:
    """Forget the oldest tasks that have ended, where there are many."""
    for number in [n for n, t in tasks.items() if t.done][: len(tasks) - KEPT_TASKS + 1]:
        del tasks[number]


def known_task(request: Request) -> Task[Any]:
    """Return the task that a request is about."""
    handle = request.app.state.tasks.get(request.path_params["id"])
    if handle is None:
        raise HTTPException(404, "there is no such task")
    return handle


async def status(request: Request) -> JSONResponse:
    """Tell how a task is."""
    handle = known_task(request)
    answer: dict[str, Any] = {"id": handle.id, "state": handle.state}
    match handle.result_nowait():
        case Succeeded(value=value):
            answer["value"] = value
        case Failed(error=error):
            answer["error"] = f"{error.type}: {error.message}"
        case _:
            pass
    return JSONResponse(answer)


async def cancel(request: Request) -> JSONResponse:
    """Cancel a task, and wait until it is."""
    handle = known_task(request)
    handle.cancel("asked over HTTP")
    result = await handle.result()
    return JSONResponse({"id": handle.id, "state": result.ended_as})


async def events(request: Request) -> StreamingResponse:
    """Stream the broker's events."""
    return StreamingResponse(tell(request.app.state.session), media_type="text/event-stream")


async def tell(session: Session) -> AsyncIterator[str]:
    """Write events as server-sent events; the stream closes when the session does."""
    async with session.events(TaskStarted, TaskProgress, TaskEnded) as stream:
        yield ": the stream is open\n\n"
        async for event in stream:
            data: dict[str, Any] = {"id": event.task_id, "at": event.at}
            if isinstance(event, TaskProgress):
                data["fraction"] = event.fraction
            elif isinstance(event, TaskEnded):
                data["ended_as"] = event.ended_as
            yield f"id: {event.number}\nevent: {type(event).__name__}\ndata: {json.dumps(data)}\n\n"


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/tasks", submit, methods=["POST"]),
        Route("/tasks/{id:int}", status, methods=["GET"]),
        Route("/tasks/{id:int}", cancel, methods=["DELETE"]),
        Route("/events", events),
    ],
)


# ---- the short mode -----------------------------------------------------------------------------


async def serve_and_ask() -> None:
    """Serve on a free port, and be the first user."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as http:
            await ask(http)
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def ask(http: httpx.AsyncClient) -> None:
    """Follow the events; submit two tasks; cancel one; tell how they ended."""
    async with http.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)  # the stream is open: nothing that follows can be missed
        short = (await http.post("/tasks", params={"samples": 300_000})).json()["id"]
        long = (await http.post("/tasks", params={"samples": 50_000_000})).json()["id"]
        print("submitted", short, "and", long)
        ended = 0
        kind = ""
        async for line in lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                print(kind, data)
                if kind == "TaskStarted" and data["id"] == long:
                    print("cancelled:", (await http.delete(f"/tasks/{long}")).json())
                ended += kind == "TaskEnded"
                if ended == 2:
                    break
    print((await http.get(f"/tasks/{short}")).json())
    print((await http.get(f"/tasks/{long}")).json())


def main() -> None:
    """Serve until Ctrl-C, or just be quick."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--quick", action="store_true", help="serve, ask itself, and end")
    given = parser.parse_args()
    if given.quick:
        asyncio.run(serve_and_ask())
    else:
        uvicorn.run(app, port=given.port, timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
