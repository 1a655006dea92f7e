"""Advisors that ask a language model: by HTTP as OpenAI's servers speak it, or by pydantic-ai.

Each is an ``async def advise(view, choices)`` for ``steerio.Advisor``, which has the time limit,
checks the answer, and follows the fallback without one. Where to ask, and the key, are in variables
of the environment; neither gets into the record.

| variable | is |
|---|---|
| ADVISOR_URL | the address of the server: http://localhost:11434/v1, say |
| ADVISOR_MODEL | the name of the model |
| ADVISOR_KEY | the key, if the server wants one |
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from steerio import advice_prompt

Advise = Callable[[msgspec.Struct, type[msgspec.Struct]], Awaitable[object]]

LONGEST_REPLY = 1_000_000
"""Most bytes of a server's reply that are read."""


class Message(msgspec.Struct):
    """The text of a reply."""

    content: str | None = None


class Choice(msgspec.Struct):
    """One of the replies to a question."""

    message: Message


class Completion(msgspec.Struct):
    """The part of a server's reply that matters here."""

    choices: list[Choice]


def openai_compatible(url: str = "", model: str = "", key: str = "") -> Advise:
    """Return an advisor that asks a server for a chat completion.

    Args:
        url: the address of the server; empty: ADVISOR_URL.
        model: the name of the model; empty: ADVISOR_MODEL.
        key: the key; empty: ADVISOR_KEY, if it is set.

    Raises:
        ValueError: one of them is missing, or the key is none.
    """
    place = f"{(url or variable('ADVISOR_URL')).rstrip('/')}/chat/completions"
    model = model or variable("ADVISOR_MODEL")
    key = (key or os.environ.get("ADVISOR_KEY", "")).strip()
    if not (key.isascii() and key.isprintable()):  # httpx would quote it in an error
        raise ValueError("ADVISOR_KEY has characters that no key has")
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def chat(view: msgspec.Struct, choices: type[msgspec.Struct]) -> object:
        asked = {
            "model": model,
            "messages": [{"role": "user", "content": advice_prompt(view, choices)}],
            "response_format": {"type": "json_object"},
        }
        async with (
            httpx.AsyncClient(timeout=None) as client,  # the advisor has a time limit
            client.stream("POST", place, json=asked, headers=headers) as reply,
        ):
            if reply.status_code != 200:  # the text may quote what was sent
                raise RuntimeError(f"the server answered with status {reply.status_code}")
            return said(await whole(reply))

    return chat


async def whole(reply: httpx.Response) -> bytes:
    """Return the body of a reply.

    Raises:
        RuntimeError: it is too long.
    """
    body = b""
    async for part in reply.aiter_bytes():
        body += part
        if len(body) > LONGEST_REPLY:
            raise RuntimeError(f"the server's reply is longer than {LONGEST_REPLY} bytes")
    return body


def said(body: bytes) -> str | None:
    """Return the text of a reply.

    Raises:
        RuntimeError: it is none.
    """
    try:
        return msgspec.json.decode(body, type=Completion).choices[0].message.content
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        raise RuntimeError("the server's reply is no chat completion") from None


def pydantic_ai(model: object = "") -> Advise:
    """Return an advisor that asks an agent of pydantic-ai (``pip install pydantic-ai-slim``).

    Args:
        model: a model of pydantic-ai, or its name with that of the provider; empty: ADVISOR_MODEL.
            The provider's key is in its own variable, such as OPENAI_API_KEY.

    Raises:
        ValueError: there is no model.
        ImportError: pydantic-ai is not installed.
    """
    from pydantic_ai import Agent  # pyright: ignore[reportMissingImports]

    agent = Agent(model or variable("ADVISOR_MODEL"))

    async def ask(view: msgspec.Struct, choices: type[msgspec.Struct]) -> object:
        return (await agent.run(advice_prompt(view, choices))).output

    return ask


def variable(name: str) -> str:
    """Return the value of a variable of the environment.

    Raises:
        ValueError: it is not set.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise ValueError(f"set {name} in the environment: adapters.py says to what")
    return value
