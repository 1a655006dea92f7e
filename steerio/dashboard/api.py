"""The dashboard's API: questions and orders of programs, and of the page itself, to a campaign.

The door has let a request in before it comes here, and says in its scope in whose name and role it
is made. Orders go through the dashboard's session; the record answers all else.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from steerio.dashboard.access import API, GIVER
from steerio.dashboard.access_tokens import Giver
from steerio.dashboard.api_messages import (
    ApiError,
    GiverView,
    OpenQuestions,
    SteeringView,
    order_request,
    pool_now,
)
from steerio.dashboard.openapi import OPERATIONS, openapi_document
from steerio.dashboard.steering_line import NoCampaign, SteeringLine
from steerio.edge.system.own_files import to_json
from steerio.errors import NotAllowed, OrderRefused, UsageError
from steerio.view.answers import TaskStory
from steerio.view.audit_lines import audit_of

MOST_BODY = 1 << 16
"""Bytes of the body of an order at most: large values go to tasks by the store."""
BODY_S = 10.0
"""For how long the body of a request is waited for."""
ORDER_S = 100.0
"""For how long an order's answer is waited for: longer than for a snapshot."""
MOST_ENTRIES = 1_000
"""Entries of the audit in one answer at most."""

Asked = Callable[..., Awaitable[Any]]
Answers = Callable[[Request], Awaitable[Response]]


class Api:
    """Answers the requests below `API`.

    Args:
        line: the session with the campaign.
        story: returns the story of a task; it may block.
        ask: calls a function that looks into the record, and may block.
    """

    def __init__(self, line: SteeringLine, story: Callable[[int], TaskStory], ask: Asked) -> None:
        self._line = line
        self._story = story
        self._ask = ask

    def routes(self) -> list[Route]:
        """Return a route for each operation that the OpenAPI document names."""
        answers: dict[str, Answers] = {
            "giver": self.giver,
            "look": self.look,
            "questions": self.questions,
            "task": self.task,
            "audit": self.audit,
            "order": self.order,
            "openapi": self.openapi,
        }
        return [
            Route(
                API.rstrip("/") + each.path.replace("{number}", "{number:int}"),
                _guarded(answers[each.name]),
                methods=[each.method.upper()],
            )
            for each in OPERATIONS
        ]

    async def giver(self, request: Request) -> Response:
        """Answer with the name and role of the giver of this request."""
        giver = _giver(request)
        return _json(GiverView(giver.name, giver.role, giver.budget))

    async def look(self, request: Request) -> Response:
        """Answer with the campaign at a glance, and its pools."""
        view, pools = await self._line.look(request.query_params.get("campaign", ""))
        return _json(SteeringView(view, {name: pool_now(load) for name, load in pools.items()}))

    async def questions(self, request: Request) -> Response:
        """Answer with the open questions."""
        view, _ = await self._line.look(request.query_params.get("campaign", ""))
        return _json(OpenQuestions(view.campaign, view.questions, view.at_event))

    async def task(self, request: Request) -> Response:
        """Answer with the story of a task."""
        number = request.path_params["number"]
        story = await self._ask(self._story, number)
        if story.state == "unknown":
            raise HTTPException(404, f"the record has no task {number}")
        return _json(story)

    async def audit(self, request: Request) -> Response:
        """Answer with the orders, questions and changes of the run."""
        asked = request.query_params.get("most", str(MOST_ENTRIES))
        is_short = asked.isascii() and asked.isdigit() and len(asked) <= 9
        if not (is_short and 0 < int(asked) <= MOST_ENTRIES):
            raise HTTPException(400, f"most is a number from 1 to {MOST_ENTRIES}, not {asked[:80]}")
        return _json(await self._ask(audit_of, self._line.folder, int(asked)))

    async def openapi(self, request: Request) -> Response:
        """Answer with the description of the API."""
        return _json(openapi_document())

    async def order(self, request: Request) -> Response:
        """Give the campaign an order, and answer with its effect."""
        giver = _giver(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a form of another site's page cannot send this one
            raise HTTPException(415, "an order is JSON: content-type: application/json")
        try:
            given = order_request(await body_of(request, MOST_BODY))
        except ValueError as error:
            raise HTTPException(400, f"this is no order: {error}") from None
        number = given.id or uuid.uuid4().hex
        try:
            async with asyncio.timeout(ORDER_S):
                answer = await self._line.order(
                    given.order,
                    giver.name,
                    giver.role,
                    giver.budget,
                    reason=given.reason,
                    id=number,
                    based_on=given.based_on,
                    dry_run=given.dry_run,
                    campaign=given.campaign,
                )
        except TimeoutError:
            raise HTTPException(
                504,
                f"the order stands, and was not answered within {ORDER_S:g} s: give it again "
                f"with the id {number}, to hear how it ended",
            ) from None
        return _json(answer, 202 if answer.question and not answer.done else 200)


def _giver(request: Request) -> Giver:
    giver: Giver = request.scope[GIVER]
    return giver


async def body_of(request: Request, most: int) -> bytes:
    """Return the body of a request, of ``most`` bytes at most.

    Raises:
        HTTPException: it is too long, or does not come.
    """
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise HTTPException(413, f"the body of this request has {most} bytes at most")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_S:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body did not come whole") from None
    return body


def _guarded(answer: Answers) -> Answers:
    """Turn errors of an answer into their statuses."""

    async def guarded(request: Request) -> Response:
        try:
            return await answer(request)
        except HTTPException as error:
            return _json(ApiError(error.detail), error.status_code)
        except NoCampaign as error:
            return _json(ApiError(str(error)), 503)
        except OrderRefused as error:
            return _json(ApiError(error.reason), 409)
        except NotAllowed as error:
            return _json(ApiError(str(error)), 403)
        except UsageError as error:
            return _json(ApiError(str(error)), 400)

    return guarded


def api_error(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes, below `API` in JSON."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    words = error.detail if isinstance(error, HTTPException) else "the server failed"
    if not request.url.path.startswith(API):
        return Response(words, status, headers, media_type="text/plain")
    return Response(to_json(ApiError(words)), status, headers, media_type="application/json")


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")
