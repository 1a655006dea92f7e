"""The state of a campaign: checked, taken for a snapshot, and put back."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from steerio.campaign.board import Board
from steerio.campaign.calls import Calls
from steerio.campaign.campaign import Campaign
from steerio.campaign.captured import BoardContent, CampaignState, Content, Submission
from steerio.campaign.found_boards import boards_of
from steerio.campaign.state import StateWriter, refused_attributes
from steerio.errors import StateError, UsageError
from steerio.session.recovered import task_type_of
from steerio.session.reference import Reference
from steerio.session.session import Session
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")


def check_state(campaign: Campaign, *, strictly: bool) -> None:
    """Refuse, or warn of, a campaign whose state cannot be told.

    Raises:
        UsageError: it cannot be, and ``strictly``.
    """
    name = type(campaign).__name__
    boards = boards_of(campaign)
    if type(campaign).save_state is Campaign.save_state:
        refused = refused_attributes(campaign, boards)
        wrong = "; ".join(f"self.{attribute} ({why})" for attribute, why in refused.items())
    else:
        wrong = ""
        try:
            StateWriter(campaign, boards).write(saved_state(campaign))
        except StateError as error:
            wrong = f"the value of save_state() ({error})"
    if not wrong:
        return
    text = (
        f"no snapshots can be taken of {name}, because of {wrong}: make it again in each "
        "incarnation (@transient), or write save_state() and restore_state()"
    )
    if strictly:
        raise UsageError(text)
    log.warning("%s. Without snapshots a resume replays all results from the start", text)


async def restore_objects(content: Content, session: Session) -> dict[bytes, Reference]:
    """Put the objects of a snapshot into the store, and publish the versions among them."""
    store = session.store
    stored = {each.name: await store.put_content(each.parts) for each in content.objects}
    references: dict[bytes, Reference] = {}
    for each in content.objects:
        session.client.objects.hold(stored[each.name])
        references[each.name] = Reference(store, stored[each.name], each.version)
    for name, (of, number) in content.versions.items():
        await store.versions.publish(name, stored[of], number)
    return references


def put_back(
    campaign: Campaign, contents: list[BoardContent], boards: Sequence[Board[Any]]
) -> None:
    """Put boards that ``setup`` had made into their attributes, if these are not there.

    So it is if the campaign has a ``restore_state`` of its own.
    """
    missing = defaultdict[str, list[Board[Any]]](list)
    for content, board in zip(contents, boards, strict=True):
        if content.attribute not in vars(campaign):
            missing[content.attribute].append(board)
    for attribute, several in missing.items():
        vars(campaign)[attribute] = several[0] if len(several) == 1 else several


def saved_state(campaign: Campaign) -> Any:
    """Return the state of a campaign by its own word.

    Raises:
        StateError: that fails.
    """
    try:
        return campaign.save_state()
    except StateError:
        raise
    except Exception as error:
        raise StateError(f"save_state() raised {type(error).__name__}: {error}") from error


def submission_of(task: Task[Any]) -> Submission:
    """Return a task that is out, as it is to be submitted again.

    Raises:
        StateError: code that no snapshot has waits for it, or reads its items.
    """
    if task.has_callbacks and not task.found_again:
        raise StateError(f"code waits for {task!r}")
    reading = task.yielded is not None and task.yielded.is_read and not task.yielded.followed
    if reading and not task.found_again:
        raise StateError(f"code reads the items of {task!r}")
    by = task.cause, task.because, task.chain
    return Submission(task.type, task.args, task.kwargs, task.options, task.tags, *by)


def check_kind(campaign: Campaign, state: CampaignState) -> None:
    """Refuse a state of another class of campaign.

    Raises:
        StateError: it is.
    """
    kind = type(campaign)
    if state.kind.rpartition(":")[2] != kind.__qualname__:
        raise StateError(f"the snapshot is of {state.kind}, not of {kind.__qualname__}")


def placed_calls(all_calls: list[Calls]) -> Iterator[tuple[int, Calls]]:
    """Yield all calls, each with the place of its trigger among those of its method."""
    seen: Counter[str] = Counter()
    for calls in all_calls:
        yield seen[calls.name], calls
        seen[calls.name] += 1


def check_versions(state: CampaignState) -> None:
    """Refuse a state that has results of another version of a function.

    Raises:
        StateError: it has.
    """
    for name, version in state.versions.items():
        kind = task_type_of(name)
        if kind is not None and kind.version != version:
            raise StateError(
                f"the snapshot has results of {name} in version {version!r}, and its version is "
                f"{kind.version!r} now; they cannot be taken out of the campaign's state. Begin a "
                "fresh run, or resume with the version as it was"
            )


def restore_calls(all_calls: list[Calls], state: CampaignState) -> None:
    """Give the calls of triggers the results and events that waited for them.

    Raises:
        StateError: the campaign has a trigger no more, for which there are some.
    """
    there = {(calls.name, place): calls for place, calls in placed_calls(all_calls)}
    for each in state.calls:
        calls = there.get((each.name, each.place))
        if calls is None:
            raise StateError(
                f"the snapshot has results or events for {each.name} (trigger {each.place + 1}), "
                "which the campaign does not have any more: give it a method of that name and with "
                "as many triggers, if only to drop them"
            )
        calls.restore(each)
