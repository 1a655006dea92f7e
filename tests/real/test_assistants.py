"""An AI assistant looks at a campaign and steers it, by the tools of the protocol (MCP)."""

from __future__ import annotations

import json
from pathlib import Path

from mcp import Client

from steerio.mcp.assistant_server import assistant_server
from steerio.mcp.seen_run import AssistantGate
from tests.real.assisted import LURE, ask, ended, slow_campaign, task_ids


async def test_an_assistant_sees_what_slows_a_campaign_and_reads_on_when_it_has_ended(
    tmp_path: Path,
) -> None:
    server = assistant_server(tmp_path / "run", AssistantGate("steer", "model"))
    with slow_campaign(tmp_path) as program:
        while not (tmp_path / "run" / "tasks.jsonl").exists():
            program._read(0)
        async with Client(server) as client:
            while len(ids := await task_ids(client)) < 13:
                pass
            await ended(client, *ids[:3])
            seen = await ask(client, "overview")
            print(json.dumps(seen, indent=1))
            for name, arguments in {
                "tasks": {"ids": ids[:4]}, "results": {"ids": ids[:4]}, "failures": {},
                "events": {}, "questions": {}, "audit": {},
                "wait": {"tasks": ids[:5], "timeout_s": 0.3},
                "give_orders": {"orders": [
                    {"order": {"type": "SetParameter", "name": "step", "value": 0.5}, "reason": "try"},
                    {"order": {"type": "SetParameter", "name": "step", "value": 7}, "reason": "try"},
                    ]},
            }.items():
                print(name, json.dumps(await ask(client, name, **arguments), indent=1))
            (tmp_path / "go").touch()
            assert 0
