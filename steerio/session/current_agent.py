"""The agent on whose behalf code runs."""

from __future__ import annotations

import contextvars

current_agent: contextvars.ContextVar[str] = contextvars.ContextVar("steerio_agent", default="")
"""The agent on whose behalf this code runs: the cause of the tasks that it submits."""
