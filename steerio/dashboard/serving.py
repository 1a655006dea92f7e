"""Serving the page of a run, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Sequence

import anyio
import msgspec

from steerio.dashboard.access import Tickets
from steerio.dashboard.access_tokens import AccessTokens, Giver
from steerio.dashboard.broadcast import Broadcast, Watched
from steerio.dashboard.steering_line import SteeringLine
from steerio.edge.system.machine import user_at_host
from steerio.errors import UsageError
from steerio.launch.event_loop import loop_factory
from steerio.model.roles import Role

LEAVE_S = 2.0
"""How long the session with the broker has to be closed."""
BACKLOG = 64
"""Connections that wait to be taken in."""


class Served(msgspec.Struct, frozen=True):
    """How a page is served: ``port`` 0 is any free one, ``host`` an address of this machine.

    ``hosts`` are further names by which browsers call the server, and ``root_path`` the path in
    front of all of its paths, if a proxy leaves that there. ``metrics_key`` lets a program read the
    metrics. ``role`` is that of the person that has the page.
    """

    host: str = "127.0.0.1"
    port: int = 0
    hosts: Sequence[str] = ()
    root_path: str = ""
    metrics_key: str = ""
    role: Role = "steer"


def need_server() -> None:
    """Refuse to go on without the packages of the extra.

    Raises:
        UsageError: one of them is missing.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the dashboard needs {' and '.join(missing)}: pip install 'steerio[dashboard]' "
            "(steerio report needs neither)"
        )


def listen(served: Served) -> socket.socket:
    """Listen on an address that only this machine reaches.

    Raises:
        UsageError: the address is another, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(served.host, served.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"--host {served.host} is no address: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    if not _is_loopback(str(address[0])):
        raise UsageError(
            f"--host {served.host} is not an address of this machine alone: the dashboard listens "
            "on 127.0.0.1 or ::1 only. From elsewhere, use ssh -L PORT:localhost:PORT"
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {served.port} of {served.host} cannot be listened on: {error.strerror}; "
            "name another with --port, or none for any that is free"
        ) from None
    listener.setblocking(False)
    return listener


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def serve_until_told(watched: Watched, served: Served, say: Callable[[str], None]) -> None:
    """Serve the page of a run until Ctrl-C or SIGTERM.

    Args:
        watched: the run.
        served: where, and under which names.
        say: is called with each URL, of which one is good for one browser.

    Raises:
        UsageError: the address cannot be listened on, or a package is missing.
    """
    need_server()
    with contextlib.closing(listen(served)) as listener:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve_until_told(watched, served, listener, say))


async def _serve_until_told(
    watched: Watched, served: Served, listener: socket.socket, say: Callable[[str], None]
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    async with serving(watched, served, listener, say):
        await told.wait()


def giver_of_page(role: Role) -> Giver:
    """Return the giver of a page's orders: the person here, unless that one is to approve them."""
    person = user_at_host()
    return Giver(f"page of {person}" if role == "propose" else person, role)


@contextlib.asynccontextmanager
async def serving(
    watched: Watched, served: Served, listener: socket.socket, say: Callable[[str], None]
) -> AsyncGenerator[None]:
    """Serve the page of a run on this loop, for the length of a context; see `serve_until_told`."""
    from steerio.dashboard.assistant_endpoint import AssistantEndpoint
    from steerio.dashboard.web import DashboardServer, dashboard_app  # an extra's packages

    port = listener.getsockname()[1]
    tickets = Tickets(lambda ticket: say(url_of(served, port, ticket)), served.metrics_key)
    broadcast = Broadcast(watched)
    line = SteeringLine(watched.folder)
    person = giver_of_page(served.role)
    assistants = AssistantEndpoint(watched.folder, AccessTokens(watched.folder).giver)
    app = dashboard_app(
        watched,
        broadcast,
        tickets,
        line,
        person,
        assistants,
        hosts=served.hosts,
        root_path=served.root_path,
    )
    server = DashboardServer(app)
    followed, ended, left = anyio.Event(), anyio.Event(), anyio.Event()
    parted = anyio.Event()

    async def follow() -> None:
        try:
            await broadcast.follow()
        finally:
            followed.set()

    async def serve() -> None:
        try:
            await server.serve([listener])
        finally:
            ended.set()

    async def hold() -> None:
        try:
            with leaving:
                await line.hold()
        finally:
            left.set()

    async def assist() -> None:
        try:
            with anyio.CancelScope(shield=True):  # until it is closed below, and then for a while
                await assistants.hold()
        finally:
            parted.set()

    leaving = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        tasks.start_soon(assist)
        tasks.start_soon(serve)
        tasks.start_soon(hold)
        try:
            say(url_of(served, port, tickets.ticket))
            yield
        finally:
            broadcast.close()
            assistants.close()
            with anyio.CancelScope(shield=True):  # a server that is cancelled leaves sockets open
                await followed.wait()
                server.should_exit = True
                await ended.wait()
                line.close()
                leaving.deadline = anyio.current_time() + LEAVE_S
                await left.wait()
                await parted.wait()


def url_of(served: Served, port: int, ticket: str) -> str:
    """Return the URL that opens the page once."""
    host = f"[{served.host}]" if ":" in served.host else served.host
    return f"http://{host}:{port}{served.root_path.rstrip('/')}/?token={ticket}"
