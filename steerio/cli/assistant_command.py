"""``steerio mcp``: a run for an AI assistant, over standard input and output."""

from __future__ import annotations

from pathlib import Path

from steerio.dashboard.access_tokens import AccessTokens
from steerio.errors import UsageError
from steerio.mcp.seen_run import AssistantGate
from steerio.mcp.stdio_serving import serve_streams
from steerio.model.bounds import named
from steerio.model.roles import Budget, Role, check_budget


def serve_assistant(
    run_dir: str,
    role: Role,
    by: str,
    tasks_per_hour: int | None,
    worker_hours: float | None,
) -> None:
    """Serve one assistant until it leaves.

    Args:
        run_dir: the run directory.
        role: of the assistant.
        by: its name, for the audit.
        tasks_per_hour: tasks that it may submit within any hour.
        worker_hours: the time of workers that its tasks may take in all, in hours.

    Raises:
        UsageError: there is no record, the name is none or that of a token, the budget is none, or
            the package is missing.
    """
    if any(each.name == by for each in AccessTokens(Path(run_dir)).all()):
        raise UsageError(
            f"there is an access token of the name {by}, from which the audit and the budgets "
            "could not tell this assistant: say another name by --by"
        )
    budget = Budget(tasks_per_hour, worker_hours)
    check_budget(budget)
    serve_streams(Path(run_dir), AssistantGate(role, named(by, "--by"), budget))
