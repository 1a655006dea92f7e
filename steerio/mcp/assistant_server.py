"""The server of one gate: its tools, as the SDK of the protocol serves them.

Whichever transport carries it: `steerio.mcp.stdio_serving` serves it over a process's own streams.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as mt
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from steerio.errors import BrokerLost, SteerioError
from steerio.mcp.marked_answers import ToolAnswer, told
from steerio.mcp.reading_tools import ENDED
from steerio.mcp.seen_run import AssistantGate, SeenRun, seeing
from steerio.mcp.tool_inputs import MOST_WAIT_S, fault_in_words, read_input, schema_of
from steerio.mcp.tool_list import INSTRUCTIONS, AssistantTool, tools_of
from steerio.model.bounds import cut
from steerio.version import __version__

log = logging.getLogger("steerio.mcp")

AT_ONCE, QUEUED = 4, 32
"""Calls that are worked on at a time, and those that may wait for that."""
WAITS = 8
"""Calls of tools that wait, at a time."""
CALL_S = MOST_WAIT_S + 60.0
"""Longest work on a call."""
NOT_SO = "the arguments are not those of the tool's schema"
NAME_CHARACTERS = 100
"""Longest name of an unknown tool in an error."""


def assistant_server(folder: Path, gate: AssistantGate) -> Server[SeenRun]:
    """Make the server by which one assistant sees a run, and steers it as its role allows.

    Args:
        folder: the run directory.
        gate: role, name and budget of the assistant.
    """
    tools = tools_of(gate.role)
    calls = Calling(tools)
    listed = mt.ListToolsResult(tools=[_listed(tool) for tool in tools.values()])

    async def on_list_tools(
        context: ServerRequestContext[SeenRun], asked: mt.PaginatedRequestParams | None
    ) -> mt.ListToolsResult:
        del context, asked
        return listed

    async def on_call_tool(
        context: ServerRequestContext[SeenRun], asked: mt.CallToolRequestParams
    ) -> mt.CallToolResult:
        run = context.lifespan_context
        answer = await calls.answer(run, asked.name, asked.arguments)
        return mt.CallToolResult(
            content=[mt.TextContent(type="text", text=told(answer, run.secrets))],
            is_error=answer.failed,
        )

    def lifespan(_: Server[SeenRun]) -> AbstractAsyncContextManager[SeenRun]:
        return _seeing(folder, gate)

    return Server(
        "steerio",
        version=__version__,
        title="A steerio campaign",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


@asynccontextmanager
async def _seeing(folder: Path, gate: AssistantGate) -> AsyncGenerator[SeenRun]:
    async with seeing(folder, gate) as run:
        yield run


def _listed(tool: AssistantTool) -> mt.Tool:
    return mt.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.takes),
        annotations=mt.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


class Calling:
    """Makes the calls of tools, a bounded number at a time.

    Args:
        tools: the tools, by name.
    """

    def __init__(self, tools: dict[str, AssistantTool]) -> None:
        self._tools = tools
        self._room = asyncio.Semaphore(AT_ONCE)
        self._queued = self._waits = 0

    async def answer(self, run: SeenRun, name: str, arguments: dict[str, Any] | None) -> ToolAnswer:
        """Return the answer to a call, which may be that it cannot be made.

        Raises:
            MCPError: there is no such tool.
        """
        tool = self._tools.get(name)
        if tool is None:
            there = ", ".join(self._tools)
            shown = ascii(cut(name, NAME_CHARACTERS))
            words = f"no tool {shown}: this assistant has {there}"
            raise MCPError(mt.INVALID_PARAMS, words)
        try:
            asked = read_input(tool.takes, arguments)
        except msgspec.ValidationError as error:
            return _failed(f"{NOT_SO}: {fault_in_words(error)}", str(error))
        except (RecursionError, OverflowError):
            return _failed("the arguments are nested too deeply, or too large")
        if tool.waits:
            return await self._waiting(tool, run, asked)
        if self._queued >= QUEUED:
            return _failed(f"more than {QUEUED} calls wait already: call again later")
        self._queued += 1
        try:
            async with self._room:
                return await _called(tool, run, asked)
        finally:
            self._queued -= 1

    async def _waiting(self, tool: AssistantTool, run: SeenRun, asked: Any) -> ToolAnswer:
        if self._waits >= WAITS:
            return _failed(f"{WAITS} calls of {tool.name} wait already: call again later")
        self._waits += 1
        try:
            return await _called(tool, run, asked)
        finally:
            self._waits -= 1


async def _called(tool: AssistantTool, run: SeenRun, asked: Any) -> ToolAnswer:
    try:
        async with asyncio.timeout(CALL_S):
            return await tool.call(run, asked)
    except (BrokerLost, TimeoutError):
        return _failed(ENDED)
    except SteerioError as error:
        return _failed("it cannot be", str(error))
    except Exception:
        log.exception("the tool %s has failed", tool.name)
        return _failed("the tool has failed, and the log of the server says why")


def _failed(error: str, words: str | None = None) -> ToolAnswer:
    return ToolAnswer({"error": error}, words, failed=True)
