"""The door of the dashboard, through which every request goes before its route is looked at.

A browser carries requests of any page to any address, so that a request comes from this machine
says nothing. Each has to name a host of ours (a page elsewhere could have its own name point here),
come from our own pages, if the browser says from which, and have the cookie, which is given for the
one-time ticket in the URL that the terminal shows.

Below ``/api/`` a request may show an access token instead. There the door says in whose name and
role a request is made, and lets none through that changes anything without a role for it. At
``/mcp`` it has to show a token, and the server behind it keeps to the token's role.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from steerio.dashboard.access_tokens import Giver
from steerio.edge.system.own_files import to_json
from steerio.edge.system.threads import in_thread
from steerio.model.roles import includes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names by which a browser on this machine, or at the end of a tunnel, may call the server."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but our own files is loaded or run. (Plotly styles its elements in their attributes.)"""
GUARDED = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of every answer; a route may say otherwise of its cache."""
METRICS = "/metrics"
"""The path of the metrics, which a monitor reads with a key of its own."""
API = "/api/"
"""The beginning of the paths of requests that programs make, too."""
ASSISTANTS = ("/mcp", "/mcp/")
"""The paths at which AI assistants call, all of them by ``POST``."""
GIVER = "steerio.giver"
"""The key in the scope of such a request under which a route finds the `Giver`."""
REFUSED = -32000
"""The code of errors in the language of assistants, for all that a server refuses."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing."""
WELCOME = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>steerio</title>'
    '<link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0; url=./"><p><a href="./">Go on to the run</a></p></html>'
)
"""The answer that has the cookie.

It goes on by itself. A redirect would count as a step of the page from which the URL was followed,
and to one of another site the browser shows no strict cookie.
"""


class Tickets:
    """The one-time ticket of the next URL, and the secret of the cookie that it is given for.

    Args:
        on_used: is called with the ticket that follows once one was used.
        metrics_key: by which a program that is no browser may read the metrics; empty: none may.
    """

    def __init__(
        self, on_used: Callable[[str], None] = lambda ticket: None, metrics_key: str = ""
    ) -> None:
        self._metrics_key = metrics_key
        self.ticket = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        # a browser has one jar for all ports of a host, so each server has a name of its own
        self._name = f"steerio-{hashlib.sha256(self._cookie.encode()).hexdigest()[:12]}"
        self._on_used = on_used

    def use(self, given: str) -> bool:
        """Take a ticket in; it is known once, and then there is another."""
        if not _same(given, self.ticket):
            return False
        self.ticket = secrets.token_urlsafe(32)
        self._on_used(self.ticket)
        return True

    def cookie(self, path: str) -> str:
        """Return the header that gives a browser the cookie, for the paths below ``path``."""
        return f"{self._name}={self._cookie}; HttpOnly; Path={path or '/'}; SameSite=Strict"

    def lets_read_metrics(self, header: str) -> bool:
        """Whether a request with this header of its authorization may read the metrics."""
        scheme, _, given = header.partition(" ")
        known = _same(given.strip(), self._metrics_key)
        return known and bool(self._metrics_key) and scheme.lower() == "bearer"

    def admits(self, header: str) -> bool:
        """Whether a request with this header of cookies has ours."""
        # servers on other ports of the host have theirs in the same header, in any form
        pairs = (cookie.partition("=") for cookie in header.split(";"))
        given = [value.strip() for name, _, value in pairs if name.strip() == self._name]
        return any(_same(value, self._cookie) for value in given)


class Refusal(NamedTuple):
    """The reason for which a request is not let in, and the HTTP status that says so."""

    status: int
    reason: str


