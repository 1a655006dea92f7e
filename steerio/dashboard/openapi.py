"""The description of the dashboard's API (OpenAPI 3.1), made from the structs that it sends."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from steerio.dashboard.api_messages import (
    ORDERS,
    ApiError,
    GiverView,
    OpenQuestions,
    OrderRequest,
    SteeringView,
)
from steerio.model.campaign_orders import OrderAnswer
from steerio.model.roles import Role
from steerio.version import __version__
from steerio.view.answers import TaskStory
from steerio.view.audit_lines import Audit

REFERENCE = "#/components/schemas/{name}"


class Query(Struct, frozen=True):
    """An argument of an operation, in its path or behind a question mark."""

    name: str
    about: str
    type: str = "string"
    place: str = "query"


class Operation(Struct, frozen=True):
    """An operation of the API.

    Attributes:
        name: of the operation; ``method`` and ``path``: how it is asked for.
        about: a line on it.
        answer: the struct of its answer; ``None``: this description itself.
        least: the lowest role that may ask.
        queries: its arguments.
        body: the struct of its body.
        statuses: those of its answers, beside 200 and the refusals of all requests.
    """

    name: str
    method: str
    path: str
    about: str
    answer: type[Struct] | None
    least: Role = "look"
    queries: tuple[Query, ...] = ()
    body: type[Struct] | None = None
    statuses: dict[int, str] = {}


_NOT_TAKEN = {503: "No campaign takes orders here: the run has ended, say."}
_CAMPAIGN = Query("campaign", "The name of the campaign, if several take orders at this broker.")
_NUMBER = Query("number", "The number of the task.", "integer", "path")
OPERATIONS = (
    Operation("giver", "get", "/giver", "The name, role and budget of the giver.", GiverView),
    Operation(
        "look",
        "get",
        "/look",
        "The campaign's parameters, questions and agents, and its pools, as they are now.",
        SteeringView,
        queries=(_CAMPAIGN,),
        statuses=_NOT_TAKEN,
    ),
    Operation(
        "questions",
        "get",
        "/questions",
        "The campaign's open questions.",
        OpenQuestions,
        queries=(_CAMPAIGN,),
        statuses=_NOT_TAKEN,
    ),
    Operation(
        "task",
        "get",
        "/tasks/{number}",
        "The story of a task: its causes, attempts and end.",
        TaskStory,
        queries=(_NUMBER,),
        statuses={404: "The record has no such task."},
    ),
    Operation(
        "audit",
        "get",
        "/audit",
        "The last orders, questions and changes, each with its giver, reason and effect.",
        Audit,
        queries=(Query("most", "How many at most.", "integer"),),
        statuses={400: "The number is none."},
    ),
    Operation(
        "order",
        "post",
        "/orders",
        "Give the campaign an order; the answer comes when it is carried out.",
        OrderAnswer,
        "propose",
        body=OrderRequest,
        statuses={
            202: "It is put as a question: its giver may only propose.",
            400: "The body is no order; the error names the fault and its place.",
            408: "The body did not come.",
            409: "It was refused: its subject has changed, it cannot be done, or not in this role.",
            413: "The body is too long.",
            415: "The body is not application/json.",
            504: "It was not answered yet: give it again with the same id.",
            **_NOT_TAKEN,
        },
    ),
    Operation("openapi", "get", "/openapi.json", "This description.", None),
)
"""All operations, of which each has a route."""
_REFUSALS = {
    401: "No token, or a wrong one.",
    403: "The role may only look, or the request is of another site's page.",
}


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return the description, as plain values; paths are relative to its own place."""
    structs: list[Any] = [each for operation in OPERATIONS for each in _structs(operation)]
    structs = list(dict.fromkeys([*structs, ApiError]))
    refs, schemas = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    by_struct = dict(zip(structs, refs, strict=True))
    for order in ORDERS:
        schemas[order.__name__]["additionalProperties"] = False
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, by_struct)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "steerio: a campaign that runs",
            "version": __version__,
            "description": "Look at a campaign, and give it orders, in the role of a token.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "steerio token RUN_DIR add NAME --role ROLE makes one.",
                }
            },
        },
    }


def _structs(operation: Operation) -> list[Any]:
    return [each for each in (operation.answer, operation.body) if each is not None]


def _described(operation: Operation, by_struct: dict[Any, Any]) -> dict[str, Any]:
    answer = {"type": "object"} if operation.answer is None else by_struct[operation.answer]
    answers = {"200": _content(HTTPStatus.OK.phrase, answer)}
    for status, words in sorted({**_REFUSALS, **operation.statuses}.items()):
        content = answer if status < 300 else by_struct[ApiError]
        answers[str(status)] = _content(words, content)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "description": f"For tokens of role {operation.least}, or a higher one.",
        "responses": answers,
    }
    if operation.queries:
        described["parameters"] = [
            {
                "name": query.name,
                "in": query.place,
                "required": query.place == "path",
                "description": query.about,
                "schema": {"type": query.type},
            }
            for query in operation.queries
        ]
    if operation.body is not None:
        body = {"application/json": {"schema": by_struct[operation.body]}}
        described["requestBody"] = {"required": True, "content": body}
    return described


def _content(words: str, schema: Any) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}
