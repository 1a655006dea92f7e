"""The agent on whose behalf code runs, and the results that it handles."""

from __future__ import annotations

import contextvars

current_agent: contextvars.ContextVar[str] = contextvars.ContextVar("steerio_agent", default="")
"""The agent on whose behalf this code runs: the cause of the tasks that it submits."""
results_behind: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar(
    "steerio_because", default=()
)
"""The ids of the results that the agent handles: those because of which it submits tasks."""