class Access:
    """An ASGI application that lets requests through to another, or answers them itself.

    Args:
        app: the application behind it.
        tickets: the ticket and cookie that it asks for.
        person: the person that has the page, and its role: the giver of requests with the cookie.
        token_giver: returns the giver whose token is in a header of authorization, if it is one.
        hosts: further names of this server, of a proxy in front of it, say.
        root_path: the path in front of all of its paths, if the proxy leaves it there.
    """

    def __init__(
        self,
        app: App,
        tickets: Tickets,
        person: Giver,
        token_giver: Callable[[str], Giver | None] = lambda header: None,
        hosts: Iterable[str] = (),
        root_path: str = "",
    ) -> None:
        self._app = app
        self._tickets = tickets
        self._person = person
        self._token_giver = token_giver
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._root_path = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        guarded = _Guarded(send)
        headers = _headers(scope)
        refusal = _refused(scope, headers, self._hosts)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        path: str = self._inside(scope)["path"]
        if path.startswith(API) or path in ASSISTANTS:
            await self._ask(scope, receive, guarded, headers, refusal)
        elif refusal is not None:
            await _answer(guarded, refusal.status, refusal.reason)
        elif "token" in query:
            await self._redeem(scope, query["token"], guarded)
        elif not self._admits(scope, headers):
            await _answer(guarded, 401, _UNKNOWN)
        else:
            await self._app(self._inside(scope), receive, guarded)

    async def _ask(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: dict[str, list[str]],
        refusal: Refusal | None,
    ) -> None:
        """Have a request of a program answered, in the name of its giver."""
        assists = self._inside(scope)["path"] in ASSISTANTS
        if assists:
            giver = refusal or await self._assistant(headers)
        else:
            giver = refusal or await self._giver(scope, headers)
        if isinstance(giver, Giver):
            await self._app({**self._inside(scope), GIVER: giver}, receive, send)
            return
        more = {"content-type": "application/json"}
        if giver.status == 401:
            more["www-authenticate"] = "Bearer"
        content = rpc_error(giver.reason) if assists else to_json({"error": giver.reason})
        await _answer(send, giver.status, content.decode(), more)

    async def _giver(self, scope: Scope, headers: dict[str, list[str]]) -> Giver | Refusal:
        """Return in whose name a request below `API` is made, or why it may not be."""
        orders = scope["method"] not in READING
        giver = await self._giver_shown(headers)
        if giver is None:
            return Refusal(401, _NO_TOKEN)
        if orders and giver is self._person and "origin" not in headers:
            # every browser says it then; others are no pages, and take a token
            return Refusal(403, "An order with the cookie of a page has to name its Origin.")
        if orders and not includes(giver.role, "propose"):
            return Refusal(403, f"{giver.name} may only look (role {giver.role}).")
        return giver

    async def _assistant(self, headers: dict[str, list[str]]) -> Giver | Refusal:
        """Return the giver whose token an assistant shows; a cookie shows none."""
        shown = headers.get("authorization", [])
        giver = await in_thread(self._token_giver, shown[0]) if len(shown) == 1 else None
        return giver or Refusal(401, _NO_TOKEN)

    async def _giver_shown(self, headers: dict[str, list[str]]) -> Giver | None:
        """Return the giver that a token, or else the cookie, shows a request to be of."""
        shown = headers.get("authorization")
        if shown is not None:
            return await in_thread(self._token_giver, shown[0]) if len(shown) == 1 else None
        admitted = self._tickets.admits("; ".join(headers.get("cookie", ())))
        return self._person if admitted else None

    def _admits(self, scope: Scope, headers: dict[str, list[str]]) -> bool:
        if self._inside(scope)["path"] == METRICS:
            given = headers.get("authorization", [])
            if len(given) == 1 and self._tickets.lets_read_metrics(given[0]):
                return True
        return self._tickets.admits("; ".join(headers.get("cookie", ())))

    async def _redeem(self, scope: Scope, ticket: str, send: Send) -> None:
        """Give the cookie for the ticket; other methods than ``GET`` use none up."""
        if scope["method"] != "GET" or not self._tickets.use(ticket):
            await _answer(send, 401, _UNKNOWN)
            return
        cookie = self._tickets.cookie(self._root_path)
        await _answer(send, 200, WELCOME, {"content-type": "text/html", "set-cookie": cookie})

    def _inside(self, scope: Scope) -> Scope:
        """Return the request without the path in front, if it has that."""
        path: str = scope["path"]
        if not self._root_path or not (path + "/").startswith(self._root_path + "/"):
            return scope
        inside = path[len(self._root_path) :] or "/"
        return {**scope, "path": inside, "raw_path": inside.encode()}


_UNKNOWN = (
    "This page is shown to browsers that have opened the URL with the token that the terminal "
    "shows, and each such URL opens one browser. Take the newest one."
)

_NO_TOKEN = (
    "This needs an access token, in a header (Authorization: Bearer TOKEN): steerio token RUN_DIR "
    "add NAME --role ROLE makes one. This one is missing, wrong, dropped or has expired."
)


def rpc_error(words: str) -> bytes:
    """Return an error of JSON-RPC, whose words a client of MCP passes on."""
    error = {"code": REFUSED, "message": words}
    return to_json({"jsonrpc": "2.0", "id": None, "error": error})


def _refused(
    scope: Scope, headers: dict[str, list[str]], hosts: frozenset[str] | set[str]
) -> Refusal | None:
    """Return why a request cannot be from one of our own pages; ``None``: it can."""
    named = headers.get("host", [])
    if len(named) != 1 or _name_of(named[0]) not in hosts:
        return Refusal(403, "The Host of this request is none of this server's names.")
    for origin in headers.get("origin", []):
        if origin.lower() not in {f"http://{named[0].lower()}", f"https://{named[0].lower()}"}:
            return Refusal(403, "This request comes from a page of another origin.")
    for site in headers.get("sec-fetch-site", []):
        followed = "navigate" in headers.get("sec-fetch-mode", []) and scope["method"] == "GET"
        if site not in ("same-origin", "none") and not followed:
            return Refusal(403, "This request comes from a page of another site.")
    return None


def _name_of(authority: str) -> str:
    """Return the name in a ``Host``, without its port; empty if it is none."""
    try:
        split = urlsplit(f"//{authority}")
        if split.port is not None and split.port <= 0:
            return ""
    except ValueError:
        return ""
    odd = split.username is not None or split.path or split.query or split.fragment
    return "" if odd else (split.hostname or "").rstrip(".")


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _same(given: str, secret: str) -> bool:
    """Compare in a time that does not tell how much of a secret was right."""
    return secrets.compare_digest(given.encode(), secret.encode())


class _Guarded:
    """Sends an answer on with the headers of every answer."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [(name.lower(), value) for name, value in message.get("headers", [])]
            said = {name for name, _ in headers}
            more = [(name.encode(), value.encode()) for name, value in GUARDED.items()]
            message = {**message, "headers": headers + [h for h in more if h[0] not in said]}
        await self._send(message)


async def _answer(
    send: Send, status: int, text: str, headers: dict[str, str] | None = None
) -> None:
    body = text.encode()
    given = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}
    given |= headers or {}
    start = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
