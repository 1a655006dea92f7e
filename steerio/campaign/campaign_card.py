"""The card by which notebooks show a campaign, before, while and after it runs."""

from __future__ import annotations

from typing import Any, Protocol

from steerio.campaign.found_boards import boards_of
from steerio.model.cards import ends_line, failures_list, notes_line, pools_table
from steerio.model.markup import AMBER, BLUE, GREEN, Markup, badge, card, joined, quiet
from steerio.model.showing import counted, short_name
from steerio.session.notes import in_line
from steerio.session.tally import Tally, in_kinds
from steerio.session.watching import Picture

MOST_BOARDS = 10
"""Further boards are not shown."""


class ShownRun(Protocol):
    """One run of a campaign, as seen by its card."""

    stopping: str
    tally: Tally

    @property
    def outstanding(self) -> dict[int, Any]:
        """Its tasks that have not ended."""
        ...

    @property
    def session(self) -> Any:
        """Its session."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or was left behind."""
        ...


def campaign_picture(campaign: object, run: ShownRun | None, run_dir: object) -> Picture:
    """Return the present state of a campaign."""
    name = type(campaign).__name__
    if run is None:
        boards = _boards(campaign)
        return Picture(card(name, boards, quiet("not run yet")), f"{name}: not run yet", True)
    tally, out = run.tally, len(run.outstanding)
    told = f"{counted(out, 'task')} to come; {in_kinds(tally.ended) or 'none has ended'}"
    state, colour = "running", BLUE
    if run.is_over:
        state, colour = "ended", GREEN
    elif run.stopping:
        state, colour = "stopping", AMBER
    parts: list[object] = [ends_line(tally.ended, tally.total + out, told)]
    if run.stopping:
        parts.append(Markup(f"<div>{quiet(f'stopped: {run.stopping}')}</div>"))
    if not run.is_over:
        parts.append(pools_table(run.session.pools))
    parts += _boards(campaign)
    parts += notes_line(run.session.notes)
    parts += failures_list(tally.failures)
    beside: list[object] = [badge(state, colour)]
    if run_dir is not None:
        beside.append(quiet(run_dir))
    words = [f"{state}, {told}"]
    if run.session.notes:
        words.append(in_line(run.session.notes))
    page = card(name, parts, joined(beside, " "))
    return Picture(page, f"{name}: {'; '.join(words)}", run.is_over)


def _boards(campaign: object) -> list[object]:
    """Return a line for each board of a campaign."""
    lines: list[object] = []
    for board in boards_of(campaign)[:MOST_BOARDS]:
        counts = f"{len(board)} waiting, {len(board.running)} running, {len(board.ended)} ended"
        name = quiet(f"board of {short_name(board.task_type.name)}")
        lines.append(Markup(f"<div>{joined([name, counts], ' ')}</div>"))
    return lines
